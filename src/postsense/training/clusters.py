"""Vectors of posts → clusters: k-means by Faiss, or a Gaussian mixture."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from postsense.arrays import Array
from postsense.config import ClusteringSettings
from postsense.errors import DataError
from postsense.extras import load_faiss

logger = logging.getLogger(__name__)
STARTS_FROM = 256  # vectors for each cluster, at most, that a start is drawn from
ITERATIONS = 100
EARLY_STOP = 1e-5  # relative gain of an iteration below which Faiss stops
SETTLE_ROUNDS = 5  # of the best start, in float64
BLOCK = 256  # vectors that are float64 at once: they stay in the cache, in memory used before


@dataclass(frozen=True)
class Clusters:
    """k clusters of N vectors, the largest first, of equals the one of the earliest vector.

    numbers: (N,) int64. centers: (k, D) float64, the mean of each cluster; of an empty component
    of a mixture its own mean. inertia: sum of squared distances of the vectors to their centers.
    """

    numbers: Array
    centers: Array
    inertia: float


def need_packages(settings: ClusteringSettings) -> None:
    """Import what the algorithm needs. Raises: CorpusError: it is not installed."""
    if settings.algorithm == "kmeans":
        load_faiss("discover")


def cluster_vectors(vectors: Array, settings: ClusteringSettings, seed: int) -> Clusters:
    """Put vectors into settings.clusters clusters; nearest center or likeliest component.

    Source: Sun et al. 2023, ITRp, eq. 2; the mixture has one full covariance for all components.
        min_C 1/n sum_i min_y ||e_i - C y_i||^2
    Deviation: none in the objective. k-means starts from centers that are drawn greedily far apart
    (k-means++ of scikit-learn, over some of the vectors), which Faiss's own drawing is not. The
    mixture adds a thousandth of the mean variance to each variance, a tenth where vectors are
    fewer than their numbers: their covariance alone cannot be inverted.

    Args:
        vectors: (N, D) float32. Any unit and offset.
    Raises: DataError: not finite, fewer vectors or fewer distinct vectors than clusters.
        CorpusError: k-means without Faiss installed.
    """
    _refuse_unfit(vectors, settings.clusters)
    scaled, offset, scale = _centered(vectors)
    need_packages(settings)  # before the limit, which holds for what is loaded
    with threadpool_limits(1):  # sums must not depend on the number of cores
        if settings.algorithm == "gmm":
            numbers, centers = _mixture(scaled, settings, seed)
        else:
            numbers, centers = _settled(scaled, _k_means(scaled, settings, seed))
    numbers, centers = _ordered(numbers, centers)
    inertia = sum(
        float(np.square(scaled[rows].astype(np.float64) - centers[numbers[rows]]).sum())
        for rows in _blocks(len(scaled))
    )
    return Clusters(numbers, centers * scale + offset, inertia * scale**2)


def equal_scaled(parts: Sequence[Array]) -> Array:
    """The vectors (N, D) of modalities (N, Dm) side by side, so that all count alike in distances.

    Source: ours: the concatenation of the paper lets the modality with longer vectors decide.
    Each is centred and divided by the root of its mean squared norm; one without any variance
    becomes zeros.
    """
    scaled = []
    for part in parts:
        centered = part.astype(np.float64) - part.mean(axis=0, dtype=np.float64)
        size = np.sqrt(np.square(centered).sum(axis=1).mean())
        scaled.append((centered / size if size > 0 else centered).astype(np.float32))
    return np.concatenate(scaled, axis=1)


def _refuse_unfit(vectors: Array, clusters: int) -> None:
    where, fix = "clustering", "Lower clustering.clusters, or give more posts."
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        fix = "Check the encoder, or lower training.encoder_learning_rate."
        raise DataError(where, "finite vectors", f"inf or NaN in vector {row}", fix)
    if len(vectors) < clusters:
        found = f"{len(vectors)} for {clusters} clusters"
        raise DataError(where, "a post for each cluster at least", found, fix)
    distinct = set[bytes]()
    for vector in vectors:
        distinct.add((vector + 0.0).tobytes())  # -0.0 is 0.0
        if len(distinct) >= clusters:
            return
    found = f"{len(distinct)} different ones in {len(vectors)} posts for {clusters} clusters"
    raise DataError(where, "vectors that differ", found, fix)


def _centered(vectors: Array) -> tuple[Array, Array, float]:
    """Vectors about zero and within 1, as float32 needs them, and the offset and unit taken off."""
    offset = np.zeros(vectors.shape[1])
    for rows in _blocks(len(vectors)):
        offset += vectors[rows].sum(axis=0, dtype=np.float64) / len(vectors)
    scale = max(float(np.abs(vectors[rows] - offset).max()) for rows in _blocks(len(vectors)))
    scaled = np.empty(vectors.shape, dtype=np.float32)
    for rows in _blocks(len(vectors)):
        scaled[rows] = (vectors[rows] - offset) / scale
    return scaled, offset, scale


def _k_means(vectors: Array, settings: ClusteringSettings, seed: int) -> Array:
    """The best centers (k, D) of all starts."""
    faiss = load_faiss("discover")
    best, lowest = np.empty(0), np.inf
    for one in np.random.SeedSequence(seed).generate_state(settings.restarts):
        drawn = np.random.default_rng(one).permutation(len(vectors))
        few = vectors[drawn[: STARTS_FROM * settings.clusters]]
        start, _ = kmeans_plusplus(few, settings.clusters, random_state=int(one))
        k_means = faiss.Kmeans(
            vectors.shape[1],
            settings.clusters,
            niter=ITERATIONS,
            early_stop_threshold=EARLY_STOP,
            min_points_per_centroid=1,
            max_points_per_centroid=len(vectors),  # all of them count
        )
        inertia = float(k_means.train(vectors, init_centroids=start))
        if inertia < lowest:
            best, lowest = k_means.centroids.astype(np.float64), inertia
    return best


def _settled(vectors: Array, centers: Array) -> tuple[Array, Array]:
    """Numbers and centers that agree, in float64 and without an empty cluster.

    An empty cluster gets the vector that is farthest from its center.
    """
    numbers, distances = _assigned(vectors, centers)
    for _ in range(SETTLE_ROUNDS):
        sizes = np.bincount(numbers, minlength=len(centers))
        for empty in np.flatnonzero(sizes == 0):
            farthest = np.where(sizes[numbers] > 1, distances, -1.0).argmax()
            sizes[numbers[farthest]] -= 1
            numbers[farthest], distances[farthest], sizes[empty] = empty, 0.0, 1
        centers = _means(vectors, numbers, centers)
        before = numbers
        numbers, distances = _assigned(vectors, centers)
        if (numbers == before).all():
            break
    return before, centers


def _mixture(vectors: Array, settings: ClusteringSettings, seed: int) -> tuple[Array, Array]:
    """The likeliest component of each vector, and the components' means."""
    variance = float(vectors.var(axis=0, dtype=np.float64).mean())
    share = 1e-3 if len(vectors) > vectors.shape[1] else 0.1
    mixture = GaussianMixture(
        settings.clusters,
        covariance_type="tied",
        n_init=settings.restarts,
        reg_covar=share * variance,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        numbers = mixture.fit_predict(vectors.astype(np.float64)).astype(np.int64)
    if not mixture.converged_:
        logger.warning("the Gaussian mixture stopped after %d steps, unfinished", mixture.n_iter_)
    return numbers, _means(vectors, numbers, mixture.means_)


def _assigned(vectors: Array, centers: Array) -> tuple[Array, Array]:
    """The nearest center of each vector, the first of equals, and the squared distance."""
    numbers, distances = np.empty(len(vectors), dtype=np.int64), np.empty(len(vectors))
    for rows in _blocks(len(vectors)):
        block = vectors[rows].astype(np.float64)
        squared = np.square(block).sum(axis=1)[:, None] + np.square(centers).sum(axis=1)
        squared -= 2.0 * block @ centers.T
        numbers[rows], distances[rows] = squared.argmin(axis=1), squared.min(axis=1)
    return numbers, distances


def _means(vectors: Array, numbers: Array, centers: Array) -> Array:
    """The mean of each cluster; the old center of an empty one."""
    sums = np.zeros(centers.shape)
    for rows in _blocks(len(vectors)):
        members = numbers[rows] == np.arange(len(centers))[:, None]  # (k, b)
        sums += members.astype(np.float64) @ vectors[rows].astype(np.float64)
    sizes = np.bincount(numbers, minlength=len(centers))[:, None]
    means: Array = np.where(sizes > 0, sums / np.maximum(sizes, 1), centers)
    return means


def _ordered(numbers: Array, centers: Array) -> tuple[Array, Array]:
    """The same clusters, the largest first, then the one whose first vector is the earliest."""
    sizes = np.bincount(numbers, minlength=len(centers))
    first = np.full(len(centers), len(numbers))
    np.minimum.at(first, numbers, np.arange(len(numbers)))
    order = np.lexsort((first, -sizes))
    place = np.empty(len(centers), dtype=np.int64)
    place[order] = np.arange(len(centers))
    return place[numbers], centers[order]


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]
