"""Words, pairs of words and parts of words are counted in buckets, and weighed by their rarity."""

import math
import re

import numpy as np
import pyarrow as pa
import pytest
import torch
import xxhash

from postsense.inputs.hashed_words import HashedColumn, frequency_statistics, hashed_counts

TEXTS = ["A good day, a GOOD day!", "größe 😀 x", "a", "the " + "ab" * 40]


def naive_counts(text: str, dim: int) -> np.ndarray:
    """Weinberger et al. 2009, eq. 1, a gram at a time."""
    text, counts = text.lower(), np.zeros(dim)
    words = re.findall(r"\w\w+", text)
    grams = [(word, 0) for word in words]
    grams += [(f"{words[i]} {words[i + 1]}", 0) for i in range(len(words) - 1)]
    for word in text.split():
        padded = f" {word} "
        for length in (3, 4, 5):
            parts = [padded[i : i + length] for i in range(len(padded) - length + 1)]
            grams += [(part, 1) for part in parts or [padded]]
    for gram, seed in grams:
        number = xxhash.xxh3_64(gram.encode(), seed=seed).intdigest()
        counts[number % dim] += 1 if number >= 2**63 else -1
    return counts


@pytest.mark.parametrize("dim", [5, 8192])
def test_counts_equal_those_of_one_gram_at_a_time(dim: int) -> None:
    expected = np.stack([naive_counts(text, dim) for text in TEXTS])
    np.testing.assert_array_equal(hashed_counts(TEXTS, dim), expected)


def test_a_gram_has_the_bucket_that_it_has_everywhere() -> None:
    """Written down: saved models depend on it."""
    counts = hashed_counts(["ab"], 8192)[0]
    assert {int(bucket): int(counts[bucket]) for bucket in np.flatnonzero(counts)} == {
        467: -2,
        685: -1,
        2510: -1,
        4956: 1,
    }


def test_a_post_is_counted_alike_in_any_batch() -> None:
    column = HashedColumn(pa.chunked_array([TEXTS[:1], [None, *TEXTS[1:]]]), 64)
    together = column.batch(np.array([4, 0, 1]))
    for place, post in enumerate((4, 0, 1)):
        alone = column.batch(np.array([post]))
        assert torch.equal(alone.pooled[0], together.pooled[place])
    assert together.present.tolist() == [True, True, False] and not together.pooled[2].any()


def test_rare_buckets_weigh_more() -> None:
    texts = ["good day", "good night", None, "bad night"]
    column = HashedColumn(pa.chunked_array([texts]), 4096)
    mean, deviation = frequency_statistics(column, np.array([0, 1, 2]))
    used = (hashed_counts(["good day", "good night"], 4096) != 0).sum(axis=0)
    expected = [math.log(3 / (1 + posts)) + 1 for posts in used]
    np.testing.assert_allclose(1 / deviation.numpy(), expected, rtol=1e-6)
    assert not mean.any() and len(set(used)) == 3


def test_the_first_characters_of_a_long_text_count() -> None:
    start = "word " * 400
    assert (hashed_counts([start + "x y" * 9999], 99) == hashed_counts([start], 99)).all()
    assert not hashed_counts(["", " \n"], 99).any() and hashed_counts([], 99).shape == (0, 99)
