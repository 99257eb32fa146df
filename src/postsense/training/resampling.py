"""Cluster numbers of posts → the posts to learn from, so that clusters weigh alike."""

from typing import Literal

import numpy as np

from postsense.arrays import Array

Sampling = Literal["under", "over", "combination", "random"]


def resample(numbers: Array, how: Sampling, seed: int) -> Array:
    """Positions (n',) of the posts to learn from, sorted; a post may stand there several times.

    Source: Sun et al. 2023, ITRp, section 3.3. "under": every cluster lends as many posts as the
    smallest has, drawn without replacement; "over": as many as the largest; "combination": the
    mean size n / k. A cluster that has fewer lends all, and some again, drawn with replacement.
    "random": all posts once.
    Deviation: empty clusters do not count, as they can lend nothing.

    Args:
        numbers: (n,) int64 >= 0, the cluster of each post.
    """
    if how == "random":
        return np.arange(len(numbers))
    sizes = np.bincount(numbers)
    sizes = sizes[sizes > 0]
    wanted = {"under": sizes.min(), "over": sizes.max(), "combination": round(sizes.mean())}[how]
    generator = np.random.default_rng(seed)
    chosen = []
    for number in np.unique(numbers):
        posts = np.flatnonzero(numbers == number)
        if len(posts) >= wanted:
            chosen.append(generator.choice(posts, wanted, replace=False))
        else:
            again = generator.choice(posts, wanted - len(posts), replace=True)
            chosen += [posts, again]
    return np.sort(np.concatenate(chosen))
