"""What was kept is found again by its content, whole, whatever happened to the writer."""

import hashlib
import re
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense.encoders.shards import ShardStore, content_key
from postsense.errors import EncoderError

Array = np.ndarray[Any, Any]


class Numbers(ShardStore[Array]):
    """Keeps arrays (2,) in two parts."""

    def compact(self, item: Array) -> Array:
        return item.copy()

    def parts_of(self, items: Sequence[Array]) -> dict[str, Array]:
        first, second = np.stack(items, axis=1)
        return {"first": first, "second": second}

    def values(self, rows: Array) -> list[list[float]]:
        """The arrays of these rows, zeros for row -1."""
        out = np.zeros((len(rows), 2))
        for shard, places, local in self.by_shard(rows):
            out[places] = np.stack([shard["first"][local], shard["second"][local]], axis=1)
        listed: list[list[float]] = out.tolist()
        return listed


def keys_of(*names: str) -> Array:
    return np.array([content_key(name.encode()) for name in names], dtype=np.uint64)


def items_of(*numbers: float) -> list[Array]:
    """Arrays (n, 2n)."""
    return [np.array([number, 2 * number]) for number in numbers]


def test_rows_may_come_from_several_shards_in_any_order(tmp_path: Path) -> None:
    store = Numbers(tmp_path)
    for names, numbers in (("ab", (1, 2)), ("c", (3,)), ("de", (4, 5))):
        store.append(keys_of(*names), items_of(*numbers))

    rows = store.find(keys_of("e", "a", "x", "c", "e", "b"))

    assert store.values(rows) == [[5, 10], [1, 2], [0, 0], [3, 6], [5, 10], [2, 4]]


def test_another_process_finds_what_was_kept(tmp_path: Path) -> None:
    Numbers(tmp_path).append(keys_of("a", "b"), items_of(1, 2))
    store = Numbers(tmp_path)

    assert store.values(store.find(keys_of("b", "c"))) == [[2, 4], [0, 0]]


def test_one_post_is_named_for_each_content_that_is_lacking(tmp_path: Path) -> None:
    store = Numbers(tmp_path)
    store.append(keys_of("a"), items_of(1))
    keys = keys_of("c", "a", "b", "c", "d", "b")

    unseen = store.unseen(keys, present=np.array([True, True, True, True, False, True]))

    assert unseen.tolist() == [0, 2]


def test_contents_that_share_their_first_64_bits_are_told_apart(tmp_path: Path) -> None:
    stored = np.array([[7, 1], [7, 3], [7, 2], [8, 1]], dtype=np.uint64)
    store = Numbers(tmp_path)
    store.append(stored[:2], items_of(71, 73))
    store.append(stored[2:], items_of(72, 81))

    rows = store.find(np.array([[7, 2], [7, 9], [8, 1], [7, 3], [9, 1], [7, 1]], dtype=np.uint64))

    assert [first for first, _ in store.values(rows)] == [72, 0, 81, 73, 0, 71]


