"""Vectors of posts on disk, found by the number of the post: .npy files mapped into memory.

A shard is a folder of two files: `numbers.npy` (n,) int64, ascending, and `vectors.npy` (n, D)
float16. It appears whole, by a rename. A number may be in two shards while a compaction is under
way; its vector is then the same in both. Numbers that the corpus does not know do not count.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from postsense.arrays import Array
from postsense.errors import CorpusError
from postsense.files.atomic import allocate, sync_file
from postsense.files.mapped import map_array
from postsense.files.regular import UnreadableFileError

_REBUILD = "Build the corpus again, or restore it from a copy."


def write_shard(folder: Path, name: str, numbers: Array, dim: int, blocks: Iterable[Array]) -> None:
    """Write the vectors of the numbers, given in blocks (m, D), as the shard of that name."""
    unfinished, target = folder / f".{name}", folder / name
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    np.save(unfinished / "numbers.npy", numbers.astype(np.int64), allow_pickle=False)
    file, shape = unfinished / "vectors.npy", (len(numbers), dim)
    vectors = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
    allocate(file)
    start = 0
    for block in blocks:
        vectors[start : start + len(block)] = block
        start += len(block)
    vectors.flush()
    del vectors  # Windows renames no folder of which a file is open
    for written in (unfinished / "numbers.npy", file):
        sync_file(written)
    shutil.rmtree(target, ignore_errors=True)  # of a command killed before its posts were in
    unfinished.rename(target)


class PostVectors:
    """The shards of a folder; nothing of them is in memory but what the system keeps there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shards = sorted(file.parent for file in folder.glob("[0-9]*/vectors.npy"))
        self.names = [shard.name for shard in shards]
        self._shards = [_load_shard(shard) for shard in shards]
        widths = sorted({vectors.shape[1] for _, vectors in self._shards})
        if len(widths) > 1:
            raise CorpusError(folder, "vectors of one width", f"of {widths}", _REBUILD)

    def close(self) -> None:
        """Let go of the files, which Windows deletes only then; nothing is found any more."""
        self._shards = []

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
            held |= places_of(stored, numbers) >= 0
        return bool(held.all())

    def take(self, numbers: Array) -> Array:
        """The vectors (m, D) float16 of known numbers, in their order."""
        if len(self._shards) == 1:
            stored, vectors = self._shards[0]
            return np.asarray(vectors[places_of(stored, numbers)])
        taken = np.zeros((len(numbers), self.dim), np.float16)
        for stored, vectors in self._shards:
            places = places_of(stored, numbers)
            here = np.flatnonzero(places >= 0)
            taken[here] = vectors[places[here]]
        return taken


def places_of(stored: Array, numbers: Array) -> Array:
    """Where each number stands among the stored ones, which ascend; -1: nowhere."""
    if not len(stored):
        return np.full(len(numbers), -1)
    if stored[-1] - stored[0] + 1 == len(stored):  # no gaps, as before any post is removed
        places = np.asarray(numbers) - stored[0]
        return np.where((places >= 0) & (places < len(stored)), places, -1)
    places = np.minimum(np.searchsorted(stored, numbers), len(stored) - 1)
    return np.where(stored[places] == numbers, places, -1)


def _load_shard(shard: Path) -> tuple[Array, Array]:
    """Numbers (n,) and vectors (n, D). Raises: CorpusError: they are something else."""
    numbers = _load(shard / "numbers.npy", "<i8", 1)
    vectors = _load(shard / "vectors.npy", "<f2", 2)
    if len(numbers) != len(vectors) or not (np.diff(numbers) > 0).all():
        found = f"{len(numbers)}, or not ascending"
        expected = f"{len(vectors)} numbers, ascending"
        raise CorpusError(shard / "numbers.npy", expected, found, _REBUILD)
    return numbers, vectors


def _load(file: Path, dtype: str, dimensions: int) -> Array:
    try:
        values = map_array(file)
    except UnreadableFileError as error:
        raise CorpusError(file, "a sound file of vectors", error.found, _REBUILD) from None
    if values.dtype.str != dtype or values.ndim != dimensions:
        expected = f"an array of {dimensions} dimensions of '{dtype}'"
        found = f"one of {values.ndim} of '{values.dtype.str}'"
        raise CorpusError(file, expected, found, _REBUILD)
    return values
