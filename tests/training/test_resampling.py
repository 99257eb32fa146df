"""Resampled clusters weigh alike, and no post is lost that need not be."""

from collections import Counter

import numpy as np
import pytest

from postsense.training.resampling import Sampling, resample

NUMBERS = np.array([0] * 10 + [1] * 4 + [3] * 1)  # cluster 2 is empty


def sizes(how: Sampling, seed: int = 0) -> dict[int, int]:
    return dict(Counter(NUMBERS[resample(NUMBERS, how, seed)].tolist()))


@pytest.mark.parametrize(("how", "size"), [("under", 1), ("over", 10), ("combination", 5)])
def test_every_cluster_lends_as_many_posts(how: Sampling, size: int) -> None:
    assert sizes(how) == {0: size, 1: size, 3: size}


def test_random_sampling_takes_every_post_once() -> None:
    assert resample(NUMBERS, "random", 0).tolist() == list(range(15))


def test_a_post_is_drawn_again_only_if_its_cluster_is_too_small() -> None:
    chosen = Counter(resample(NUMBERS, "combination", 0).tolist())
    assert all(chosen[post] <= 1 for post in range(10))
    assert all(chosen[post] >= 1 for post in range(10, 15))
    assert chosen[14] == 5


def test_over_sampling_keeps_every_post() -> None:
    assert set(resample(NUMBERS, "over", 3).tolist()) == set(range(15))


def test_the_seed_decides_which_posts() -> None:
    first, again, other = (resample(NUMBERS, "over", seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_single_cluster_is_as_it_was() -> None:
    for how in ("under", "over", "combination"):
        assert resample(np.full(5, 2), how, 0).tolist() == [0, 1, 2, 3, 4]