def test_finding_equals_looking_at_every_key(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    stored = np.unique(generator.integers(0, 9, (60, 2)).astype(np.uint64), axis=0)
    stored = generator.permutation(stored)
    wanted = generator.integers(0, 9, (100, 2)).astype(np.uint64)
    store = Numbers(tmp_path)
    store.append(stored, items_of(*range(len(stored))))

    place = {tuple(key): number for number, key in enumerate(stored.tolist())}
    expected = [place.get(tuple(key), -1) for key in wanted.tolist()]

    assert store.find(wanted).tolist() == expected


def test_extreme_keys_are_found(tmp_path: Path) -> None:
    stored = np.array([[2**64 - 1, 2**64 - 1], [0, 0], [2**63, 1]], dtype=np.uint64)
    store = Numbers(tmp_path)
    store.append(stored, items_of(1, 2, 3))

    assert store.find(stored[::-1]).tolist() == [2, 1, 0]


def test_a_shard_whose_writer_was_killed_does_not_count(tmp_path: Path) -> None:
    store = Numbers(tmp_path)
    store.append(keys_of("a"), items_of(1))
    store.append(keys_of("b"), items_of(2))
    (tmp_path / f"{store.shards[1].name}.keys.npy").unlink()

    reopened = Numbers(tmp_path)

    assert (reopened.find(keys_of("a", "b")) >= 0).tolist() == [True, False]


def test_the_keys_of_a_shard_are_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, save = list[str](), np.save
    monkeypatch.setattr(
        np,
        "save",
        lambda file, *rest, **more: (written.append(file.name), save(file, *rest, **more)),
    )

    Numbers(tmp_path).append(keys_of("a"), items_of(1))

    assert len(written) == 3
    assert ".keys.npy" in written[-1]


def test_two_writers_may_append_to_one_folder(tmp_path: Path) -> None:
    first, second = Numbers(tmp_path), Numbers(tmp_path)
    first.append(keys_of("a", "b"), items_of(1, 2))
    second.append(keys_of("b", "c"), items_of(2, 3))

    both = Numbers(tmp_path)

    assert first.find(keys_of("c")).tolist() == [-1]
    assert both.values(both.find(keys_of("a", "b", "c"))) == [[1, 2], [2, 4], [3, 6]]


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        *product(["cut", "emptied"], ["first", "second"]),
        *product(["removed"], ["first", "second"]),
    ],
)
def test_a_damaged_shard_is_told_with_what_to_do(tmp_path: Path, part: str, damage: str) -> None:
    writer = Numbers(tmp_path)
    writer.append(keys_of("a"), items_of(1))
    file = tmp_path / f"{writer.shards[0].name}.{part}.npy"
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] if damage == "cut" else b"")

    message = f"^{re.escape(str(file))}: expected a sound shard of what was kept, found .*Delete"
    with pytest.raises(EncoderError, match=message):
        Numbers(tmp_path).values(np.array([0]))


def test_a_content_key_is_the_128_bit_hash_in_two_halves() -> None:
    first, second = content_key(b"a lovely day")

    digest = hashlib.blake2b(b"a lovely day", digest_size=16).hexdigest()
    assert f"{first:016x}{second:016x}" == digest


def reopened(folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[Numbers, list[int]]:
    """The store, once what it lacks of a, b and c is put in again; and which it lacked."""
    store, keys = Numbers(folder), keys_of("a", "b", "c")
    lacking = store.unseen(keys, np.ones(3, bool))
    if len(lacking):
        store.append(keys[lacking], [items_of(1, 2, 3)[place] for place in lacking])
    assert len(caplog.records) == (1 if len(lacking) else 0)
    return store, lacking.tolist()


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("part", "place", "lost"),
    [
        ("first.npy", -8, [2]),  # a number of the last item
        ("second.npy", -16, [1]),
        ("sums", 0, [0]),
        ("first.npy", 9, [0, 1, 2]),  # the header
        ("keys.npy", 8, [0, 1, 2]),
    ],
)
def test_what_changed_on_the_disk_is_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, place: int, lost: list[int]
) -> None:
    Numbers(tmp_path).append(keys_of("a", "b", "c"), items_of(1, 2, 3))
    (file,) = tmp_path.glob(f"*.{part}")
    flip(file, place)

    store, lacking = reopened(tmp_path, caplog)

    assert lacking == lost
    assert store.values(store.find(keys_of("a", "b", "c"))) == [[1, 2], [2, 4], [3, 6]]
    caplog.clear()
    assert reopened(tmp_path, caplog)[1] == []


def test_items_that_changed_places_are_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Numbers(tmp_path).append(keys_of("a", "b", "c"), items_of(1, 2, 3))
    for part in ("first", "second"):
        (file,) = tmp_path.glob(f"*.{part}.npy")
        np.save(file, np.load(file)[[1, 0, 2]])

    assert reopened(tmp_path, caplog)[1] == [0, 1]


def test_a_shard_of_another_store_does_not_count(tmp_path: Path) -> None:
    Numbers(tmp_path / "other").append(keys_of("a"), items_of(9))
    shutil.copytree(tmp_path / "other", tmp_path / "own")

    assert Numbers(tmp_path / "own").find(keys_of("a")).tolist() == [-1]


def test_a_shard_of_a_time_without_checksums_is_read_unless_it_is_not_finite(
    tmp_path: Path,
) -> None:
    Numbers(tmp_path).append(keys_of("a", "b"), [np.array([1.0, 2]), np.array([3.0, np.nan])])
    next(tmp_path.glob("*.sums")).unlink()

    assert Numbers(tmp_path).find(keys_of("a", "b")).tolist() == [0, -1]
