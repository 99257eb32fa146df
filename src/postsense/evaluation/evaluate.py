"""Classifiers and labelled posts → metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from postsense.arrays import Array
from postsense.data.label_kinds import known_label
from postsense.data.split_names import known_split
from postsense.errors import DataError, nearest
from postsense.evaluation.distances import Distances, class_distances, mean_over_seeds
from postsense.evaluation.groups import group_posts
from postsense.evaluation.looking_back import SeenPosts, seen_posts
from postsense.evaluation.metrics import HEADLINE, classification_metrics, positive_number
from postsense.inputs.preparation import PreparedPosts
from postsense.posts import LabelKind, Posts, joined_posts
from postsense.prediction.classifier import (
    AnyClassifier,
    Predictions,
    predict_rows,
    prepare_new,
)
from postsense.prediction.inference import Outputs, softmax
from postsense.progress import Progress, silent
from postsense.retrieval.opened import Opened


def evaluate_classifiers(
    classifiers: Sequence[AnyClassifier],
    posts: Posts,
    split: str | None = None,
    progress: Progress = silent,
    by: str | None = None,
    *,
    only_new: bool = False,
    positive_class: str | None = None,
    opened: Opened | None = None,
) -> dict[str, Any]:
    """Metrics on labelled posts, JSON-ready.

    With one classifier: its metrics. With several (the seeds of a run): the headline metrics are
    means over them, `sd` their standard deviations, `seeds` the metrics of each; the detailed
    metrics are those of the mean probabilities, which is also what `predict` writes. `distances`
    are means over the classifiers, there if these were trained to compare words with pictures
    (see `class_distances`).

    split: None: "test" if there are such posts, else all.
    by: a column that `posts.extra` holds, or two as "a==b": `by` of the report then has the same
        metrics for each group of posts (see `group_posts`); of a group none of whose posts can be
        read, only how many those are.
    only_new: leave out the posts that were trained on or selected by, where no split was named and
        there is none for the test. Without it, and in a split, they are measured too. `seen` of the
        report says how many there were and how many were left out; it is not there if there were
        none, and None if that is not known.
    positive_class: as data.positive_class, which it goes before.
    opened: what is open; None: all is opened for these posts.
    Raises: DataError: no labelled post in the split, none that is new, a label that the classifier
        lacks, or a column that cannot be broken down by. ConfigError: no such positive class.
    """
    first = classifiers[0]
    called = positive_class if positive_class is not None else first.config.data.positive_class
    positive = positive_number(first.classes, called, first.label_kind)
    chosen, name = _chosen(posts, split)
    labels = class_numbers(chosen, first.classes, first.label_kind)
    held_out = joined_posts(joined_posts(chosen, posts.split("val")), posts.split("test"))
    prepared = prepare_new(chosen, first, progress, held_out=held_out, opened=opened)
    seen = seen_posts(classifiers, prepared.content_keys[: len(chosen)])
    kept = np.arange(len(chosen))
    if only_new and split is None and name == "all" and seen is not None:
        kept = np.flatnonzero(~seen.labels_seen)
        _refuse_all_seen(chosen.name, seen)
    groups = () if by is None else group_posts(chosen.take(kept), by)
    rows = np.intersect1d(prepared.usable, kept)
    if not len(rows):
        raise _unreadable_error(chosen.name, prepared)
    outputs = [
        predict_rows(one, prepared, rows, progress, with_aligned=True) for one in classifiers
    ]
    measured = _Measured(
        seeds=tuple(classifier.config.seed for classifier in classifiers),
        classes=classifiers[0].classes,
        labels=labels,
        probs=_probabilities(outputs, rows, len(chosen)),
        seen=seen,
        positive=positive,
    ).take(kept)
    report = {"split": name, **measured.report()}
    if seen is not None and len(kept) < len(chosen):
        counts = seen.take(prepared.usable).counts()
        report["seen"] = {**counts, "left_out": len(prepared.usable) - len(rows)}
    apart = [found for one in outputs if (found := distances_of(one, prepared, rows, labels[rows]))]
    if apart:
        report["distances"] = mean_over_seeds(apart)
    if by is not None:
        parts = [{"value": group.value, **measured.take(group.rows).report()} for group in groups]
        report["by"] = {"column": by, "groups": parts}
    return report


@dataclass(frozen=True)
class _Measured:
    """What S classifiers say of N posts. labels: (N,) int. probs: (S, N, K), NaN for bad rows.

    seen: of the N posts, those seen in training; None: not known. positive: the number of a class.
    """

    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    labels: Array
    probs: Array
    seen: SeenPosts | None = None
    positive: int | None = None

    def take(self, rows: Array) -> "_Measured":
        """The posts at these rows."""
        seen = None if self.seen is None else self.seen.take(rows)
        return replace(self, labels=self.labels[rows], probs=self.probs[:, rows], seen=seen)

    def report(self) -> dict[str, Any]:
        """Metrics, over several seeds if there are several; without a readable post only counts."""
        bad = int(np.isnan(self.probs[0, :, 0]).sum())
        if bad == len(self.labels):
            return {"posts": 0, "bad_rows": bad}
        report = _metrics(self.probs.mean(axis=0), self.labels, self.classes, self.positive)
        report |= self._told_seen(np.flatnonzero(~np.isnan(self.probs[0, :, 0])))
        if len(self.seeds) > 1:
            each = [_metrics(one, self.labels, self.classes, self.positive) for one in self.probs]
            scores = {key: np.array([one[key] for one in each]) for key in HEADLINE}
            report["ensemble"] = {key: report[key] for key in HEADLINE}
            report |= {key: float(values.mean()) for key, values in scores.items()}
            report["sd"] = {key: float(values.std(ddof=1)) for key, values in scores.items()}
            report["seeds"] = [
                {"seed": seed, **{key: one[key] for key in HEADLINE}}
                for seed, one in zip(self.seeds, each, strict=True)
            ]
        return report

    def _told_seen(self, readable: Array) -> dict[str, Any]:
        """`seen` of the report: nothing if no post was seen, None if that is not known."""
        if self.seen is None:
            return {"seen": None}
        counts = self.seen.take(readable).counts()
        found = any(counts[kind] for kind in ("trained", "selected", "grouped"))
        return {"seen": {**counts, "left_out": 0}} if found else {}


def _refuse_all_seen(name: str, seen: SeenPosts) -> None:
    if not seen.labels_seen.all():
        return
    counts = seen.counts()
    raise DataError(
        name,
        "labelled posts that the run has not seen",
        f"{counts['trained']} that it was trained on and {counts['selected']} that selected what"
        " was kept, and no others",
        "Measure it on other posts, or add --seen to measure it on these.",
    )


def _unreadable_error(name: str, prepared: PreparedPosts) -> DataError:
    first = prepared.bad[0]
    return DataError(
        name,
        "at least one post that can be read",
        f"none, the first '{first.id}': {first.reason}",
        "Run 'postsense check' for the whole list.",
    )


def _probabilities(outputs: Sequence[Outputs], rows: Array, posts: int) -> Array:
    """Probabilities (S, N, K) of S classifiers, NaN but for the rows that they were asked about."""
    classes = outputs[0].logits.shape[1]
    probs = np.full((len(outputs), posts, classes), np.nan, dtype=np.float32)
    for number, output in enumerate(outputs):
        probs[number, rows] = softmax(output.logits)
    return probs


def distances_of(
    outputs: Outputs, prepared: PreparedPosts, rows: Array, labels: Array
) -> Distances | None:
    """How far apart one classifier puts words and pictures; None if it does not compare them.

    outputs: of the rows, with aligned vectors. labels: (n,) class numbers of the rows.
    """
    text, image = outputs.aligned_text, outputs.aligned_image
    if text is None or image is None:
        return None
    has_text, has_image = (prepared.contents[rows] >= 0).T
    return class_distances(text, image, labels, has_text, has_image)


def class_numbers(posts: Posts, classes: Sequence[str], kind: LabelKind = "text") -> Array:
    """The class number (N,) of each post's label.

    kind: what the classes stand for; numbers and truth values may be spelled otherwise.
    Raises: DataError: a post has no label, or one the classifier does not know.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    labels = posts.column("label")
    spelled = {label: label and known_label(label, classes, kind) for label in set(labels)}
    for row, label in enumerate(labels):
        if spelled[label] is None:
            found = "no label" if label is None else f"'{label}'"
            raise DataError(
                f"{posts.name}, post '{posts[row].id}'",
                f"a label among {sorted(classes)}",
                found,
                nearest(str(label), classes) + " Name the label column with --label.",
            )
    return np.array([numbers[str(spelled[label])] for label in labels], dtype=np.int64)


