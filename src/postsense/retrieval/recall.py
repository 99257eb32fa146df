"""How many of the truly best posts a search finds, measured with posts of the corpus as queries."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from postsense.arrays import Array
from postsense.progress import Progress, silent
from postsense.retrieval.exact import exact_candidates
from postsense.retrieval.ranking import Hits, QueryVectors, VectorSource, check_queries, rank

NEIGHBORS = 5  # K of recall@K
ALPHAS = (0.0, 0.3, 0.5, 0.7, 1.0)  # weights of the picture with which it is measured
QUERIES = 100  # posts drawn for each of them
QUANTILE_95 = 1.959964  # of the normal distribution, two-sided

Search = Callable[[QueryVectors, int], Hits]


@dataclass(frozen=True)
class Recall:
    """Share of the K best posts found, K = NEIGHBORS, in [0, 1]; higher is better.

    interval: 95 % interval of the mean, see `wilson_interval`.
    by_alpha: the mean for each weight of the picture; worst: the lowest of them.
    """

    mean: float
    interval: tuple[float, float]
    by_alpha: dict[str, float]

    @property
    def worst(self) -> float:
        return min(self.by_alpha.values())


@dataclass(frozen=True)
class RecallTest:
    """Posts as queries, and the exact scores of each without itself."""

    own: Array  # (Q,) int64: the posts asked with
    queries: QueryVectors
    alphas: Array  # (Q,) as drawn; a post that lacks a modality is asked with another
    exact: Array  # (Q, NEIGHBORS) float32, descending

    def measure(self, search: Search) -> Recall:
        """The recall of `search(queries, k)`."""
        found = other_scores(search(self.queries, NEIGHBORS + 1), self.own)
        shares = shares_found(found, self.exact)
        by_alpha = {
            f"{alpha:g}": float(shares[self.alphas == alpha].mean())
            for alpha in np.unique(self.alphas)
        }
        mean = float(shares.mean())
        return Recall(mean, wilson_interval(mean, len(shares)), by_alpha)


def make_recall_test(source: VectorSource, seed: int, progress: Progress = silent) -> RecallTest:
    """Draw posts as queries, each with one weight of the picture, and search them exactly."""
    numbers = source.numbers
    generator = np.random.default_rng(seed)
    count = min(len(numbers), QUERIES * len(ALPHAS))
    own = numbers[generator.choice(len(numbers), count, replace=False)]
    alphas = np.resize(np.array(ALPHAS), count)
    queries = check_queries(source, *source.vectors(own), alphas)
    candidates = exact_candidates(source, numbers, queries, NEIGHBORS + 1, progress=progress)
    hits = rank(source, queries, candidates, NEIGHBORS + 1)
    return RecallTest(own, queries, alphas, other_scores(hits, own))


def other_scores(hits: Hits, own: Array) -> Array:
    """The scores (Q, k - 1) of k hits but the query's own post, or the last if it is not there."""
    is_own = hits.numbers == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return np.asarray(hits.scores[~is_own].reshape(len(own), -1))


def shares_found(found: Array, exact: Array) -> Array:
    """For each query the share of its K best posts that were found; 1 if there are none. (Q,).

    found, exact: (Q, K) scores. A post counts if it is as good as the last of the exact hits, so
    that copies of a post may stand for each other.
    """
    there = np.isfinite(exact)
    last = np.where(there, exact, np.inf).min(axis=1)
    as_good = np.minimum((found >= last[:, None]).sum(axis=1), there.sum(axis=1))
    shares = as_good / np.maximum(there.sum(axis=1), 1)
    return np.asarray(np.where(there.any(axis=1), shares, 1.0))


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of count trials; one query is one trial.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference
        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    Deviation: p is a mean of shares in [0, 1], which vary no more than hits and misses do, so the
        interval is on the safe side.
    """
    z2 = QUANTILE_95**2
    center = share + z2 / (2 * count)
    half = QUANTILE_95 * sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return (
        max(0.0, (center - half) / (1 + z2 / count)),
        min(1.0, (center + half) / (1 + z2 / count)),
    )
