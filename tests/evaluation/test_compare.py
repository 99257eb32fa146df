"""Scores, the paired test and the interval, against scikit-learn, SciPy and a naive loop."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from postsense.evaluation.compare import (
    METRICS,
    RunPredictions,
    compare_runs,
    same_posts,
    seed_scores,
)

SCORERS = {
    "accuracy": metrics.accuracy_score,
    "macro_f1": lambda y, p: metrics.f1_score(y, p, average="macro", zero_division=0),
    "weighted_f1": lambda y, p: metrics.f1_score(y, p, average="weighted", zero_division=0),
}


def run_of(
    seed: int, seeds: int = 3, posts: int = 30, classes: int = 4, right: float = 0.5
) -> RunPredictions:
    """A run on the same posts for every seed, that guesses right a share of the time."""
    labels = np.random.default_rng(99).integers(0, classes, posts)
    generator = np.random.default_rng(seed)
    guesses = generator.integers(0, classes, (seeds, posts))
    knows = generator.random((seeds, posts)) < right
    ids = tuple(f"p{number:03d}" for number in range(posts))
    return RunPredictions(
        f"run{seed}", ids, tuple(range(seeds)), labels, np.where(knows, labels, guesses), classes
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("posts", [3, 30, 300])
def test_seed_scores_equal_scikit_learns(metric: str, posts: int) -> None:
    run = run_of(0, posts=posts, classes=5)  # with 3 posts, classes are absent
    expected = [SCORERS[metric](run.labels, predicted) for predicted in run.predicted]
    assert seed_scores(run)[metric] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_p_value_is_scipys_paired_t_test_over_seeds(metric: str) -> None:
    before, after = run_of(1, seeds=5), run_of(2, seeds=5, right=0.6)
    [found] = [item for item in compare_runs(before, after) if item.metric == metric]
    scores = [[SCORERS[metric](r.labels, p) for p in r.predicted] for r in (before, after)]
    assert found.p_value == pytest.approx(stats.ttest_rel(scores[1], scores[0]).pvalue)
    assert found.difference == pytest.approx(np.mean(scores[1]) - np.mean(scores[0]))


def test_only_seeds_that_both_runs_have_are_paired() -> None:
    before, after = run_of(1, seeds=4), replace(run_of(2, seeds=4), seeds=(2, 3, 7, 1))
    [found] = [item for item in compare_runs(before, after) if item.metric == "accuracy"]
    one, two = seed_scores(before)["accuracy"], seed_scores(after)["accuracy"]
    assert found.p_value == pytest.approx(stats.ttest_rel(two[[3, 0, 1]], one[[1, 2, 3]]).pvalue)


@pytest.mark.parametrize("seeds", [(0,), (5, 6)])
def test_without_two_shared_seeds_there_is_no_p_value(seeds: tuple[int, ...]) -> None:
    after = replace(run_of(2, seeds=len(seeds)), seeds=seeds)
    assert [item.p_value for item in compare_runs(run_of(1), after)] == [None] * 3


@pytest.mark.parametrize("metric", METRICS)
def test_the_interval_is_that_of_a_naive_bootstrap_over_posts(metric: str) -> None:
    before, after = run_of(1, posts=12, seeds=2), run_of(2, posts=12, seeds=3, right=0.8)
    [found] = [i for i in compare_runs(before, after, resamples=50, seed=7) if i.metric == metric]
    drawn = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=50)
    spread = []
    for times in drawn:
        posts = np.repeat(np.arange(12), times)
        means = [
            np.mean([SCORERS[metric](run.labels[posts], row[posts]) for row in run.predicted])
            for run in (before, after)
        ]
        spread.append(means[1] - means[0])
    assert [found.low, found.high] == pytest.approx(np.percentile(spread, [2.5, 97.5]), abs=1e-6)


def test_a_run_does_not_differ_from_itself() -> None:
    for item in compare_runs(run_of(1), replace(run_of(1), name="again")):
        assert (item.difference, item.low, item.high, item.p_value) == (0, 0, 0, 1.0)


def test_swapping_the_runs_turns_the_difference_around() -> None:
    there, back = compare_runs(run_of(1), run_of(2)), compare_runs(run_of(2), run_of(1))
    for one, other in zip(there, back, strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert one.p_value == pytest.approx(other.p_value)


def test_a_clearly_better_run_has_an_interval_above_zero() -> None:
    better = compare_runs(run_of(1, posts=200, right=0.2), run_of(2, posts=200, right=0.9))
    assert all(item.low > 0.3 and item.p_value < 0.05 for item in better)
    assert {(item.baseline, item.name) for item in better} == {("run1", "run2")}


def test_the_same_gain_for_every_seed_is_certain() -> None:
    before = replace(run_of(1, seeds=2), predicted=np.zeros((2, 30), dtype=np.int64))
    after = replace(before, predicted=np.stack([before.labels] * 2))
    assert [item.p_value for item in compare_runs(before, after)] == [0.0] * 3


def test_resampling_is_repeatable() -> None:
    assert compare_runs(run_of(1), run_of(2)) == compare_runs(run_of(1), run_of(2))


def test_runs_on_other_posts_or_labels_are_told_apart() -> None:
    run = run_of(1)
    assert same_posts([run, run_of(2), run_of(3)])
    assert not same_posts([run, replace(run, ids=("q", *run.ids[1:]))])
    assert not same_posts([run, run, replace(run, labels=np.roll(run.labels, 1))])
    assert not same_posts([run, run_of(1, posts=29)])


def test_a_part_of_a_run_is_the_run_on_those_posts() -> None:
    run, rows = run_of(1), np.array([7, 2, 19])
    part = run.take(rows)
    assert part.ids == ("p007", "p002", "p019")
    assert part.labels.tolist() == [run.labels[row] for row in rows]
    assert part.predicted.tolist() == [[seed[row] for row in rows] for seed in run.predicted]
    assert (part.name, part.seeds, part.classes) == (run.name, run.seeds, run.classes)
