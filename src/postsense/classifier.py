"""A trained classifier: posts → labels, probabilities and the rows it could not read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from postsense.config import Config
from postsense.inference import predict_logits, softmax
from postsense.inputs import BadRow, PreparedPosts, pick_device, prepare_posts
from postsense.model import PostModel
from postsense.posts import Posts
from postsense.progress import Progress, silent

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Predictions:
    """What a classifier says about N posts, in their order.

    probs: (N, K) float32, rows sum to 1; NaN for the rows in `bad`, which have no label either.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    probs: Array
    bad: tuple[BadRow, ...]

    @property
    def labels(self) -> list[str | None]:
        """The likeliest class of each post, None for a bad row."""
        readable = ~np.isnan(self.probs[:, 0])
        likeliest = np.where(readable, np.nan_to_num(self.probs).argmax(axis=1), -1)
        return [self.classes[number] if number >= 0 else None for number in likeliest]

    def to_table(self) -> pa.Table:
        """Columns id, label and prob_<class> for each class; nulls for bad rows."""
        columns = {"id": list(self.ids), "label": self.labels}
        for number, name in enumerate(self.classes):
            columns[f"prob_{name}"] = pa.array(self.probs[:, number], from_pandas=True)
        return pa.table(columns)


@dataclass(frozen=True)
class Classifier:
    """A model with the settings that read its posts and the names of its classes."""

    config: Config
    classes: tuple[str, ...]
    model: PostModel

    def predict(self, posts: Posts, progress: Progress = silent) -> Predictions:
        """Classify posts; labels are not looked at."""
        return average_predictions([self], posts, progress)


def average_predictions(
    classifiers: Sequence[Classifier], posts: Posts, progress: Progress = silent
) -> Predictions:
    """Mean probabilities of classifiers that differ by their seed; posts are encoded once."""
    first = classifiers[0]
    prepared = prepare_posts(posts, first.config, progress)
    probs = np.full((len(posts), len(first.classes)), np.nan, dtype=np.float32)
    if len(prepared.usable):
        each = [predict_rows(one, prepared, prepared.usable, progress) for one in classifiers]
        probs[prepared.usable] = np.mean(each, axis=0)
    ids = tuple(posts.column("id"))
    return Predictions(ids, first.classes, probs, prepared.bad)


def predict_rows(
    classifier: Classifier, prepared: PreparedPosts, rows: Array, progress: Progress = silent
) -> Array:
    """Probabilities (n, K) of some rows of prepared posts."""
    device = pick_device(classifier.config)
    workers = classifier.config.training.workers
    dataset = prepared.dataset(rows)
    return softmax(
        predict_logits(classifier.model, dataset, device, workers=workers, progress=progress)
    )
