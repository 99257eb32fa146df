"""Posts to be measured → which of them the classifiers have seen in training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postsense.arrays import Array
from postsense.config import Config
from postsense.data.seen import content_keys, joined_seen
from postsense.posts import Posts
from postsense.prediction.classifier import AnyClassifier


@dataclass(frozen=True)
class SeenPosts:
    """Which of N posts were seen, each a mask (N,) bool; a post is of one kind at most.

    trained: learned from with a label. selected: its label chose the epoch, or named clusters.
    grouped: learned from without a label, which gives no answer away.
    """

    trained: Array
    selected: Array
    grouped: Array

    @property
    def labels_seen(self) -> Array:
        """(N,) bool: whose labels the classifier knows."""
        known: Array = self.trained | self.selected
        return known

    def take(self, rows: Array) -> "SeenPosts":
        """Of the posts at these rows."""
        return SeenPosts(self.trained[rows], self.selected[rows], self.grouped[rows])

    def counts(self) -> dict[str, int]:
        """How many posts there are and how many of them were seen, by kind."""
        numbers = {name: int(mask.sum()) for name, mask in vars(self).items()}
        return {"posts": len(self.trained), **numbers}


def seen_posts(classifiers: Sequence[AnyClassifier], keys: Array) -> SeenPosts | None:
    """Which posts any of the classifiers has seen; None: that is not known.

    keys: (N,) content keys of the posts, of the modalities that the classifiers read.
    """
    seen = joined_seen([classifier.seen for classifier in classifiers])
    if seen is None:
        return None
    trained = np.isin(keys, seen.trained)
    selected = np.isin(keys, seen.selected) & ~trained
    grouped = np.isin(keys, seen.grouped) & ~trained & ~selected
    return SeenPosts(trained, selected, grouped)


def keys_of(posts: Posts, config: Config) -> Array:
    """The content keys (N,) of posts, of the modalities that the settings read."""
    return content_keys(posts, text=config.reads_words, picture=config.reads_picture)


def told(seen: dict[str, int] | None) -> str:
    """What a report says of seen posts, in words for people.

    seen: `seen` of a report of `evaluate_classifiers`.
    """
    if seen is None:
        return (
            "which of these posts the run was trained on is not known: an earlier version saved it"
        )
    kinds = {
        "trained": "were trained on",
        "selected": "selected what was kept",
        "grouped": "were learned from without their labels",
    }
    parts = [f"{seen[name]} {kind}" for name, kind in kinds.items() if seen[name]]
    line = f"of {seen['posts']} labelled posts, {' and '.join(parts)}"
    if seen["left_out"]:
        return f"{line}; the other {seen['posts'] - seen['left_out']} are measured"
    if seen["trained"] or seen["selected"]:
        return f"{line}, and are measured all the same: new posts may do worse"
    return line
