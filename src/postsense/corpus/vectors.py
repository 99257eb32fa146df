"""Vectors of posts on disk, found by the number of the post: .npy files mapped into memory.

A shard is a folder of two files: `numbers.npy` (n,) int64, ascending, and `vectors.npy` (n, D)
float16. It appears whole, by a rename. A number may be in two shards while a compaction is under
way; its vector is then the same in both. Numbers that the corpus does not know do not count.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from postsense.errors import CorpusError

Array = np.ndarray[Any, Any]


def write_shard(folder: Path, name: str, numbers: Array, dim: int, blocks: Iterable[Array]) -> None:
    """Write the vectors of the numbers, given in blocks (m, D), as the shard of that name."""
    unfinished, target = folder / f".{name}", folder / name
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    np.save(unfinished / "numbers.npy", numbers.astype(np.int64), allow_pickle=False)
    file, shape = unfinished / "vectors.npy", (len(numbers), dim)
    vectors = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
    start = 0
    for block in blocks:
        vectors[start : start + len(block)] = block
        start += len(block)
    vectors.flush()
    for written in (unfinished / "numbers.npy", file):
        with written.open("rb") as stream:
            os.fsync(stream.fileno())
    shutil.rmtree(target, ignore_errors=True)  # of a command killed before its posts were in
    unfinished.rename(target)


class PostVectors:
    """The shards of a folder; nothing of them is in memory but what the system keeps there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shards = sorted(file.parent for file in folder.glob("[0-9]*/vectors.npy"))
        self.names = [shard.name for shard in shards]
        self._shards = [(_load(s / "numbers.npy"), _load(s / "vectors.npy")) for s in shards]

    @property
    def dim(self) -> int:
        """D, the width of a vector; 0 without any."""
        return int(self._shards[0][1].shape[1]) if self._shards else 0

    @property
    def size(self) -> int:
        """How many vectors the shards hold, those of removed posts included."""
        return sum(len(numbers) for numbers, _ in self._shards)

    def holds(self, numbers: Array) -> bool:
        """Whether every number has a vector."""
        held = np.zeros(len(numbers), dtype=bool)
        for stored, _ in self._shards:
            held |= _places(stored, numbers) >= 0
        return bool(held.all())

    def take(self, numbers: Array) -> Array:
        """The vectors (m, D) float16 of known numbers, in their order."""
        if len(self._shards) == 1:
            stored, vectors = self._shards[0]
            return np.asarray(vectors[_places(stored, numbers)])
        taken = np.zeros((len(numbers), self.dim), np.float16)
        for stored, vectors in self._shards:
            places = _places(stored, numbers)
            here = np.flatnonzero(places >= 0)
            taken[here] = vectors[places[here]]
        return taken


def _places(stored: Array, numbers: Array) -> Array:
    """Where each number stands among the stored ones, which ascend; -1: nowhere."""
    if not len(stored):
        return np.full(len(numbers), -1)
    if stored[-1] - stored[0] + 1 == len(stored):  # no gaps, as before any post is removed
        places = np.asarray(numbers) - stored[0]
        return np.where((places >= 0) & (places < len(stored)), places, -1)
    places = np.minimum(np.searchsorted(stored, numbers), len(stored) - 1)
    return np.where(stored[places] == numbers, places, -1)


def _load(file: Path) -> Array:
    try:
        values: Array = np.load(file, mmap_mode="r", allow_pickle=False)
        return values
    except (OSError, ValueError, EOFError) as error:
        fix = "Build the corpus again."
        raise CorpusError(file, "a sound file of vectors", str(error), fix) from None
