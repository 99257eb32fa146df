"""A checksum tells what a value is, whose it is, and nothing about how Arrow has laid it out."""

import numpy as np
import pyarrow as pa
import pytest

from postsense.corpus.checksums import column_sums, numbers_digest, vector_sums

NUMBERS = np.array([3, 4, 9])
VECTORS = pa.list_(pa.list_(pa.float16(), 2))
COLUMNS = {
    "text": pa.array(["a day", None, ""]),
    "row": pa.array([5, None, 7]),
    "text_key": pa.array([b"0123456789abcdef", None, b"fedcba9876543210"], pa.binary(16)),
    "comments": pa.array([["so", "true"], [], ["so true"]]),
    "comment_vectors": pa.array([[[1, 2], [3, 4]], [], [[5, 6]]], VECTORS),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_every_value_has_its_own_wherever_it_stands_in_a_batch(name):
    column = COLUMNS[name]
    whole = column_sums(column, name, NUMBERS, "id")
    alone = [column_sums(column.slice(i, 1), name, NUMBERS[i : i + 1], "id")[0] for i in range(3)]
    assert whole.tolist() == alone and len(set(alone)) == 3


@pytest.mark.parametrize("name", COLUMNS)
def test_another_post_another_column_and_another_corpus_have_others(name):
    sums = column_sums(COLUMNS[name], name, NUMBERS, "id")
    for other in (
        column_sums(COLUMNS[name], name, NUMBERS + 1, "id"),
        column_sums(COLUMNS[name], f"{name}x", NUMBERS, "id"),
        column_sums(COLUMNS[name], name, NUMBERS, "other"),
    ):
        assert (other != sums).all()


def test_a_vector_of_one_changed_bit_has_another():
    vectors = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float16)
    changed = vectors.copy()
    changed.view(np.uint16)[1, 7] ^= 1
    same = vector_sums(vectors, NUMBERS, "id") == vector_sums(changed, NUMBERS, "id")
    assert same.tolist() == [True, False, True]


def test_numbers_are_told_apart_by_value_and_length():
    digests = {numbers_digest(np.array(n, np.int64)) for n in ([], [0], [0, 1], [0, 2], [1])}
    assert len(digests) == 5
    assert numbers_digest(np.arange(9)[::3]) == numbers_digest(np.array([0, 3, 6]))
