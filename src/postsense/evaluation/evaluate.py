"""Classifiers and labelled posts → metrics."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from postsense.classifier import Classifier, Predictions, predict_rows
from postsense.errors import DataError, nearest
from postsense.evaluation.metrics import HEADLINE, classification_metrics
from postsense.inference import softmax
from postsense.inputs import prepare_posts
from postsense.posts import Posts, joined_posts
from postsense.progress import Progress, silent
from postsense.retrieval.borrowing import borrow_for_prediction

Array = np.ndarray[Any, Any]


def evaluate_classifiers(
    classifiers: Sequence[Classifier],
    posts: Posts,
    split: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Metrics on labelled posts, JSON-ready.

    With one classifier: its metrics. With several (the seeds of a run): the headline metrics are
    means over them, `sd` their standard deviations, `seeds` the metrics of each; the detailed
    metrics are those of the mean probabilities, which is also what `predict` writes.

    split: None: "test" if there are such posts, else all.
    Raises: DataError: no labelled post in the split, or a label that the classifier lacks.
    """
    chosen, name = _chosen(posts, split)
    first = classifiers[0]
    labels = class_numbers(chosen, first.classes)
    held_out = joined_posts(joined_posts(chosen, posts.split("val")), posts.split("test"))
    borrowed = borrow_for_prediction(chosen, first.config, held_out=held_out, progress=progress)
    prepared = prepare_posts(chosen, first.config, progress, borrowed)
    if not len(prepared.usable):
        raise DataError(
            chosen.name,
            "at least one post that can be read",
            f"none, the first '{prepared.bad[0].id}': {prepared.bad[0].reason}",
            "Run 'postsense check' for the whole list.",
        )
    outputs = [predict_rows(one, prepared, prepared.usable, progress) for one in classifiers]
    probs = [softmax(output.logits) for output in outputs]
    ids = tuple(chosen.column("id"))

    def metrics(rows: Array) -> dict[str, Any]:
        filled = np.full((len(chosen), len(first.classes)), np.nan, dtype=np.float32)
        filled[prepared.usable] = rows
        return metrics_of(Predictions(ids, first.classes, filled, prepared.bad), labels)

    report = {"split": name, **metrics(np.mean(probs, axis=0))}
    if len(classifiers) > 1:
        each = [metrics(rows) for rows in probs]
        scores = {key: np.array([one[key] for one in each]) for key in HEADLINE}
        report["ensemble"] = {key: report[key] for key in HEADLINE}
        report |= {key: float(values.mean()) for key, values in scores.items()}
        report["sd"] = {key: float(values.std(ddof=1)) for key, values in scores.items()}
        report["seeds"] = [
            {"seed": classifier.config.seed, **{key: one[key] for key in HEADLINE}}
            for classifier, one in zip(classifiers, each, strict=True)
        ]
    return report


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
    readable = ~np.isnan(predictions.probs[:, 0])
    predicted = predictions.probs[readable].argmax(axis=1)
    metrics = classification_metrics(labels[readable], predicted, predictions.classes)
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
