"""What frozen encoders computed is kept in half precision and comes back padded and masked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from postsense.encoders.features import Encoded, FeatureColumn, FeatureStore, statistics
from postsense.encoders.shards import content_key
from postsense.errors import DiskFullError, EncoderError

Array = np.ndarray[Any, Any]


def keys_of(*names: str) -> Array:
    return np.array([content_key(name.encode()) for name in names], dtype=np.uint64)


def items_of(*numbers: float, lengths: tuple[int, ...] | None = None) -> list[Encoded]:
    """Vectors (n, 2n); and, given lengths, as many tokens that count on from the number."""
    pooled = [np.array([number, 2 * number], dtype=np.float32) for number in numbers]
    if lengths is None:
        return [Encoded(vector) for vector in pooled]
    tokens = [
        (number + np.arange(3 * length, dtype=np.float32)).reshape(length, 3)
        for number, length in zip(numbers, lengths, strict=True)
    ]
    return [Encoded(vector, token) for vector, token in zip(pooled, tokens, strict=True)]


def open_store(folder: Path, *, with_tokens: bool = False) -> FeatureStore:
    return FeatureStore(folder, with_tokens=with_tokens)


def test_a_store_on_a_full_disk_goes_on_when_there_is_room(
    small_disk: Callable[[int], Path],
) -> None:
    folder, many = small_disk(100) / "features", [np.zeros(40_000, dtype=np.float32)] * 2
    with pytest.raises(DiskFullError, match="expected room on the disk for it"):
        open_store(folder).append(keys_of("a", "b"), [Encoded(vector) for vector in many])
    assert open_store(folder).find(keys_of("a")).tolist() == [-1]
    small_disk(1000)
    open_store(folder).append(keys_of("a", "b"), [Encoded(vector + 1) for vector in many])
    assert (open_store(folder).pooled(np.array([0, 1])) == 1).all()


def test_two_that_encode_the_same_posts_at_once_both_find_them(tmp_path: Path) -> None:
    first, second = open_store(tmp_path), open_store(tmp_path)
    for store in (first, second):
        store.append(keys_of("a", "b"), items_of(1, 2))
    for store in (first, second, open_store(tmp_path)):
        assert store.pooled(store.find(keys_of("b", "a"))).tolist() == [[2, 4], [1, 2]]


def test_vectors_are_found_again_by_content(tmp_path: Path) -> None:
    open_store(tmp_path).append(keys_of("a", "b", "c"), items_of(1, 2, 3))
    store = open_store(tmp_path)

    rows = store.find(keys_of("c", "x", "a"))

    assert rows.tolist()[1] == -1
    assert store.pooled(rows).tolist() == [[3, 6], [0, 0], [1, 2]]


def test_tokens_come_back_padded_and_masked(tmp_path: Path) -> None:
    items = items_of(1, 2, 3, lengths=(2, 1, 3))
    open_store(tmp_path, with_tokens=True).append(keys_of("a", "b", "c"), items)
    store = open_store(tmp_path, with_tokens=True)

    tokens, mask = store.tokens(store.find(keys_of("b", "x", "a")))

    assert mask.tolist() == [[True, False], [False, False], [True, True]]
    assert tokens[0].tolist() == [[2, 3, 4], [0, 0, 0]]
    assert not tokens[1].any()
    assert tokens[2].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_store_tells_how_many_tokens_each_row_has(tmp_path: Path) -> None:
    store = open_store(tmp_path, with_tokens=True)
    for name, length in (("a", 2), ("b", 1), ("c", 3)):
        store.append(keys_of(name), items_of(1, lengths=(length,)))

    assert store.lengths(store.find(keys_of("c", "x", "a", "b"))).tolist() == [3, 0, 2, 1]


def test_rows_may_come_from_several_shards_in_any_order(tmp_path: Path) -> None:
    store = open_store(tmp_path, with_tokens=True)
    for name, number, length in (("a", 1, 1), ("b", 2, 2), ("c", 3, 1), ("d", 4, 2)):
        store.append(keys_of(name), items_of(number, lengths=(length,)))

    rows = store.find(keys_of("d", "a", "c", "d", "b"))

    assert store.pooled(rows)[:, 0].tolist() == [4, 1, 3, 4, 2]
    tokens, mask = store.tokens(rows)
    assert tokens[:, 0, 0].tolist() == [4, 1, 3, 4, 2]
    assert mask.sum(axis=1).tolist() == [2, 1, 1, 2, 2]


def test_an_empty_store_finds_nothing_and_cannot_tell_its_width(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    assert store.find(keys_of("a")).tolist() == [-1]
    with pytest.raises(EncoderError, match="at least one encoded post, found an empty feature"):
        store.pooled(np.array([-1]))


def test_values_beyond_half_precision_are_cut_not_infinite(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append(keys_of("a"), items_of(-1e6))

    assert store.pooled(np.array([0])).tolist() == [[-65504.0, -65504.0]]


def test_an_item_is_compact_in_half_precision_without_what_is_not_kept(tmp_path: Path) -> None:
    (item,) = items_of(3, lengths=(2,))

    both = open_store(tmp_path, with_tokens=True).compact(item)
    alone = open_store(tmp_path).compact(item)

    assert both.tokens is not None and alone.tokens is None
    assert both.pooled.tolist() == alone.pooled.tolist() == [3, 6]
    assert both.tokens.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert (both.nbytes, alone.nbytes) == (2 * (2 + 6), 2 * 2)


def test_shards_on_disk_are_four_files_of_known_form(tmp_path: Path) -> None:
    """Features that earlier versions kept are read."""
    parts = {
        "pooled": np.array([[1, 2], [3, 4]], np.float16),
        "tokens": np.array([[5], [6], [7]], np.float16),
        "offsets": np.array([0, 1, 3]),
        "keys": keys_of("a", "b"),
    }
    for part, values in parts.items():
        np.save(tmp_path / f"0123abcd.{part}.npy", values)
    store = open_store(tmp_path, with_tokens=True)

    rows = store.find(keys_of("b"))

    assert store.pooled(rows).tolist() == [[3, 4]]
    assert store.tokens(rows)[0].tolist() == [[[6], [7]]]


def test_a_column_marks_the_posts_that_lack_the_modality(tmp_path: Path) -> None:
    store = open_store(tmp_path, with_tokens=True)
    store.append(keys_of("a", "b"), items_of(1, 2, lengths=(1, 2)))
    column = FeatureColumn(store, np.array([1, -1, 0]))

    batch = column.batch(np.array([2, 1]))

    assert batch.present.tolist() == [True, False]
    assert batch.pooled.tolist() == [[1, 2], [0, 0]]
    assert batch.mask is not None and batch.tokens is not None
    assert batch.mask.tolist() == [[True], [False]]
    assert batch.tokens.tolist() == [[[1, 2, 3]], [[0, 0, 0]]]


def test_a_column_of_some_posts_keeps_their_features(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append(keys_of("a", "b"), items_of(1, 2))
    column = FeatureColumn(store, np.array([1, -1, 0]))

    taken = column.take(np.array([2, 0, 0]))

    assert taken.batch(np.arange(3)).pooled[:, 0].tolist() == [1, 2, 2]


def test_deviations_are_drawn_halfway_to_their_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, (20, 3)).astype(np.float32)
    values[:, 1] = 4.0

    mean, deviation = statistics(torch.from_numpy(values))

    assert mean.numpy() == pytest.approx(values.mean(axis=0), rel=1e-5)
    std = [float(np.std(column)) for column in values.T]
    middle = sum(std) / 3
    expected = [((one**2 + middle**2) / 2) ** 0.5 for one in std]
    assert deviation.tolist() == pytest.approx(expected, rel=1e-5)
    assert deviation[1] > 0.5  # a feature that hardly varies in train is not blown up in test


def test_features_that_do_not_vary_at_all_are_left_at_their_scale() -> None:
    assert statistics(torch.full((4, 3), 2.0))[1].tolist() == [1.0, 1.0, 1.0]
