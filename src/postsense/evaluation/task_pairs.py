"""Predictions of two tasks on the same posts → predictions and metrics of both tasks at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from postsense.arrays import Array
from postsense.data.label_kinds import known_label
from postsense.errors import DataError, nearest
from postsense.evaluation.evaluate import metrics_of
from postsense.posts import Posts
from postsense.prediction.classifier import (
    AnyClassifier,
    Predictions,
    predict_prepared,
    prepare_new,
)
from postsense.progress import Progress, silent

Labels = Sequence[str | None]
JOINED_BY = " & "


def held_out_predictions(
    classifiers: Sequence[AnyClassifier],
    posts: Posts,
    measured: Sequence[int],
    progress: Progress = silent,
) -> Predictions:
    """Mean predictions of the seeds of a run, made so that some of the posts can be measured on.

    measured: rows of those. They and the val and test posts lend comments to nobody, as in
        `evaluate_classifiers`; without any, the predictions are those of `average_predictions`.
    """
    held_out = None
    if measured:
        kept = set(measured)
        splits = posts.column("split")
        held_out = posts.take(
            [row for row, split in enumerate(splits) if row in kept or split in ("val", "test")]
        )
    prepared = prepare_new(posts, classifiers[0], progress, held_out=held_out)
    return predict_prepared(classifiers, prepared, np.arange(len(posts)), progress)


def pair_tasks(first: Predictions, second: Predictions) -> Predictions:
    """Predictions of the pair of labels, in the order of first; posts are joined by id.

    Source: ITRp (Neural Computing & Applications 2023): two binary classifiers, one for the text
    and one for the picture, give the four relations of image and text.
        p(a & b) = p(a) p(b)
    Deviation: none in the label, which is the pair of both likeliest labels; the probabilities,
        which the paper does not give, take the two tasks as independent.

    Returns: classes "a & b", a from first and b from second, those of second varying faster;
        a row that is bad in either is bad.
    Raises: DataError: other posts, a post twice, or two pairs of one name.
    """
    second = _in_order_of(first, second)
    classes = tuple(JOINED_BY.join(pair) for pair in product(first.classes, second.classes))
    _refuse_repeated("classes of the pair", classes, "Rename the classes of one task.")
    probs = first.probs[:, :, None] * second.probs[:, None, :]  # (N, K1, K2)
    reasons = {row.id: row for row in (*second.bad, *first.bad)}
    bad = tuple(reasons[name] for name in first.ids if name in reasons)
    return Predictions(first.ids, classes, probs.reshape(len(first.ids), len(classes)), bad)


@dataclass(frozen=True)
class PairMetrics:
    """Metrics (`metrics_of`) of each task alone and of the pair, all on the same posts."""

    first: dict[str, Any]
    second: dict[str, Any]
    pair: dict[str, Any]


def pair_metrics(
    first: Predictions, second: Predictions, first_labels: Labels, second_labels: Labels
) -> PairMetrics:
    """Metrics on the posts that have a label of both tasks and that both classifiers could read.

    Args:
        first_labels: (N,) true class of each post of first, in its order; None: not known.
        second_labels: (N,) likewise, also in the order of first.
    Returns: `bad_rows` of each counts the labelled posts that one of the two could not read.
    Raises: DataError: as `pair_tasks`; a label that its classifier lacks; nothing to measure on.
    """
    pair = pair_tasks(first, second)
    rows = [
        row
        for row, both in enumerate(zip(first_labels, second_labels, strict=True))
        if None not in both
    ]
    readable = [row for row in rows if not np.isnan(pair.probs[row, 0])]
    if not readable:
        found = "none" if not rows else f"{len(rows)}, none of which can be read"
        fix = "Give posts with the label columns of both runs."
        raise DataError("pair of tasks", "posts with both labels", found, fix)
    tasks = [_rows_of(one, readable) for one in (first, _in_order_of(first, second), pair)]
    numbers = [
        _class_numbers(task, [labels[row] for row in readable])
        for task, labels in zip(tasks[:2], (first_labels, second_labels), strict=True)
    ]
    numbers.append(numbers[0] * len(second.classes) + numbers[1])
    bad = {"bad_rows": len(rows) - len(readable)}
    scores = [{**metrics_of(task, each), **bad} for task, each in zip(tasks, numbers, strict=True)]
    return PairMetrics(*scores)


def _in_order_of(first: Predictions, second: Predictions) -> Predictions:
    """The rows of second in the order of first."""
    for name, ids in (("first run", first.ids), ("second run", second.ids)):
        _refuse_repeated(f"posts of the {name}", ids, "Give each post an id of its own.")
    row_of = {name: row for row, name in enumerate(second.ids)}
    different = sorted(set(first.ids) ^ set(second.ids))
    if different:
        found = f"{len(different)} in one only, such as '{different[0]}'"
        fix = "Both runs must read the same column of ids; see data.columns.id."
        raise DataError("pair of tasks", "the same posts in both", found, fix)
    return _rows_of(second, [row_of[name] for name in first.ids])


def _rows_of(predictions: Predictions, rows: Sequence[int]) -> Predictions:
    ids = tuple(predictions.ids[row] for row in rows)
    kept = set(ids)
    bad = tuple(row for row in predictions.bad if row.id in kept)
    probs, kind = predictions.probs[list(rows)], predictions.label_kind
    return Predictions(ids, predictions.classes, probs, bad, label_kind=kind)


def _class_numbers(task: Predictions, labels: Labels) -> Array:
    """The class number (N,) of each label."""
    number_of = {name: number for number, name in enumerate(task.classes)}
    kind = task.label_kind
    found = [label and known_label(label, task.classes, kind) for label in labels]
    for name, label, known in zip(task.ids, labels, found, strict=True):
        if known is None:
            expected = f"a label among {sorted(task.classes)}"
            hint = "Name the label columns with --label-a and --label-b."
            fix = f"{nearest(str(label), task.classes)} {hint}"
            raise DataError(f"post '{name}'", expected, f"'{label}'", fix)
    return np.array([number_of[str(label)] for label in found], dtype=np.int64)


def _refuse_repeated(where: str, names: Sequence[str], fix: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(where, "each name once", f"'{repeated[0]}' more than once", fix)
