"""Every post is in exactly one batch of an epoch, and the order can be drawn again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from postsense.data.batching import epoch_batches, ordered_batches, spread_batches

Array = np.ndarray[Any, Any]
Draw = Callable[..., list[Array]]


def as_lists(batches: list[Array]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize(("posts", "size"), [(1, 4), (4, 4), (5, 4), (9, 4), (100, 7), (3, 1)])
def test_every_post_is_drawn_once_in_batches_of_nearly_one_size(posts: int, size: int) -> None:
    batches = epoch_batches(posts, size, seed=0, epoch=0)

    lengths = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches)) == list(range(posts))
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(batches) == -(-posts // size)


def test_the_same_seed_and_epoch_give_the_same_batches() -> None:
    first = epoch_batches(50, 8, seed=3, epoch=2)
    np.random.default_rng().random(100)
    again = epoch_batches(50, 8, seed=3, epoch=2)

    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in again]


@pytest.mark.parametrize(("seed", "epoch"), [(4, 2), (3, 3), (2, 3)])
def test_another_seed_or_epoch_gives_another_order(seed: int, epoch: int) -> None:
    order = np.concatenate(epoch_batches(50, 8, seed=3, epoch=2))

    assert (np.concatenate(epoch_batches(50, 8, seed=seed, epoch=epoch)) != order).any()


def test_the_posts_of_an_epoch_are_shuffled() -> None:
    assert np.concatenate(epoch_batches(50, 8, seed=0, epoch=0)).tolist() != list(range(50))


@pytest.mark.parametrize(
    ("posts", "size", "expected"),
    [(5, 2, [[0, 1], [2, 3], [4]]), (4, 2, [[0, 1], [2, 3]]), (2, 9, [[0, 1]])],
)
def test_ordered_batches_keep_the_order(posts: int, size: int, expected: list[list[int]]) -> None:
    assert [batch.tolist() for batch in ordered_batches(posts, size)] == expected


def lengths_of(posts: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(1, 40, posts)


def naive_buckets(order: list[int], count: int, lengths: Array, pool: int) -> set[tuple[int, ...]]:
    """The batches, in no order: shuffled posts, cut, each pool of batches sorted and cut again."""
    sizes = [len(order) // count + (number < len(order) % count) for number in range(count)]
    batches, start = set(), 0
    for first in range(0, count, pool):
        chosen = sizes[first : first + pool]
        drawn = order[start : start + sum(chosen)]
        drawn = [p for _, _, p in sorted((lengths[p], n, p) for n, p in enumerate(drawn))]
        start += sum(chosen)
        for size in chosen:
            batches.add(tuple(drawn[:size]))
            drawn = drawn[size:]
    return batches


@pytest.mark.parametrize(("posts", "size"), [(1, 4), (9, 4), (100, 7), (331, 4), (64, 1)])
def test_posts_of_a_batch_are_those_of_similar_length_in_their_pool(posts: int, size: int) -> None:
    lengths, count = lengths_of(posts), -(-posts // size)

    batches = epoch_batches(posts, size, seed=3, epoch=2, lengths=lengths, pool=5)

    order = np.random.default_rng([3, 2]).permutation(posts).tolist()
    assert {tuple(batch) for batch in as_lists(batches)} == naive_buckets(order, count, lengths, 5)
    assert len(batches) == count


def draw_epoch(posts: int, **options: Any) -> list[Array]:
    return epoch_batches(posts, 8, **{"seed": 3, "epoch": 2, **options})


def draw_spread(posts: int, **options: Any) -> list[Array]:
    return spread_batches(posts, 9, **{"seed": 3, "epoch": 2, **options})


both = pytest.mark.parametrize("draw", [draw_epoch, draw_spread])


@both
@pytest.mark.parametrize("posts", [1, 8, 9, 70, 1000])
def test_buckets_hold_every_post_once_in_batches_of_nearly_one_size(draw: Draw, posts: int) -> None:
    batches = draw(posts, lengths=lengths_of(posts))

    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches)) == list(range(posts))
    assert max(sizes) - min(sizes) <= 1 <= min(sizes)
    assert sorted(sizes) == sorted(len(batch) for batch in draw(posts))


@both
def test_buckets_are_the_same_again_for_a_seed_and_epoch_alone(draw: Draw) -> None:
    lengths = lengths_of(70)
    first = as_lists(draw(70, lengths=lengths))
    np.random.default_rng().random(100)

    assert as_lists(draw(70, lengths=lengths.copy())) == first
    for change in ({"seed": 4}, {"epoch": 3}):
        assert as_lists(draw(70, lengths=lengths, **change)) != first


@both
def test_without_lengths_the_batches_are_those_of_one_permutation(draw: Draw) -> None:
    numbers = [3, 2] if draw is draw_epoch else [3, 2, 9]

    order = np.random.default_rng(numbers).permutation(70)

    assert as_lists(draw(70)) == as_lists(np.array_split(order, 9))
    assert as_lists(draw(70, lengths=None)) == as_lists(draw(70))


@both
def test_batches_do_not_come_in_the_order_of_their_lengths(draw: Draw) -> None:
    lengths = lengths_of(70)

    longest = [int(lengths[batch].max()) for batch in draw(70, lengths=lengths)]

    assert longest != sorted(longest)


def test_little_is_padded() -> None:
    lengths = lengths_of(2000)

    def padded(batches: list[Array]) -> int:
        return sum(len(batch) * int(lengths[batch].max()) for batch in batches)

    by_length = padded(draw_epoch(2000, lengths=lengths))

    assert by_length < 1.03 * lengths.sum()
    assert padded(draw_epoch(2000)) > 1.5 * lengths.sum()


def test_no_posts_are_spread_over_no_batches() -> None:
    assert spread_batches(0, 4, seed=0, epoch=0, lengths=np.zeros(0, np.int64)) == []
