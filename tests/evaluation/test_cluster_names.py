"""Clusters get the names with which most posts are right."""

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from postsense.evaluation.cluster_names import matched_share, name_clusters

Array = np.ndarray[Any, Any]


def drawn(clusters: int, classes: int, seed: int, posts: int = 40) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    return generator.integers(clusters, size=posts), generator.integers(classes, size=posts)


def right(clusters: Array, labels: Array, belongs: Any) -> int:
    return sum(belongs[cluster] == label for cluster, label in zip(clusters, labels, strict=True))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [2, 3, 4])
def test_as_many_clusters_as_classes_get_the_best_permutation(k: int, seed: int) -> None:
    clusters, labels = drawn(k, k, seed)
    belongs = name_clusters(clusters, labels, k, k)
    assert sorted(belongs.tolist()) == list(range(k))
    best = max(right(clusters, labels, names) for names in permutations(range(k)))
    assert right(clusters, labels, belongs) == best


@pytest.mark.parametrize("seed", range(5))
def test_more_clusters_get_the_best_names_that_leave_out_no_class(seed: int) -> None:
    clusters, labels = drawn(5, 3, seed)
    belongs = name_clusters(clusters, labels, 5, 3)
    whole = [names for names in product(range(3), repeat=5) if len(set(names)) == 3]
    assert set(belongs.tolist()) == {0, 1, 2}
    best = max(right(clusters, labels, names) for names in whole)
    assert right(clusters, labels, belongs) == best


@pytest.mark.parametrize("seed", range(5))
def test_fewer_clusters_get_different_classes(seed: int) -> None:
    clusters, labels = drawn(2, 4, seed)
    belongs = name_clusters(clusters, labels, 2, 4)
    best = max(right(clusters, labels, names) for names in permutations(range(4), 2))
    assert len(set(belongs.tolist())) == 2
    assert right(clusters, labels, belongs) == best


def test_empty_and_tied_clusters_are_named_after_the_commonest_class() -> None:
    clusters = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    labels = np.array([1, 1, 1, 1, 0, 1, 0, 0, 2, 0])
    belongs = name_clusters(clusters, labels, 5, 3)  # 1 is tied; 3 and 4 are empty
    assert belongs[:3].tolist() == [1, 1, 0]
    assert sorted(belongs[3:].tolist()) == [1, 2]  # one of them so that class 2 has any


def test_a_class_that_no_post_has_takes_no_cluster_of_many() -> None:
    belongs = name_clusters(np.array([0, 1, 2, 3]), np.array([0, 0, 2, 2]), 4, 3)
    assert belongs.tolist() == [0, 0, 2, 2]


def test_a_single_post_names_every_cluster_differently() -> None:
    belongs = name_clusters(np.array([1]), np.array([0]), 3, 3)
    assert belongs[1] == 0
    assert sorted(belongs.tolist()) == [0, 1, 2]


def test_the_share_in_the_same_clusters_does_not_depend_on_their_numbers() -> None:
    clusters = np.array([0, 0, 1, 1, 2, 2])
    assert matched_share(clusters, (clusters + 1) % 3, 3) == 1.0
    assert matched_share(clusters, np.array([1, 1, 0, 0, 0, 0]), 3) == pytest.approx(4 / 6)
