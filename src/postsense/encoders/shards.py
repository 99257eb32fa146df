"""Shards of named arrays on disk, found again by the content they were computed from.

A store is a folder of shards. A shard is some .npy files of n items, `<shard>.<part>.npy`, of which
`keys`, (n, 2) uint64, holds the content hashes. `keys` is written last, so a shard without it does
not count and a process killed while writing loses at most that shard. Several processes may append.
`<shard>.sums` has a checksum for each item, which is looked at when the item is asked for.
A store may also hold what is added to it in memory, see `ShardStore.holding`.
"""

import errno
import hashlib
import logging
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from postsense.arrays import Array
from postsense.encoders.checksums import finite_items, item_sums, misfit
from postsense.errors import EncoderError
from postsense.files.atomic import replacing
from postsense.files.mapped import map_array
from postsense.files.regular import UnreadableFileError, read_regular

logger = logging.getLogger(__name__)
_UNKNOWN, _SOUND, _CHANGED = range(3)


def content_key(data: bytes) -> tuple[int, int]:
    """A 128-bit hash of a post's text or of its picture's file, as two 64-bit numbers."""
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


class Sized(Protocol):
    """Anything that knows how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


Item = TypeVar("Item", bound=Sized)


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Write to a folder of what is kept. Raises: EncoderError: the system does not allow it."""
    try:
        yield
    except OSError as error:
        raise EncoderError(
            folder,
            "a folder that features can be kept in",
            error.strerror or str(error),
            "Name another one by --set encoders.cache=FOLDER or the variable POSTSENSE_CACHE.",
        ) from None


