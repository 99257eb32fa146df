"""Which posts go together in a step."""

import numpy as np
from numpy.typing import NDArray


def epoch_batches(posts: int, batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """All posts once, shuffled, in batches that differ by at most one post.

    The order depends on nothing but the arguments, so a resumed run draws the same batches.
    """
    order = np.random.default_rng([seed, epoch]).permutation(posts)
    return np.array_split(order, -(-posts // batch_size))


def ordered_batches(posts: int, batch_size: int) -> list[NDArray[np.int64]]:
    """All posts once, in their order."""
    return np.split(np.arange(posts), range(batch_size, posts, batch_size))


def spread_batches(posts: int, batches: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """All posts once, shuffled, in this many batches at most; none is empty."""
    order = np.random.default_rng([seed, epoch, batches]).permutation(posts)
    return np.array_split(order, min(posts, batches)) if posts else []
