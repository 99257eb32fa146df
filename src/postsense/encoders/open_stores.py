"""Stores that stay open from one call to the next, so that a handful of posts costs no file."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from postsense.encoders.shards import HeldShard, ShardStore
from postsense.errors import EncoderError

logger = logging.getLogger(__name__)
FEW = 64  # posts of a call; what more of them give is worth a shard of its own
MOST_HELD = 512  # items
MOST_BYTES = 32 * 2**20
Store = TypeVar("Store", bound=ShardStore[Any])


class OpenStores:
    """The stores of many calls, each read as it was when it was opened.

    What the texts or pictures of up to FEW posts give is held in memory until there is enough for
    a shard on disk, and found there by later calls. More posts go to the disk at once, as if
    nothing were open. One call at a time.
    """

    def __init__(self) -> None:
        self._stores: dict[Path, ShardStore[Any]] = {}
        self._held: dict[Path, list[HeldShard[Any]]] = {}

    def of(self, folder: Path, opened: Callable[[Path], Store], posts: int) -> Store:
        """The store of a folder for a call with so many posts.

        opened: opens it; the same for a folder each time.
        """
        if posts > FEW:
            self._write(folder)
            self._stores.pop(folder, None)  # what is written now is found the next time
            return opened(folder)
        if folder not in self._stores:
            self._stores[folder] = opened(folder)
        if self._is_enough(folder):
            self._write(folder)
        store: Any = self._stores[folder]
        return store.holding(self._held.setdefault(folder, []))  # type: ignore[no-any-return]

    def close(self) -> None:
        """Write what is held and let go of all stores, which the next call opens again."""
        for folder in list(self._held):
            self._write(folder)
        self._stores.clear()

    def _is_enough(self, folder: Path) -> bool:
        held = self._held.get(folder, [])
        items = [item for shard in held for item in shard.items]
        return len(items) >= MOST_HELD or sum(item.nbytes for item in items) >= MOST_BYTES

    def _write(self, folder: Path) -> None:
        """Write what is held as one shard; where that fails it is computed again when needed."""
        held = self._held.pop(folder, [])
        if not held:
            return
        store = self._stores[folder]
        try:
            store.open_for_writing()
            keys = np.concatenate([shard.keys for shard in held])
            store.append(keys, [item for shard in held for item in shard.items])
        except EncoderError as error:
            logger.warning("what was computed is not kept: %s", error)
