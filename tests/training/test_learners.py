"""Heads that are fitted in one go: equal to slow references, and to scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression

from postsense.fusion.kernel import radial_kernel
from postsense.training.learners.learner import Fold, Lesson
from postsense.training.learners.regression import REGRESSION, fit_lines
from postsense.training.learners.ridge import RIDGE, compare, fit_ridge, to_probs


def lesson(posts: int = 60, width: int = 8, classes: int = 3, seed: int = 0) -> Lesson:
    generator = np.random.default_rng(seed)
    labels = np.arange(posts) % classes
    centers = generator.normal(size=(classes, width))
    vectors = (centers[labels] + generator.normal(size=(posts, width))).astype(np.float32)
    return Lesson(vectors, labels, np.ones(posts), classes)


def probs_of_line(given: Lesson, penalty: float) -> np.ndarray:
    logits = fit_lines(given, [penalty])[penalty].logits(given.vectors)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("width", [8, 200], ids=["more posts", "more numbers"])
@pytest.mark.parametrize("penalty", [0.03, 1.0])
def test_regression_is_that_of_scikit_learn(width: int, penalty: float) -> None:
    given = lesson(width=width)
    reference = LogisticRegression(C=1 / (penalty * len(given.labels)), max_iter=5000, tol=1e-8)
    expected = reference.fit(given.vectors, given.labels).predict_proba(given.vectors)
    assert probs_of_line(given, penalty) == pytest.approx(expected, abs=2e-3)  # both stop early


def test_a_post_that_counts_twice_is_as_good_as_two() -> None:
    once = lesson(posts=40)
    rows = np.concatenate([np.arange(40), np.arange(10)])
    twice = Lesson(once.vectors[rows], once.labels[rows], np.ones(50), 3)
    weighed = Lesson(once.vectors, once.labels, np.where(np.arange(40) < 10, 2.0, 1.0), 3)
    assert probs_of_line(weighed, 0.3) == pytest.approx(probs_of_line(twice, 0.3)[:40], abs=2e-3)


def test_a_lesson_of_few_numbers_is_the_same_dense_or_not() -> None:
    given = lesson(width=30)
    few = np.where(given.vectors > 1, given.vectors, 0)
    dense = Lesson(few, given.labels, given.weights, 3)
    sparse = Lesson(csr_array(few), given.labels, given.weights, 3)
    assert probs_of_line(sparse, 0.3) == pytest.approx(probs_of_line(dense, 0.3), abs=2e-3)


def test_a_heavier_penalty_leaves_smaller_weights() -> None:
    lines = fit_lines(lesson(), [0.01, 0.1, 1.0])
    sizes = [np.abs(lines[penalty].weights).sum() for penalty in (0.01, 0.1, 1.0)]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def slow_ridge(vectors: np.ndarray, above: np.ndarray, spread: float, penalty: float) -> np.ndarray:
    """(K + penalty I)^-1 y, one entry of K at a time."""
    count = len(vectors)
    kernel = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            kernel[i, j] = np.exp(-np.sum((vectors[i] - vectors[j]) ** 2) / (2 * spread))
    return kernel @ np.linalg.solve(kernel + penalty * np.eye(count), above)


def test_ridge_is_its_equation_and_that_of_scikit_learn() -> None:
    given = lesson(posts=30)
    alike = compare(given.vectors, 100)
    weights = fit_ridge(alike.kernel, alike.kernel, given, 0.3, every_post=True)
    above = given.targets - given.shares
    vectors = given.vectors.astype(np.float64)
    expected = slow_ridge(vectors, above, alike.spread, 0.3)
    assert alike.kernel @ weights == pytest.approx(expected, abs=1e-4)
    other = KernelRidge(alpha=0.3, kernel="rbf", gamma=1 / (2 * alike.spread)).fit(vectors, above)
    assert other.predict(vectors) == pytest.approx(expected, abs=1e-9)


def test_ridge_with_every_post_as_a_point_is_the_same_either_way() -> None:
    given = lesson(posts=30)
    alike = compare(given.vectors, 100)
    direct = fit_ridge(alike.kernel, alike.kernel, given, 0.3, every_post=True)
    by_points = fit_ridge(alike.kernel, alike.kernel, given, 0.3, every_post=False)
    assert alike.kernel @ by_points == pytest.approx(alike.kernel @ direct, abs=1e-2)


def test_fewer_points_than_posts_are_spread_over_their_order() -> None:
    alike = compare(lesson(posts=60).vectors, 7)
    assert alike.points.tolist() == [0, 8, 17, 25, 34, 42, 51]
    assert alike.kernel.shape == (60, 7)


def test_the_kernel_is_one_at_home_and_falls_with_distance() -> None:
    vectors = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    kernel = radial_kernel(vectors, vectors, 12.5)
    assert kernel.tolist() == [[1.0, pytest.approx(np.exp(-1))], [pytest.approx(np.exp(-1)), 1.0]]


@pytest.mark.parametrize("learner", [REGRESSION, RIDGE], ids=["regression", "ridge"])
def test_no_post_is_answered_by_what_learned_its_label(learner: object) -> None:
    given = lesson(posts=45)
    folds = [Fold(np.flatnonzero(np.arange(45) % 3 != k), np.arange(k, 45, 3)) for k in range(3)]
    before = learner.answers(given, folds, [0.3])[0.3]  # type: ignore[attr-defined]
    labels = given.labels.copy()
    labels[folds[0].answered] = (labels[folds[0].answered] + 1) % 3
    changed = Lesson(given.vectors, labels, given.weights, 3)
    after = learner.answers(changed, folds, [0.3])[0.3]  # type: ignore[attr-defined]
    own = folds[0].answered
    assert (before[own] == after[own]).all() and not np.allclose(before, after)
    assert before.sum(axis=1) == pytest.approx(np.ones(45))


def test_scores_below_the_least_share_are_raised_to_it() -> None:
    assert to_probs(np.array([[0.98, -0.5]])).tolist() == [
        [pytest.approx(0.98), pytest.approx(0.02)]
    ]
