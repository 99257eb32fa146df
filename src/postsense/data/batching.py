"""Which posts go together in a step."""

import numpy as np
from numpy.typing import NDArray

POOL = 64  # batches whose posts are sorted together by length, where nothing else is said

Positions = NDArray[np.int64]


def epoch_batches(
    posts: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    lengths: Positions | None = None,
    pool: int = POOL,
) -> list[Positions]:
    """All posts once, shuffled, in batches that differ by at most one post.

    Given lengths, (posts,) of their texts, those of a batch are of similar length, so that little
    is padded: the posts of pool batches are sorted together, then the batches shuffled.
    The order depends on nothing but the arguments, so a resumed run draws the same batches.
    """
    generator = np.random.default_rng([seed, epoch])
    return _shuffled(posts, -(-posts // batch_size), generator, lengths, pool)


def ordered_batches(posts: int, batch_size: int) -> list[Positions]:
    """All posts once, in their order."""
    return np.split(np.arange(posts), range(batch_size, posts, batch_size))


def spread_batches(
    posts: int,
    batches: int,
    *,
    seed: int,
    epoch: int,
    lengths: Positions | None = None,
    pool: int = POOL,
) -> list[Positions]:
    """All posts once, shuffled, in this many batches at most; none is empty.

    lengths, pool: as for epoch_batches.
    """
    generator = np.random.default_rng([seed, epoch, batches])
    return _shuffled(posts, min(posts, batches), generator, lengths, pool) if posts else []


def _shuffled(
    posts: int, count: int, generator: np.random.Generator, lengths: Positions | None, pool: int
) -> list[Positions]:
    batches = np.array_split(generator.permutation(posts), count)
    if lengths is None:
        return batches
    alike: list[Positions] = []
    for start in range(0, count, pool):
        together = batches[start : start + pool]
        drawn = np.concatenate(together)
        by_length = drawn[np.argsort(lengths[drawn], kind="stable")]
        alike += np.split(by_length, np.cumsum([len(batch) for batch in together[:-1]]))
    return [alike[place] for place in generator.permutation(count)]
