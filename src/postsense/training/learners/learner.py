"""What a method does that fits a head, in one go, to vectors that stay as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from postsense.arrays import Array
from postsense.config import Config
from postsense.model.post_model import PostModel

Vectors = Any
"""(N, F) float32: an array, or a csr_array of few numbers that are not 0."""


@dataclass(frozen=True)
class Lesson:
    """N vectors to learn from. vectors: (N, F) float32, dense or of few numbers that are not 0.

    labels: (N,) class numbers, of K classes. weights: (N,) float64, how much each post counts.
    """

    vectors: Vectors
    labels: Array
    weights: Array
    classes: int

    @property
    def targets(self) -> Array:
        """(N, K) float64, 1 where a post is of the class."""
        hot: Array = np.eye(self.classes)[self.labels]
        return hot

    @property
    def shares(self) -> Array:
        """(K,) float64, the share of each class among the posts, by their weights."""
        counts = np.bincount(self.labels, self.weights, minlength=self.classes)
        shares: Array = counts / counts.sum()
        return shares


@dataclass(frozen=True)
class Fold:
    """Positions in a lesson: learned (A,) from, and answered (O,) after that."""

    learned: Array
    answered: Array


def folds_in(fold: Array) -> list[Fold]:
    """The folds of a lesson, by the number (N,) of that of each vector; none if all are in one."""
    numbers = np.unique(fold)
    each = [Fold(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in numbers]
    return each if len(each) > 1 else []


class Learner(Protocol):
    """A way to fit a head; the penalty on its weights is the only thing to choose."""

    penalties: tuple[float, ...]

    def answers(
        self, lesson: Lesson, folds: Sequence[Fold], penalties: Sequence[float]
    ) -> Mapping[float, Array]:
        """By penalty: probabilities (N, K) of each post by what was learned without its fold.

        NaN for posts that no fold answers.
        """

    def teach(self, model: PostModel, lesson: Lesson, penalty: float) -> None:
        """Fit the head of a model, of which these are the vectors."""

    def most_points(self, config: Config, posts: int) -> int | None:
        """Posts of train that the model keeps; None: it keeps none."""
