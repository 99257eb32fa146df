"""What was computed once is found again, whole, whatever happened to the writer."""

import hashlib
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from postsense.encoders.features import (
    Encoded,
    FeatureColumn,
    FeatureStore,
    content_key,
    statistics,
)
from postsense.errors import EncoderError

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


def test_rows_may_come_from_several_shards_in_any_order(tmp_path: Path) -> None:
    store = open_store(tmp_path, with_tokens=True)
    for name, number, length in (("a", 1, 1), ("b", 2, 2), ("c", 3, 1), ("d", 4, 2)):
        store.append(keys_of(name), items_of(number, lengths=(length,)))

    rows = store.find(keys_of("d", "a", "c", "d", "b"))

    assert store.pooled(rows)[:, 0].tolist() == [4, 1, 3, 4, 2]
    tokens, mask = store.tokens(rows)
    assert tokens[:, 0, 0].tolist() == [4, 1, 3, 4, 2]
    assert mask.sum(axis=1).tolist() == [2, 1, 1, 2, 2]


def test_contents_that_share_their_first_64_bits_are_told_apart(tmp_path: Path) -> None:
    stored = np.array([[7, 1], [7, 3], [7, 2], [8, 1]], dtype=np.uint64)
    store = open_store(tmp_path)
    store.append(stored[:2], items_of(71, 73))
    store.append(stored[2:], items_of(72, 81))

    rows = store.find(np.array([[7, 2], [7, 9], [8, 1], [7, 3], [9, 1], [7, 1]], dtype=np.uint64))

    assert store.pooled(rows)[:, 0].tolist() == [72, 0, 81, 73, 0, 71]


def test_finding_equals_looking_at_every_key(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    stored = np.unique(generator.integers(0, 9, (60, 2)).astype(np.uint64), axis=0)
    stored = generator.permutation(stored)
    wanted = generator.integers(0, 9, (100, 2)).astype(np.uint64)
    store = open_store(tmp_path)
    store.append(stored, items_of(*range(len(stored))))

    place = {tuple(key): number for number, key in enumerate(stored.tolist())}
    expected = [place.get(tuple(key), -1) for key in wanted.tolist()]

    assert store.find(wanted).tolist() == expected


def test_extreme_keys_are_found(tmp_path: Path) -> None:
    stored = np.array([[2**64 - 1, 2**64 - 1], [0, 0], [2**63, 1]], dtype=np.uint64)
    store = open_store(tmp_path)
    store.append(stored, items_of(1, 2, 3))

    assert store.find(stored[::-1]).tolist() == [2, 1, 0]


def test_an_empty_store_finds_nothing_and_cannot_tell_its_width(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    assert store.find(keys_of("a")).tolist() == [-1]
    with pytest.raises(EncoderError, match="at least one encoded post, found an empty feature"):
        store.pooled(np.array([-1]))


def test_a_shard_whose_writer_was_killed_does_not_count(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append(keys_of("a"), items_of(1))
    store.append(keys_of("b"), items_of(2))
    (tmp_path / f"{store.shards[1].name}.keys.npy").unlink()

    reopened = open_store(tmp_path)

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

    open_store(tmp_path, with_tokens=True).append(keys_of("a"), items_of(1, lengths=(2,)))

    assert len(written) == 4
    assert ".keys.npy" in written[-1]


def test_two_writers_may_append_to_one_folder(tmp_path: Path) -> None:
    first, second = open_store(tmp_path), open_store(tmp_path)
    first.append(keys_of("a", "b"), items_of(1, 2))
    second.append(keys_of("b", "c"), items_of(2, 3))

    both = open_store(tmp_path)

    assert first.find(keys_of("c")).tolist() == [-1]
    assert both.pooled(both.find(keys_of("a", "b", "c")))[:, 0].tolist() == [1, 2, 3]


def read_all(folder: Path) -> None:
    store = open_store(folder, with_tokens=True)
    FeatureColumn(store, np.array([0])).batch(np.array([0]))


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        *product(["cut", "emptied"], ["pooled", "tokens", "offsets", "keys"]),
        *product(["removed"], ["pooled", "tokens", "offsets"]),
    ],
)
def test_a_damaged_shard_is_told_with_what_to_do(tmp_path: Path, part: str, damage: str) -> None:
    writer = open_store(tmp_path, with_tokens=True)
    writer.append(keys_of("a"), items_of(1, lengths=(2,)))
    file = tmp_path / f"{writer.shards[0].name}.{part}.npy"
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] if damage == "cut" else b"")

    message = f"^{re.escape(str(file))}: expected a sound shard of kept features, found .*Delete"
    with pytest.raises(EncoderError, match=message):
        read_all(tmp_path)


def test_values_beyond_half_precision_are_cut_not_infinite(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append(keys_of("a"), items_of(-1e6))

    assert store.pooled(np.array([0])).tolist() == [[-65504.0, -65504.0]]


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


def test_a_content_key_is_the_128_bit_hash_in_two_halves() -> None:
    first, second = content_key(b"a lovely day")

    digest = hashlib.blake2b(b"a lovely day", digest_size=16).hexdigest()
    assert f"{first:016x}{second:016x}" == digest


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
