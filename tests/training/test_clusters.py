"""Clusters are as good as scikit-learn's, whole, in one order, and the same every time."""

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from postsense.config import ClusteringSettings
from postsense.errors import DataError
from postsense.training.clusters import Clusters, cluster_vectors, equal_scaled

Array = np.ndarray[Any, Any]


def made(kind: str) -> Array:
    """Vectors that k-means finds easy (blobs), or where it has many bad optima."""
    generator = np.random.default_rng(0)
    if kind == "noise":
        return generator.normal(size=(800, 32)).astype(np.float32)
    if kind == "heavy tails":
        return generator.standard_t(2, size=(800, 8)).astype(np.float32)
    if kind == "uneven":
        parts = [generator.normal(place, 0.5, (count, 6)) for place, count in ((0, 780), (5, 20))]
        return np.concatenate(parts).astype(np.float32)
    centers = 4 if kind == "blobs" else 12
    vectors, _ = make_blobs(800, 10, centers=centers, cluster_std=3.0, random_state=0)
    return vectors.astype(np.float32)


def cluster(vectors: Array, clusters: int, seed: int = 0, **changes: Any) -> Clusters:
    return cluster_vectors(vectors, ClusteringSettings(clusters=clusters, **changes), seed)


def naive_inertia(vectors: Array, numbers: Array) -> float:
    """Sum over clusters of squared distances to the mean, one vector at a time."""
    total = 0.0
    for number in set(numbers.tolist()):
        members = vectors[numbers == number].astype(np.float64)
        total += sum(float(((member - members.mean(axis=0)) ** 2).sum()) for member in members)
    return total


KINDS = ("blobs", "overlapping", "noise", "heavy tails", "uneven")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clusters", [2, 4, 8])
def test_the_inertia_is_within_a_hundredth_of_scikit_learn(kind: str, clusters: int) -> None:
    """The medians over five seeds: of hard data, either is now and then a few percent off."""
    vectors = made(kind)
    theirs = [KMeans(clusters, n_init=10, random_state=seed).fit(vectors) for seed in range(5)]

    found = [cluster(vectors, clusters, seed=seed) for seed in range(5)]

    expected = np.median([one.inertia_ for one in theirs])
    assert np.median([one.inertia for one in found]) <= 1.01 * expected
    naive = naive_inertia(vectors, found[0].numbers)
    assert found[0].inertia == pytest.approx(naive, rel=1e-5)


@pytest.mark.parametrize("algorithm", ["kmeans", "gmm"])
def test_blobs_that_stand_apart_are_found(algorithm: str) -> None:
    vectors, truth = make_blobs([60, 50, 40], 5, cluster_std=0.2, random_state=1)
    found = cluster(vectors.astype(np.float32), 3, algorithm=algorithm)
    np.testing.assert_array_equal(found.numbers, truth)
    for number in range(3):
        mean = vectors[truth == number].mean(axis=0)
        np.testing.assert_allclose(found.centers[number], mean, rtol=1e-4, atol=1e-4)


def test_every_vector_is_with_its_nearest_center() -> None:
    vectors = made("noise")
    found = cluster(vectors, 5)
    distances = ((vectors[:, None] - found.centers) ** 2).sum(axis=2)
    np.testing.assert_array_equal(found.numbers, distances.argmin(axis=1))


@pytest.mark.parametrize("algorithm", ["kmeans", "gmm"])
def test_the_seed_decides_everything(algorithm: str) -> None:
    vectors = made("noise")[:200]
    first, again = (cluster(vectors, 3, seed=5, algorithm=algorithm) for _ in range(2))
    np.testing.assert_array_equal(first.numbers, again.numbers)
    np.testing.assert_array_equal(first.centers, again.centers)


@pytest.mark.parametrize("algorithm", ["kmeans", "gmm"])
def test_the_largest_cluster_is_the_first_and_of_equals_the_earliest(algorithm: str) -> None:
    rows = [[9.0, 9.0]] * 2 + [[0.0, 5.0]] * 2 + [[-9.0, 0.0]] * 3
    vectors = np.array(rows, np.float32) + np.arange(7)[:, None] * np.float32(1e-3)
    numbers = cluster(vectors, 3, algorithm=algorithm).numbers
    assert numbers.tolist() == [1, 1, 2, 2, 0, 0, 0]


@pytest.mark.parametrize("far", [0.0, 1e4])
@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e15])
def test_neither_unit_nor_offset_changes_the_clusters(unit: float, far: float) -> None:
    vectors = made("blobs")
    moved = ((vectors + far) * unit).astype(np.float32)
    found, expected = cluster(moved, 4), cluster(vectors, 4)
    assert (found.numbers == expected.numbers).mean() > 0.99
    assert found.inertia == pytest.approx(expected.inertia * unit**2, rel=1e-3)


@pytest.mark.parametrize("vectors", [2, 3, 40])
def test_no_cluster_of_k_means_is_empty(vectors: int) -> None:
    rows = np.zeros((vectors, 3), np.float32)
    rows[0], rows[1:2] = 1.0, 1.0 + 1e-6
    clusters = 2 if vectors == 2 else 3
    found = cluster(rows, clusters)
    assert sorted(set(found.numbers.tolist())) == list(range(clusters))
    assert np.isfinite(found.centers).all()


def test_a_mixture_of_more_numbers_than_vectors_is_finite() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 100)).astype(np.float32)
    vectors[:10] += 3.0
    found = cluster(vectors, 2, algorithm="gmm", restarts=2)
    assert found.numbers.tolist() == [1] * 10 + [0] * 20
    assert np.isfinite(found.inertia)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.eye(3), "expected a post for each cluster at least, found 3 for 4 clusters"),
        (np.ones((9, 2)), "found 1 different ones in 9 posts for 4 clusters"),
        (np.eye(3)[[0, 1, 2] * 3], "found 3 different ones in 9 posts for 4 clusters"),
        (np.array([[0.0], [-0.0], [1.0], [2.0]]), "found 3 different ones in 4 posts"),
        (np.array([[0.0], [1.0], [np.nan], [2.0]]), "found inf or NaN in vector 2"),
    ],
)
@pytest.mark.parametrize("algorithm", ["kmeans", "gmm"])
def test_vectors_that_cannot_be_clustered_are_refused(
    vectors: Array, message: str, algorithm: str
) -> None:
    with pytest.raises(DataError, match=message):
        cluster(vectors.astype(np.float32), 4, algorithm=algorithm)


def test_modalities_of_equal_scale_count_alike_in_distances() -> None:
    generator = np.random.default_rng(0)
    text, image = generator.normal(3, 0.01, (50, 4)), generator.normal(-1, 70, (50, 9))
    scaled = equal_scaled([text.astype(np.float32), image.astype(np.float32)])
    for part, given in ((scaled[:, :4], text), (scaled[:, 4:], image)):
        centered = given - given.mean(axis=0)
        size = np.sqrt(np.mean([row @ row for row in centered]))
        np.testing.assert_allclose(part, centered / size, atol=1e-4)


def test_a_modality_without_any_variance_becomes_zeros() -> None:
    scaled = equal_scaled([np.full((4, 2), 7.0, np.float32), np.eye(4, dtype=np.float32)])
    assert not scaled[:, :2].any()
    assert scaled[:, 2:].any()


def test_a_vector_apart_is_found_though_starts_are_drawn_from_some_of_many() -> None:
    vectors = np.zeros((3000, 4), np.float32)
    vectors[2999] = 1.0
    numbers = cluster(vectors, 2).numbers
    assert numbers.tolist() == [0] * 2999 + [1]