def metrics_of(
    predictions: Predictions, labels: Array, positive: int | None = None
) -> dict[str, Any]:
    """Metrics of predictions against class numbers (N,); bad rows are counted, not scored."""
    return _metrics(predictions.probs, labels, predictions.classes, positive)


def _metrics(
    probs: Array, labels: Array, classes: Sequence[str], positive: int | None
) -> dict[str, Any]:
    readable = ~np.isnan(probs[:, 0])
    predicted = probs[readable].argmax(axis=1)
    metrics = classification_metrics(labels[readable], predicted, classes, positive)
    return {**metrics, "bad_rows": int((~readable).sum())}


def _chosen(posts: Posts, split: str | None) -> tuple[Posts, str]:
    name = split if split is not None else ("test" if len(posts.split("test")) else "all")
    chosen = posts if name == "all" else posts.split(name)
    labeled = chosen.labeled()
    if not len(labeled):
        splits = sorted({str(value) for value in posts.column("split")})
        read_as = known_split(name)
        hint = "" if read_as in (None, name) else f"'{name}' is read as '{read_as}'. "
        raise DataError(
            posts.name,
            f"labelled posts in split '{name}'",
            f"none; the splits are {splits}",
            f"{hint}Choose another --split, or name the label column with --label.",
        )
    return labeled, name
