"""Every post is in exactly one batch of an epoch, and the order can be drawn again."""

import numpy as np
import pytest

from postsense.data.batching import epoch_batches, ordered_batches


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
