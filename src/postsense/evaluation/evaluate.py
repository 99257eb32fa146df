"""Classifiers and labelled posts → metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from postsense.classifier import Classifier, Predictions, predict_rows
from postsense.errors import DataError, nearest
from postsense.evaluation.distances import Distances, class_distances, mean_over_seeds
from postsense.evaluation.groups import group_posts
from postsense.evaluation.metrics import HEADLINE, classification_metrics
from postsense.inference import Outputs, softmax
from postsense.inputs import PreparedPosts, prepare_posts
from postsense.posts import Posts, joined_posts
from postsense.progress import Progress, silent
from postsense.retrieval.borrowing import borrow_for_prediction

Array = np.ndarray[Any, Any]


def evaluate_classifiers(
    classifiers: Sequence[Classifier],
    posts: Posts,
    split: str | None = None,
    progress: Progress = silent,
    by: str | None = None,
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
    Raises: DataError: no labelled post in the split, a label that the classifier lacks, or a
        column that cannot be broken down by.
    """
    chosen, name = _chosen(posts, split)
    labels = class_numbers(chosen, classifiers[0].classes)
    groups = () if by is None else group_posts(chosen, by)
    held_out = joined_posts(joined_posts(chosen, posts.split("val")), posts.split("test"))
    prepared = _readable(chosen, held_out, classifiers[0], progress)
    rows = prepared.usable
    outputs = [
        predict_rows(one, prepared, rows, progress, with_aligned=True) for one in classifiers
    ]
    measured = _Measured(
        seeds=tuple(classifier.config.seed for classifier in classifiers),
        classes=classifiers[0].classes,
        labels=labels,
        probs=_probabilities(outputs, rows, len(chosen)),
    )
    report = {"split": name, **measured.report()}
    apart = [found for one in outputs if (found := distances_of(one, prepared, rows, labels[rows]))]
    if apart:
        report["distances"] = mean_over_seeds(apart)
    if by is not None:
        parts = [{"value": group.value, **measured.take(group.rows).report()} for group in groups]
        report["by"] = {"column": by, "groups": parts}
    return report


@dataclass(frozen=True)
class _Measured:
    """What S classifiers say of N posts. labels: (N,) int. probs: (S, N, K), NaN for bad rows."""

    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    labels: Array
    probs: Array

    def take(self, rows: Array) -> "_Measured":
        """The posts at these rows."""
        return replace(self, labels=self.labels[rows], probs=self.probs[:, rows])

    def report(self) -> dict[str, Any]:
        """Metrics, over several seeds if there are several; without a readable post only counts."""
        bad = int(np.isnan(self.probs[0, :, 0]).sum())
        if bad == len(self.labels):
            return {"posts": 0, "bad_rows": bad}
        report = _metrics(self.probs.mean(axis=0), self.labels, self.classes)
        if len(self.seeds) > 1:
            each = [_metrics(probs, self.labels, self.classes) for probs in self.probs]
            scores = {key: np.array([one[key] for one in each]) for key in HEADLINE}
            report["ensemble"] = {key: report[key] for key in HEADLINE}
            report |= {key: float(values.mean()) for key, values in scores.items()}
            report["sd"] = {key: float(values.std(ddof=1)) for key, values in scores.items()}
            report["seeds"] = [
                {"seed": seed, **{key: one[key] for key in HEADLINE}}
                for seed, one in zip(self.seeds, each, strict=True)
            ]
        return report


def _readable(
    posts: Posts, held_out: Posts, classifier: Classifier, progress: Progress
) -> PreparedPosts:
    """The posts as all seeds of a run read them. Raises: DataError: none can be read."""
    borrowed = borrow_for_prediction(posts, classifier.config, held_out=held_out, progress=progress)
    prepared = prepare_posts(posts, classifier.config, progress, borrowed)
    if not len(prepared.usable):
        raise DataError(
            posts.name,
            "at least one post that can be read",
            f"none, the first '{prepared.bad[0].id}': {prepared.bad[0].reason}",
            "Run 'postsense check' for the whole list.",
        )
    return prepared


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


def class_numbers(posts: Posts, classes: Sequence[str]) -> Array:
    """The class number (N,) of each post's label.

    Raises: DataError: a post has no label, or one the classifier does not know.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    labels = posts.column("label")
    for row, label in enumerate(labels):
        if label not in numbers:
            found = "no label" if label is None else f"'{label}'"
            raise DataError(
                f"{posts.name}, post '{posts[row].id}'",
                f"a label among {sorted(classes)}",
                found,
                nearest(str(label), classes) + " Name the label column with --label.",
            )
    return np.array([numbers[label] for label in labels], dtype=np.int64)


def metrics_of(predictions: Predictions, labels: Array) -> dict[str, Any]:
    """Metrics of predictions against class numbers (N,); bad rows are counted, not scored."""
    return _metrics(predictions.probs, labels, predictions.classes)


def _metrics(probs: Array, labels: Array, classes: Sequence[str]) -> dict[str, Any]:
    readable = ~np.isnan(probs[:, 0])
    predicted = probs[readable].argmax(axis=1)
    metrics = classification_metrics(labels[readable], predicted, classes)
    return {**metrics, "bad_rows": int((~readable).sum())}


def _chosen(posts: Posts, split: str | None) -> tuple[Posts, str]:
    name = split if split is not None else ("test" if len(posts.split("test")) else "all")
    chosen = posts if name == "all" else posts.split(name)
    labeled = chosen.labeled()
    if not len(labeled):
        splits = sorted({str(value) for value in posts.column("split")})
        raise DataError(
            posts.name,
            f"labelled posts in split '{name}'",
            f"none; the splits are {splits}",
            "Choose another --split, or name the label column with --label.",
        )
    return labeled, name
