"""Shards of named arrays on disk, found again by the content they were computed from.

A store is a folder of shards. A shard is some .npy files of n items, `<shard>.<part>.npy`, of which
`keys`, (n, 2) uint64, holds the content hashes. `keys` is written last, so a shard without it does
not count and a process killed while writing loses at most that shard. Several processes may append.
"""

import hashlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from postsense.atomic import replacing
from postsense.errors import EncoderError

Array = np.ndarray[Any, Any]


def content_key(data: bytes) -> tuple[int, int]:
    """A 128-bit hash of a post's text or of its picture's file, as two 64-bit numbers."""
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


class Shard:
    """Named arrays, memory-mapped when first read."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.keys: Array = np.array(self._open("keys"))
        self._parts: dict[str, Array] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, part: str) -> Array:
        if part not in self._parts:
            self._parts[part] = self._open(part)
        return self._parts[part]

    def _open(self, part: str) -> Array:
        file = self.folder / f"{self.name}.{part}.npy"
        try:
            values: Array = np.load(file, mmap_mode="r", allow_pickle=False)
            return values
        except (OSError, ValueError, EOFError) as error:
            raise EncoderError(
                file,
                "a sound shard of what was kept",
                str(error),
                "Delete this folder; it is computed again when needed.",
            ) from None


class Sized(Protocol):
    """Anything that knows how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


Item = TypeVar("Item", bound=Sized)


class ShardStore(ABC, Generic[Item]):
    """Items of one kind, each under the key of its content. The row of an item counts shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = [
            Shard(folder, file.name.removesuffix(".keys.npy"))
            for file in sorted(folder.glob("*.keys.npy"))
        ]

    @abstractmethod
    def append(self, keys: Array, items: Sequence[Item]) -> None:
        """Write the items as one more shard. keys: (n, 2) uint64, one an item."""

    @abstractmethod
    def compact(self, item: Item) -> Item:
        """The item as it will be stored, in memory of its own."""

    def find(self, keys: Array) -> Array:
        """The row of each key, -1 where the store lacks it. keys: (N, 2) uint64; returns (N,)."""
        rows = np.full(len(keys), -1, dtype=np.int64)
        if not self.shards or not len(keys):
            return rows
        stored = np.concatenate([shard.keys for shard in self.shards])
        order = np.lexsort((stored[:, 1], stored[:, 0]))
        first = stored[order, 0]
        position = np.searchsorted(first, keys[:, 0], side="left")
        run_ends = np.searchsorted(first, keys[:, 0], side="right")
        for _ in range(
            int((run_ends - position).max())
        ):  # 1 unless two contents share their first 64 bits
            candidate = order[np.minimum(position, len(order) - 1)]
            rows = np.where((stored[candidate] == keys).all(axis=1), candidate, rows)
            position = position + 1
        return rows

    def unseen(self, keys: Array, present: Array) -> Array:
        """Positions of one post for each content that the store lacks. Returns (n,) int64.

        keys: (N, 2) uint64; present: (N,) bool, which of the posts count.
        """
        wanted = np.flatnonzero(present & (self.find(keys) < 0))
        _, first = np.unique(keys[wanted], axis=0, return_index=True)
        return wanted[np.sort(first)]

    def write_shard(self, keys: Array, parts: Mapping[str, Array]) -> None:
        """Write one more shard, its keys last. keys: (n, 2) uint64; parts: arrays by name."""
        name = uuid.uuid4().hex
        for part, values in (*parts.items(), ("keys", keys)):
            with replacing(self.folder / f"{name}.{part}.npy") as temporary:
                np.save(temporary, values, allow_pickle=False)
        self.shards.append(Shard(self.folder, name))

    def by_shard(self, rows: Array) -> list[tuple[Shard, Array, Array]]:
        """The shards that hold these rows, each with the places in `rows` and the rows in it.

        rows: (n,) int64; places where a row is -1 are left out.
        """
        starts = np.cumsum([0, *(len(shard) for shard in self.shards)])
        owner = np.searchsorted(starts, rows, side="right") - 1  # -1 for row -1
        groups = []
        for number in np.unique(owner[owner >= 0]):
            selected = np.flatnonzero(owner == number)
            groups.append((self.shards[number], selected, rows[selected] - starts[number]))
        return groups
