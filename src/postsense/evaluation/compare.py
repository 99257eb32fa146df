"""Predictions of several runs on the same posts → mean ± sd, a paired test and an interval."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from postsense.arrays import Array

METRICS = ("accuracy", "macro_f1", "weighted_f1")


@dataclass(frozen=True)
class RunPredictions:
    """One run on N posts. labels: (N,) int. predicted: (S, N) int, a row for each of S seeds."""

    name: str
    ids: tuple[str, ...]
    seeds: tuple[int, ...]
    labels: Array
    predicted: Array
    classes: int

    def take(self, rows: Array) -> "RunPredictions":
        """The run on the posts at these rows, in this order."""
        ids = tuple(self.ids[row] for row in rows)
        return replace(self, ids=ids, labels=self.labels[rows], predicted=self.predicted[:, rows])


@dataclass(frozen=True)
class Difference:
    """How much better run `name` is than `baseline` in one metric.

    difference: of the means over seeds, in [-1, 1]; positive: `name` is better. p_value: two-sided
    paired t-test over shared seeds, None with fewer than two of them. low, high: 95 % bootstrap
    interval over posts.
    """

    baseline: str
    name: str
    metric: str
    difference: float
    p_value: float | None
    low: float
    high: float


def seed_scores(run: RunPredictions) -> dict[str, Array]:
    """Each metric of each seed, (S,)."""
    counts = np.stack([_confusions(run, row, None)[0] for row in run.predicted])
    return {metric: _score(counts, metric) for metric in METRICS}


def compare_runs(
    baseline: RunPredictions, run: RunPredictions, *, resamples: int = 2000, seed: int = 0
) -> list[Difference]:
    """The difference of two runs in every metric.

    Source: the paired t-test is what Xu & Li 2022 report; the percentile bootstrap over posts is
    Efron 1979. The test asks whether another seed would change the verdict, the interval whether
    other posts would.
    """
    before, after = seed_scores(baseline), seed_scores(run)
    weights = _resampled_weights(len(run.ids), resamples, seed)
    first = _bootstrap(baseline, weights)
    second = _bootstrap(run, weights)
    differences = []
    for metric in METRICS:
        spread = second[metric] - first[metric]
        low, high = np.percentile(spread, [2.5, 97.5])
        differences.append(
            Difference(
                baseline=baseline.name,
                name=run.name,
                metric=metric,
                difference=float(after[metric].mean() - before[metric].mean()),
                p_value=_paired_p_value(baseline, run, before[metric], after[metric]),
                low=float(low),
                high=float(high),
            )
        )
    return differences


def _paired_p_value(
    baseline: RunPredictions, run: RunPredictions, before: Array, after: Array
) -> float | None:
    shared = sorted(set(baseline.seeds) & set(run.seeds))
    if len(shared) < 2:
        return None
    one = before[[baseline.seeds.index(seed) for seed in shared]]
    two = after[[run.seeds.index(seed) for seed in shared]]
    if np.ptp(two - one) < 1e-12:  # the same difference for every seed has no variance to test
        return 1.0 if abs(float((two - one)[0])) < 1e-12 else 0.0
    return float(stats.ttest_rel(two, one).pvalue)


def _resampled_weights(posts: int, resamples: int, seed: int) -> Array:
    """How often each post is drawn in each resample, (resamples, posts)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(posts, np.full(posts, 1 / posts), size=resamples)


def _bootstrap(run: RunPredictions, weights: Array) -> dict[str, Array]:
    """Each metric's mean over seeds in each resample, (resamples,)."""
    counts = [_confusions(run, row, weights) for row in run.predicted]
    return {
        metric: np.mean([_score(count, metric) for count in counts], axis=0) for metric in METRICS
    }


def _confusions(run: RunPredictions, predicted: Array, weights: Array | None) -> Array:
    """Confusion matrices (R, K, K), true class first; one of all posts if weights is None."""
    k = run.classes
    cells = np.zeros((len(run.labels), k * k), dtype=np.float32)
    cells[np.arange(len(run.labels)), run.labels * k + predicted] = 1
    drawn = np.ones((1, len(run.labels))) if weights is None else weights
    counts = drawn.astype(np.float32) @ cells  # whole numbers: exact in float32 below 2**24
    return counts.astype(np.float64).reshape(-1, k, k)


def _score(confusions: Array, metric: str) -> Array:
    """A metric of confusion matrices (R, K, K), as scikit-learn defines it. Returns (R,)."""
    right = np.diagonal(confusions, axis1=1, axis2=2)  # (R, K)
    if metric == "accuracy":
        return np.asarray(right.sum(axis=1) / confusions.sum(axis=(1, 2)))
    support, guesses = confusions.sum(axis=2), confusions.sum(axis=1)
    f1 = 2 * right / np.maximum(support + guesses, 1e-12)
    if metric == "weighted_f1":
        return np.asarray((f1 * support).sum(axis=1) / support.sum(axis=1))
    occurs = (support + guesses) > 0
    return np.asarray((f1 * occurs).sum(axis=1) / occurs.sum(axis=1))


def same_posts(runs: Sequence[RunPredictions]) -> bool:
    """Whether all runs predicted the same posts with the same true labels."""
    first = runs[0]
    return all(
        run.ids == first.ids and np.array_equal(run.labels, first.labels) for run in runs[1:]
    )
