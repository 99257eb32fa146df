"""Vectors and labels → kernel ridge regression on how alike posts are, for several penalties."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve

from postsense.arrays import Array
from postsense.config import Config
from postsense.fusion.kernel import LEAST_SHARE, RadialKernel, squared_distances
from postsense.model.post_model import PostModel
from postsense.parallel.processes import available_cores
from postsense.training.learners.learner import Fold, Lesson, Vectors
from postsense.training.learners.regression import put_together, write_line

_MOST_POINTS = 4000  # that posts are compared with while a penalty is chosen
_ASKED_DISTANCES = 200_000  # of which the median is taken, about


@dataclass(frozen=True)
class Alike:
    """How alike N posts are to M points. kernel: (N, M); points: (M,) positions of the posts.

    spread: s of the kernel, the median of the squared distances between posts.
    """

    kernel: Array
    points: Array
    spread: float


def compare(vectors: Vectors, most: int) -> Alike:
    """The kernel of all posts with at most that many of them, evenly spread over their order.

    Source: the median of squared distances as the kernel's width is that of Jaakkola, Diekhans &
        Haussler 1999, Using the Fisher kernel method to detect remote protein homologies.
    """
    dense = vectors if isinstance(vectors, np.ndarray) else vectors.toarray()
    count = len(dense)
    points = np.arange(count) if count <= most else np.arange(most) * count // most
    rows = torch.from_numpy(np.ascontiguousarray(dense, dtype=np.float32))
    distances = squared_distances(rows, rows[points]).numpy()
    asked = distances[points][np.triu_indices(len(points), 1)]
    asked = asked[:: max(1, len(asked) // _ASKED_DISTANCES)]
    spread = float(np.median(asked)) if len(asked) else 0.0
    spread = spread if spread > 0 else 1.0
    np.multiply(distances, -0.5 / spread, out=distances)
    return Alike(np.exp(distances, out=distances), points, spread)


def fit_ridge(
    kernel: Array, among: Array, lesson: Lesson, penalty: float, *, every_post: bool
) -> Array:
    """Weights (M, K) of points, so that kernel @ weights are what labels are above their shares.

    Source: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eqs. 2.25 and 8.14.
        every post is a point:  (K + penalty I) a = y - shares
        else:                   (K_pn K_np + penalty K_pp) a = K_pn (y - shares)
    Deviation: posts that count p > 0 have penalty / p in place of the penalty.

    kernel: (N, M) of the posts with the points. among: (M, M) of the points. every_post: whether
        these are the same.
    """
    above = lesson.targets - lesson.shares
    if every_post:
        system = kernel.astype(np.float64)
        system[np.diag_indices(len(system))] += penalty / lesson.weights
        return _solved(system, above)
    weighed = kernel.astype(np.float64) * lesson.weights[:, None]
    system = weighed.T @ kernel + penalty * among.astype(np.float64)
    system[np.diag_indices(len(system))] += 1e-6 * np.trace(system) / len(system)
    return _solved(system, weighed.T @ above)


def _solved(system: Array, right: Array) -> Array:
    factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
    solved: Array = cho_solve(factor, right, check_finite=False)
    return solved


def to_probs(scores: Array) -> Array:
    """Scores (N, K) that are nearly shares → probabilities."""
    clipped = np.clip(scores, LEAST_SHARE, None)
    probs: Array = clipped / clipped.sum(axis=1, keepdims=True)
    return probs


class Ridge:
    """Kernel ridge regression, see `fit_ridge`."""

    penalties = (1.0, 0.3)

    def answers(
        self, lesson: Lesson, folds: Sequence[Fold], penalties: Sequence[float]
    ) -> Mapping[float, Array]:
        """By penalty: probabilities (N, K), as `Learner` says."""
        alike = compare(lesson.vectors, _MOST_POINTS)
        every_post = len(alike.points) == len(lesson.labels)

        def fit(fold: Fold) -> dict[float, Array]:
            learned, points = fold.learned, fold.learned if every_post else slice(None)
            part = Lesson(
                lesson.vectors[:0], lesson.labels[learned], lesson.weights[learned], lesson.classes
            )
            kernel = alike.kernel[learned][:, points]
            among = kernel if every_post else alike.kernel[alike.points]
            asked = alike.kernel[fold.answered][:, points].astype(np.float64)
            found = {}
            for penalty in penalties:
                weights = fit_ridge(kernel, among, part, penalty, every_post=every_post)
                found[penalty] = to_probs(asked @ weights + part.shares)
            return found

        with ThreadPoolExecutor(available_cores()) as pool:
            found = list(pool.map(fit, folds))
        return put_together(lesson, folds, found, penalties)

    def teach(self, model: PostModel, lesson: Lesson, penalty: float) -> None:
        """Fit points and weights of a model whose fusion is a `RadialKernel`."""
        fusion = model.fusion
        assert isinstance(fusion, RadialKernel)
        alike = compare(lesson.vectors, len(fusion.points))
        every_post = len(alike.points) == len(lesson.labels)
        among = alike.kernel[alike.points]
        weights = fit_ridge(alike.kernel, among, lesson, penalty, every_post=every_post)
        chosen = lesson.vectors[alike.points]
        points = chosen if isinstance(chosen, np.ndarray) else chosen.toarray()
        fusion.compare_with(torch.from_numpy(np.ascontiguousarray(points)), alike.spread)
        write_line(model, weights, lesson.shares)

    def most_points(self, config: Config, posts: int) -> int | None:
        """As many posts as the settings allow."""
        return min(posts, config.ridge.points)


RIDGE = Ridge()
