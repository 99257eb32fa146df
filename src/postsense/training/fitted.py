"""What training gives whoever asked for it: a classifier, and what is reported."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from postsense.prediction.classifier import AnyClassifier
from postsense.training.trained import Trained
from postsense.training.unseen import Unseen


@dataclass(frozen=True)
class Fitted:
    """A classifier and how it was trained. report: JSON. pseudo_labels: None without any.

    trained: the one model, and where its training ended; None of an ensemble.
    unseen: what was said of posts of folds before they were learned from; None without folds.
    """

    classifier: AnyClassifier
    report: dict[str, Any] = field(default_factory=dict)
    pseudo_labels: pa.Table | None = None
    trained: Trained | None = None
    unseen: Unseen | None = None
