"""True and predicted classes → accuracy, precision, recall, F1 and the confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from postsense.arrays import Array
from postsense.data.label_kinds import known_label
from postsense.errors import ConfigError, nearest
from postsense.posts import LabelKind

HEADLINE = ("accuracy", "macro_f1", "weighted_f1")
HIGHER_IS_BETTER = {"accuracy": True, "macro_f1": True, "weighted_f1": True, "loss": False}


def classification_metrics(
    labels: Array, predicted: Array, classes: Sequence[str], positive: int | None = None
) -> dict[str, Any]:
    """Every metric we report, JSON-ready.

    Macro averages are over the classes that occur among labels or predictions, as scikit-learn
    does; `absent_classes` are those without a label, of which nothing was measured. `binary` is
    about one class against all others: the positive one; without it, of two classes the last in
    sorted order ("sarcastic" of "non-sarcastic" and "sarcastic").

    Args:
        labels, predicted: (N,) int class numbers; N >= 1.
        classes: names of the K classes.
        positive: number of the positive class.
    Returns: accuracy, {macro,weighted}_{precision,recall,f1} in [0, 1], higher is better; `binary`
        for K = 2 or with a positive class; `per_class` by name; `absent_classes`; `confusion`
        (K, K), rows are true classes; `posts` = N.
    """
    report: dict[str, Any] = {"posts": len(labels)}
    report["accuracy"] = float(accuracy_score(labels, predicted))
    for average in ("macro", "weighted"):
        scores = _precision_recall_f1(labels, predicted, average=average)
        report |= {f"{average}_{name}": value for name, value in scores.items()}
    report["per_class"] = _per_class(labels, predicted, classes)
    if positive is None and len(classes) == 2:
        positive = 1
    if positive is not None:
        scores = dict(report["per_class"][classes[positive]])
        del scores["posts"]
        report["binary"] = {"positive_class": classes[positive], **scores}
    counts = np.bincount(labels, minlength=len(classes))
    numbers = list(range(len(classes)))
    report["absent_classes"] = [classes[number] for number in numbers if not counts[number]]
    report["classes"] = list(classes)
    report["confusion"] = confusion_matrix(labels, predicted, labels=numbers).tolist()
    return report


def positive_number(classes: Sequence[str], name: str | None, kind: LabelKind) -> int | None:
    """The number of the class that is called positive; None if none is.

    Raises: ConfigError: no class, or more than one, has that name, whatever its case.
    """
    if name is None:
        return None
    found = known_label(name.strip(), classes, kind)
    alike = [one for one in classes if one.casefold() == name.strip().casefold()]
    if found is None and len(alike) == 1:
        [found] = alike
    if found is None:
        where, expected = "data.positive_class", f"a class among {sorted(classes)}"
        raise ConfigError(where, expected, f"'{name}'", nearest(name, classes))
    return classes.index(found)


def headline_metric(name: str, logits: Array, labels: Array) -> float:
    """One number of logits (N, K) against labels (N,): "accuracy", "macro_f1", ... or "loss"."""
    if name == "loss":
        return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
    predicted = logits.argmax(axis=1)
    if name == "accuracy":
        return float(accuracy_score(labels, predicted))
    return _precision_recall_f1(labels, predicted, average=name.removesuffix("_f1"))["f1"]


def headline_metrics(probs: Array, labels: Array) -> dict[str, float]:
    """Each of HEADLINE of probabilities (N, K) against labels (N,); {} of none."""
    return {name: headline_metric(name, probs, labels) for name in HEADLINE} if len(labels) else {}


def _precision_recall_f1(labels: Array, predicted: Array, **options: Any) -> dict[str, float]:
    scores = precision_recall_fscore_support(labels, predicted, zero_division=0, **options)
    return dict(zip(("precision", "recall", "f1"), map(float, scores[:3]), strict=True))


def _per_class(labels: Array, predicted: Array, classes: Sequence[str]) -> dict[str, Any]:
    columns = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), average=None, zero_division=0
    )
    names = ("precision", "recall", "f1", "posts")
    return {
        name: {
            key: int(value) if key == "posts" else float(value)
            for key, value in zip(names, row, strict=True)
        }
        for name, row in zip(classes, zip(*columns, strict=True), strict=True)
    }