class Shard:
    """Named arrays, memory-mapped when first read.

    sums: (n,) uint64, a checksum an item; None: written before there were any, and trusted.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.keys: Array = np.array(self._open("keys"))
        if self.keys.dtype != np.uint64 or self.keys.ndim != 2 or self.keys.shape[1] != 2:
            raise self._damaged("keys", f"{self.keys.dtype} of shape {self.keys.shape}")
        self.sums = self._read_sums()
        self._parts: dict[str, Array] = {}
        self._state = np.zeros(len(self.keys), np.int8)  # of each item, see below

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        """What goes to a process that loads batches, which maps the arrays for itself."""
        return {**vars(self), "_parts": {}}

    def __getitem__(self, part: str) -> Array:
        if part not in self._parts:
            self._parts[part] = self._open(part)
        return self._parts[part]

    def are_sound(self, rows: Array) -> Array:
        """Which items (m,) are as they were written; each is looked at once.

        Raises: EncoderError: none is, since a file of the shard is damaged.
        """
        fresh = np.unique(rows[self._state[rows] == _UNKNOWN])
        if len(fresh):
            sound = self._check(fresh)
            self._state[fresh] = np.where(sound, _SOUND, _CHANGED)
        return np.asarray(self._state[rows] == _SOUND)

    @property
    def is_checked(self) -> bool:
        """Whether an item was found sound."""
        return bool((self._state == _SOUND).any())

    def set_aside(self) -> None:
        """Take the shard out of the store; whoever has it open goes on reading."""
        file = self.folder / f"{self.name}.keys.npy"
        with suppress(OSError):  # a cache that only may be read
            file.rename(file.with_name(f"{file.name}.damaged"))

    def _check(self, rows: Array) -> Array:
        files = self.folder.glob(f"{self.name}.*.npy")
        names = sorted({file.name.split(".")[-2] for file in files} - {"keys"})
        parts = {name: self[name] for name in names}
        problem = misfit(len(self), parts)
        if problem:
            raise self._damaged(*problem)
        if self.sums is None:
            return finite_items(parts, rows)
        found = item_sums(self.folder.name, self.keys, parts, rows)
        return np.asarray(found == self.sums[rows])

    def _read_sums(self) -> Array | None:
        file = self.folder / f"{self.name}.sums"
        if not file.exists():
            return None
        try:
            sums = np.frombuffer(read_regular(file, 8 * len(self.keys)), "<u8")
        except (OSError, ValueError) as error:
            raise self._damaged("sums", str(error)) from None
        if len(sums) != len(self.keys):
            raise self._damaged("sums", f"{len(sums)} for {len(self.keys)} items")
        return sums

    def _open(self, part: str) -> Array:
        try:
            return map_array(self.folder / f"{self.name}.{part}.npy", any_order=True)
        except UnreadableFileError as error:
            raise self._damaged(part, error.found) from None

    def _damaged(self, part: str, found: str) -> EncoderError:
        return EncoderError(
            self.folder / f"{self.name}.{part}.npy",
            "a sound shard of what was kept",
            found,
            "Delete this folder; it is computed again when needed.",
        )


@dataclass(frozen=True)
class HeldShard(Generic[Item]):
    """Named arrays that stay in memory, with the items they were made from.

    keys: (n, 2) uint64, one an item.
    """

    keys: Array
    items: Sequence[Item]
    parts: Mapping[str, Array]

    is_checked = True

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, part: str) -> Array:
        return self.parts[part]

    def are_sound(self, rows: Array) -> Array:
        """Which items (m,) are as they were computed: all of them."""
        return np.ones(len(rows), bool)

    def set_aside(self) -> None:
        """Nothing: it is not on the disk."""


@dataclass(frozen=True)
class KeyIndex:
    """The keys of n items (n, 2) uint64, put in order once and found by many look-ups."""

    stored: Array
    order: Array
    first: Array

    @classmethod
    def of(cls, shards: Sequence["Shard | HeldShard[Any]"]) -> "KeyIndex":
        """The index of the items of some shards, counted through them."""
        nothing = np.zeros((0, 2), dtype=np.uint64)
        stored = np.concatenate([nothing, *(shard.keys for shard in shards)])
        order = np.lexsort((stored[:, 1], stored[:, 0]))
        return cls(stored, order, stored[order, 0])

    def __len__(self) -> int:
        return len(self.stored)

    def candidates(self, keys: Array) -> Iterator[Array]:
        """Items (N,) with the keys, -1 where there is none; again for items that are there twice.

        keys: (N, 2) uint64.
        """
        if not len(self):
            return
        position = np.searchsorted(self.first, keys[:, 0], side="left")
        run_ends = np.searchsorted(self.first, keys[:, 0], side="right")
        for _ in range(
            int((run_ends - position).max(initial=0))
        ):  # 1 unless two contents share their first 64 bits
            candidate = self.order[np.minimum(position, len(self) - 1)]
            yield np.where((self.stored[candidate] == keys).all(axis=1), candidate, -1)
            position = position + 1


class ShardStore(ABC, Generic[Item]):
    """Items of one kind, each under the key of its content. The row of an item counts shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards: list[Shard | HeldShard[Item]] = []
        self._held: list[HeldShard[Item]] | None = None  # None: what is added goes to the disk
        self._index = KeyIndex.of(())  # of the first shards
        self._indexed = 0  # how many those are
        self._told = False
        for file in sorted(folder.glob("*.keys.npy")):
            try:
                self.shards.append(Shard(folder, file.name.removesuffix(".keys.npy")))
            except EncoderError as error:
                self._tell(error)
                with suppress(OSError):
                    file.rename(file.with_name(f"{file.name}.damaged"))

    @abstractmethod
    def parts_of(self, items: Sequence[Item]) -> dict[str, Array]:
        """The arrays of a shard of these items, by name."""

    @abstractmethod
    def compact(self, item: Item) -> Item:
        """The item as it will be stored, in memory of its own."""

    def find(self, keys: Array) -> Array:
        """The row of each key, -1 where the store lacks it. keys: (N, 2) uint64; returns (N,).

        What is damaged counts as lacking, so that it is computed again.
        """
        rows = np.full(len(keys), -1, dtype=np.int64)
        damaged = np.zeros(len(keys), bool)
        for start, index in self._indexes():
            for candidate in index.candidates(keys):
                asked = np.where(candidate >= 0, start + candidate, -1)
                sound = self._are_sound(asked)
                rows, damaged = np.where(sound, asked, rows), damaged | ((asked >= 0) & ~sound)
        if (damaged & (rows < 0)).any():
            self._tell("changed on the disk")
        return rows

    def holding(self, held: list[HeldShard[Item]]) -> Self:
        """The same store, which has what is held too, and adds to it in place of the disk."""
        self._indexes()  # once, rather than in each of those that come from here
        store = copy(self)
        store.shards, store._held = [*self.shards, *held], held
        return store

    def _indexes(self) -> list[tuple[int, KeyIndex]]:
        """An index of the first shards, which is kept, and one of the few added since."""
        rest = KeyIndex.of(self.shards[self._indexed :])
        if len(rest) > len(self._index):
            self._index, self._indexed = KeyIndex.of(self.shards), len(self.shards)
            rest = KeyIndex.of(())
        return [(0, self._index), (len(self._index), rest)]

    def _are_sound(self, rows: Array) -> Array:
        """Which of the items are as they were written; none at row -1."""
        sound = np.zeros(len(rows), bool)
        for shard, selected, local in self.by_shard(rows):
            try:
                sound[selected] = shard.are_sound(local)
            except EncoderError as error:
                self._tell(error)
                shard.set_aside()
        return sound

    def _tell(self, reason: object) -> None:
        if not self._told:
            logger.warning(
                "some of what was kept in %s is damaged and is computed again: %s",
                self.folder,
                reason,
            )
        self._told = True

    def unseen(self, keys: Array, present: Array) -> Array:
        """Positions of one post for each content that the store lacks. Returns (n,) int64.

        keys: (N, 2) uint64; present: (N,) bool, which of the posts count.
        """
        wanted = np.flatnonzero(present & (self.find(keys) < 0))
        _, first = np.unique(keys[wanted], axis=0, return_index=True)
        return wanted[np.sort(first)]

    def append(self, keys: Array, items: Sequence[Item]) -> None:
        """Keep the items as one more shard. keys: (n, 2) uint64, one an item."""
        parts = self.parts_of(items)
        if self._held is None:
            self._write(keys, parts)
        else:
            self._held.append(HeldShard(keys, items, parts))
            self.shards.append(self._held[-1])

    def _write(self, keys: Array, parts: Mapping[str, Array]) -> None:
        """Write one more shard, its keys last."""
        name, every = uuid.uuid4().hex, np.arange(len(keys))
        sums = item_sums(self.folder.name, keys, parts, every)
        with keeping(self.folder), replacing(self.folder / f"{name}.sums") as temporary:
            temporary.write_bytes(sums.astype("<u8").tobytes())
        for part, values in (*parts.items(), ("keys", keys)):
            with keeping(self.folder), replacing(self.folder / f"{name}.{part}.npy") as temporary:
                np.save(temporary, np.ascontiguousarray(values), allow_pickle=False)
        self.shards.append(Shard(self.folder, name))

    def open_for_writing(self) -> None:
        """Find out before the work whether its results can be kept. Raises: EncoderError."""
        if self._held is not None:
            return
        with keeping(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def by_shard(self, rows: Array) -> list[tuple[Shard | HeldShard[Item], Array, Array]]:
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
