"""Vectors and labels → multinomial regression, for one penalty or several."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax, softmax
from torch import nn

from postsense.arrays import Array
from postsense.config import Config
from postsense.model.post_model import PostModel
from postsense.parallel.processes import available_cores
from postsense.training.learners.learner import Fold, Lesson, Vectors

_MOST_STEPS = 200
_CORRECTIONS = 10  # pairs of steps and gradients that L-BFGS remembers
_FEW_ROWS = 1200  # up to here it pays to turn wide rows into as many numbers as there are rows


@dataclass(frozen=True)
class Line:
    """A linear answer: logits = vectors @ weights + bias. weights: (F, K); bias: (K,)."""

    weights: Array
    bias: Array

    def logits(self, vectors: Vectors) -> Array:
        """(N, K) float64 of vectors (N, F)."""
        found: Array = np.asarray(vectors @ self.weights.astype(np.float32), dtype=np.float64)
        return found + self.bias


def fit_lines(lesson: Lesson, penalties: Sequence[float]) -> dict[float, Line]:
    """Multinomial regression, by penalty; see `paths_of_lines`, of which this is one."""
    return {
        penalty: lines[0]
        for penalty, lines in paths_of_lines(lesson, lesson.weights[:, None], penalties)
    }


def paths_of_lines(
    lesson: Lesson, weights: Array, penalties: Sequence[float]
) -> Iterator[tuple[float, list[Line]]]:
    """Several multinomial regressions on the same vectors, penalty by penalty.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, section 4.3.4; L2 penalty.
        min_W,b  sum_n w_n CE(softmax(x_n W + b), y_n) / sum_n w_n + lambda / 2 |W|^2
    The bias is free. From the largest penalty on, each begins where the one before has ended. The
    regressions differ in what each post weighs; their sum is minimised, so that vectors are gone
    through once for all of them.

    weights: (N, J) in the place of the lesson's, a column for each regression, 0 for posts that it
        does not learn from. penalties: lambda > 0, on the mean loss; scikit-learn's C is
        1 / (N lambda).
    Returns: by penalty, largest first, the J lines; a penalty is not gone into until it is asked
        for.
    """
    vectors, back = _narrowed(lesson.vectors)
    objective = _Objective(vectors, lesson.targets, weights / weights.sum(axis=0))
    options = {
        **{"maxiter": _MOST_STEPS, "gtol": 1e-5, "maxcor": _CORRECTIONS},
        "ftol": 1e-9 / weights.shape[1],
    }
    line = objective.start()
    for penalty in sorted(penalties, reverse=True):
        how: Any = {"args": (penalty,), "jac": True, "method": "L-BFGS-B", "options": options}
        line = minimize(objective, line.ravel(), **how).x.reshape(line.shape)
        slope = line[:-1] if back is None else lesson.vectors.T @ (back @ line[:-1])
        parts = zip(
            np.split(slope, weights.shape[1], axis=1), objective.apart(line[-1]), strict=True
        )
        yield penalty, [Line(np.asarray(w, dtype=np.float64), bias.copy()) for w, bias in parts]


@dataclass(frozen=True)
class _Objective:
    """Loss and gradient of J regressions on vectors (N, F), targets (N, K) and weights (N, J).

    What is minimised over is (F + 1, J K): the weights of each regression, below them its bias.
    """

    vectors: Vectors
    targets: Array
    weights: Array

    @cached_property
    def transposed(self) -> Vectors:
        """(F, N)."""
        sparse = isinstance(self.vectors, csr_array)
        return self.vectors.T.tocsr() if sparse else self.vectors.T

    def start(self) -> Array:
        """No weights, and biases that give each class its share."""
        shares = np.clip(self.weights.T @ self.targets, 1e-3, None)  # (J, K)
        biases = np.log(shares / shares.sum(axis=1, keepdims=True)).ravel()
        return np.vstack([np.zeros((self.vectors.shape[1], len(biases))), biases])

    def apart(self, joined: Array) -> Array:
        """(..., J K) as (..., J, K)."""
        return joined.reshape(*joined.shape[:-1], self.weights.shape[1], self.targets.shape[1])

    def __call__(self, flat: Array, penalty: float) -> tuple[float, Array]:
        vectors, weights = self.vectors, self.weights
        found = flat.reshape(vectors.shape[1] + 1, -1)
        slope = found[:-1]
        logits = np.asarray(vectors @ slope.astype(vectors.dtype), dtype=np.float64) + found[-1]
        log_probs = log_softmax(self.apart(logits), axis=2)  # (N, J, K)
        right = (log_probs * self.targets[:, None]).sum(axis=2)
        value = -np.vdot(weights, right) + penalty / 2 * np.vdot(slope, slope)
        errors = (np.exp(log_probs) - self.targets[:, None]) * weights[..., None]
        errors = errors.reshape(logits.shape)
        gradient = np.asarray(self.transposed @ errors.astype(vectors.dtype), dtype=np.float64)
        whole = np.vstack([gradient + penalty * slope, errors.sum(axis=0)])
        return float(value), whole.ravel()


def _narrowed(vectors: Vectors) -> tuple[Vectors, Array | None]:
    """Vectors of as many numbers as there are posts, where these are few, and the way back.

    The best weights are sums of posts, W = X^T A: of n posts they span n dimensions at most. With
    the eigenvectors V and roots s of X X^T the posts become V s, and A = V s^-1 of their weights.
    """
    rows, width = vectors.shape
    if isinstance(vectors, csr_array) or rows >= width or rows > _FEW_ROWS:
        return vectors, None
    wide = vectors.astype(np.float64)
    values, axes = np.linalg.eigh(wide @ wide.T)
    kept = values > values[-1] * 1e-10
    roots = np.sqrt(values[kept])
    return axes[:, kept] * roots, axes[:, kept] / roots


class Regression:
    """Multinomial regression, see `fit_lines`."""

    penalties = (3.0, 1.0, 0.3, 0.1)

    def answers(
        self, lesson: Lesson, folds: Sequence[Fold], penalties: Sequence[float]
    ) -> Mapping[float, Array]:
        """By penalty: probabilities (N, K), as `Learner` says."""

        def fit(fold: Fold) -> dict[float, Array]:
            lines = fit_lines(part_of(lesson, fold.learned), penalties)
            asked = lesson.vectors[fold.answered]
            return {penalty: softmax(line.logits(asked), axis=1) for penalty, line in lines.items()}

        with ThreadPoolExecutor(available_cores()) as pool:
            found = list(pool.map(fit, folds))
        return put_together(lesson, folds, found, penalties)

    def teach(self, model: PostModel, lesson: Lesson, penalty: float) -> None:
        """Fit the linear layer of the model's head."""
        line = fit_lines(lesson, [penalty])[penalty]
        write_line(model, line.weights, line.bias)

    def most_points(self, config: Config, posts: int) -> int | None:
        """None: what was learned is in the weights alone."""
        return None


REGRESSION = Regression()


def part_of(lesson: Lesson, rows: Array) -> Lesson:
    """The lesson of some of its posts."""
    return Lesson(lesson.vectors[rows], lesson.labels[rows], lesson.weights[rows], lesson.classes)


def put_together(
    lesson: Lesson,
    folds: Sequence[Fold],
    found: Sequence[Mapping[float, Array]],
    penalties: Sequence[float],
) -> dict[float, Array]:
    """By penalty: the probabilities (N, K) of all folds in the places of their posts."""
    whole = {
        penalty: np.full((len(lesson.labels), lesson.classes), np.nan) for penalty in penalties
    }
    for fold, part in zip(folds, found, strict=True):
        for penalty, probs in part.items():
            whole[penalty][fold.answered] = probs
    return whole


@torch.no_grad()
def write_line(model: PostModel, weights: Array, bias: Array) -> None:
    """Put weights (F, K) and bias (K,) into the linear layer of a model's head."""
    linear = next(part for part in model.head.modules() if isinstance(part, nn.Linear))
    linear.weight.copy_(torch.from_numpy(weights.T))
    linear.bias.copy_(torch.from_numpy(bias))
