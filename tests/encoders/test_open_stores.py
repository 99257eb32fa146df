"""Stores that stay open: few items wait in memory, many go to the disk, all are found again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense.encoders import open_stores
from postsense.encoders.open_stores import FEW, OpenStores
from postsense.encoders.shards import ShardStore, content_key

Array = np.ndarray[Any, Any]


class Numbers(ShardStore[Array]):
    """Keeps arrays (1,)."""

    def compact(self, item: Array) -> Array:
        return item.copy()

    def parts_of(self, items: Sequence[Array]) -> dict[str, Array]:
        return {"value": np.stack(items)}

    def values(self, keys: Array) -> list[float]:
        """What is kept under these keys, NaN where there is nothing."""
        out, rows = np.full(len(keys), np.nan), self.find(keys)
        for shard, places, local in self.by_shard(rows):
            out[places] = shard["value"][local, 0]
        listed: list[float] = out.tolist()
        return listed


def keys_of(*numbers: float) -> Array:
    return np.array([content_key(str(number).encode()) for number in numbers], dtype=np.uint64)


def keep(store: Numbers, *numbers: float) -> None:
    store.open_for_writing()
    store.append(keys_of(*numbers), [np.array([number]) for number in numbers])


def on_disk(folder: Path) -> int:
    return len(list(folder.glob("*.keys.npy")))


def test_what_few_posts_give_is_found_by_the_next_call_and_is_on_no_disk(tmp_path: Path) -> None:
    stores = OpenStores()
    keep(stores.of(tmp_path, Numbers, 2), 1.0, 2.0)
    keep(stores.of(tmp_path, Numbers, 1), 3.0)
    assert stores.of(tmp_path, Numbers, 1).values(keys_of(3.0, 1.0, 2.0)) == [3.0, 1.0, 2.0]
    assert on_disk(tmp_path) == 0


def test_what_is_on_the_disk_is_found_beside_what_is_held(tmp_path: Path) -> None:
    keep(Numbers(tmp_path), 1.0, 2.0, 4.0)
    stores = OpenStores()
    keep(stores.of(tmp_path, Numbers, 1), 3.0)
    assert stores.of(tmp_path, Numbers, 1).values(keys_of(4.0, 3.0)) == [4.0, 3.0]
    assert np.isnan(stores.of(tmp_path, Numbers, 1).values(keys_of(9.0)))


def test_what_is_held_is_written_as_one_shard_when_the_stores_close(tmp_path: Path) -> None:
    stores = OpenStores()
    for number in (1.0, 2.0, 3.0):
        keep(stores.of(tmp_path, Numbers, 1), number)
    stores.close()
    assert on_disk(tmp_path) == 1
    assert Numbers(tmp_path).values(keys_of(1.0, 2.0, 3.0)) == [1.0, 2.0, 3.0]
    stores.close()
    assert on_disk(tmp_path) == 1


def test_what_is_held_is_written_once_it_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_stores, "MOST_HELD", 2)
    stores = OpenStores()
    for number in (1.0, 2.0, 3.0):
        keep(stores.of(tmp_path, Numbers, 1), number)
    assert on_disk(tmp_path) == 1
    assert stores.of(tmp_path, Numbers, 1).values(keys_of(1.0, 2.0, 3.0)) == [1.0, 2.0, 3.0]


def test_many_posts_go_to_the_disk_and_find_what_was_held(tmp_path: Path) -> None:
    stores = OpenStores()
    keep(stores.of(tmp_path, Numbers, 1), 1.0)
    many = stores.of(tmp_path, Numbers, FEW + 1)
    assert many.values(keys_of(1.0)) == [1.0]
    keep(many, 2.0)
    assert on_disk(tmp_path) == 2
    assert stores.of(tmp_path, Numbers, 1).values(keys_of(2.0, 1.0)) == [2.0, 1.0]


def test_a_store_that_a_call_has_stays_whole_while_others_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_stores, "MOST_HELD", 1)
    stores = OpenStores()
    first = stores.of(tmp_path, Numbers, 1)
    keep(first, 1.0)
    keep(stores.of(tmp_path, Numbers, 1), 2.0)
    assert first.values(keys_of(1.0)) == [1.0]


def test_what_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    stores = OpenStores()
    keep(stores.of(tmp_path / "file" / "store", Numbers, 1), 1.0)
    stores.close()
    assert "what was computed is not kept" in caplog.text
