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
    """The shards of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shards = sorted(file.parent for file in folder.glob("[0-9]*/vectors.npy"))
        self.names = [shard.name for shard in shards]
        numbers = [_load(shard / "numbers.npy") for shard in shards]
        self._vectors = [_load(shard / "vectors.npy") for shard in shards]
        joined = np.concatenate([np.zeros(0, np.int64), *numbers])
        order = np.argsort(joined, kind="stable")
        self._sorted = joined[order]
        self._owner = np.repeat(np.arange(len(shards)), [len(part) for part in numbers])[order]
        self._local = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(p)) for p in numbers)])
        self._local = self._local[order].astype(np.int64)

    @property
    def dim(self) -> int:
        """D, the width of a vector; 0 without any."""
        return int(self._vectors[0].shape[1]) if self._vectors else 0

    @property
    def size(self) -> int:
        """How many vectors the shards hold, those of removed posts included."""
        return len(self._sorted)

    def holds(self, numbers: Array) -> bool:
        """Whether every number has a vector."""
        return bool(np.isin(numbers, self._sorted).all())

    def take(self, numbers: Array) -> Array:
        """The vectors (m, D) float16 of known numbers, in their order."""
        places = np.searchsorted(self._sorted, numbers)
        owners, locals_ = self._owner[places], self._local[places]
        if len(self._vectors) == 1:
            return np.asarray(self._vectors[0][locals_])
        taken = np.zeros((len(numbers), self.dim), np.float16)
        for owner in np.unique(owners).tolist():
            chosen = np.flatnonzero(owners == owner)
            taken[chosen] = self._vectors[owner][locals_[chosen]]
        return taken


def _load(file: Path) -> Array:
    try:
        values: Array = np.load(file, mmap_mode="r", allow_pickle=False)
        return values
    except (OSError, ValueError, EOFError) as error:
        fix = "Build the corpus again."
        raise CorpusError(file, "a sound file of vectors", str(error), fix) from None
