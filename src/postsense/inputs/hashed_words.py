"""The words of a post → how often each word, pair of words and part of a word is in it, hashed."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from re import compile as pattern

import numpy as np
import pyarrow as pa
import torch
import xxhash
from torch import Tensor

from postsense.arrays import Array
from postsense.data.lexicon import LONGEST
from postsense.encoders.embeddings import Embeddings
from postsense.inputs.columns import Broken, Preparation
from postsense.inputs.own_words import own_words
from postsense.registry.inputs import INPUTS

PART_LENGTHS = (3, 4, 5)  # characters of a part of a word
_WORDS, _PARTS = 0, 1  # seeds: a word and a part of a word are two things
_WORD = pattern(r"\w\w+")
_LONGEST_KEPT, _KEPT = 32, 32_768  # characters of a word whose parts are kept, and how many words
_CHUNK = 256


@dataclass(frozen=True)
class HashedColumn:
    """Words of N posts, counted batch by batch: nothing is kept but the texts. dim: D."""

    texts: pa.ChunkedArray
    dim: int

    def batch(self, posts: Array) -> Embeddings:
        """Signed counts of the posts at these positions. posts: (B,) int."""
        texts = self.texts.take(pa.array(posts)).to_pylist()
        counts = hashed_counts([text or "" for text in texts], self.dim)
        present = [text is not None for text in texts]
        return Embeddings(torch.from_numpy(counts), torch.tensor(present, dtype=torch.bool))


def hashed_column(name: str, preparation: Preparation) -> tuple[HashedColumn, Broken]:
    """The words of the posts, to be counted."""
    texts = own_words(preparation.posts, preparation.config)
    return HashedColumn(texts, INPUTS[name].width), {}


def frequency_statistics(column: HashedColumn, rows: Array) -> tuple[Tensor, Tensor]:
    """What makes counts TF-IDF: 0, and 1 / idf of each bucket, each (D,).

    Source: as scikit-learn's TfidfTransformer with its defaults, over buckets in place of words.
        idf_j = ln((1 + n) / (1 + n_j)) + 1,   n_j: posts of n in which bucket j is not zero
    Deviations of rare buckets are tiny: divided by those, one rare word would drown all others.
    """
    used, posts = torch.zeros(column.dim), 0
    for start in range(0, len(rows), _CHUNK):
        batch = column.batch(rows[start : start + _CHUNK])
        used += (batch.pooled != 0).sum(dim=0)
        posts += int(batch.present.sum())
    idf = torch.log((1 + posts) / (1 + used)) + 1
    return torch.zeros(column.dim), 1 / idf


def hashed_counts(texts: list[str], dim: int) -> Array:
    """Signed counts (B, dim) float32 of words, pairs of words and parts of words.

    Source: Weinberger et al. 2009, Feature Hashing for Large Scale Multitask Learning, eq. 1.
        x_j = sum over grams g with h(g) = j of s(g),   s(g) in {-1, 1}
    h is the hash of a gram modulo dim, s its highest bit (XXH3, 64 bits, of UTF-8). Grams: words of
    two letters or digits and more, in lower case; two of them in a row with a blank between; 3, 4
    and 5 characters in a row of whatever stands between blanks, with a blank before and behind.
    Of each text the first LONGEST characters count.
    """
    rows, codes = list[int](), list[int]()
    for text in texts:
        found = _codes(text[:LONGEST].lower(), dim)
        rows.append(len(found))
        codes += found
    signed = np.array(codes, dtype=np.int64)
    places = np.repeat(np.arange(len(texts)), rows) * dim + (np.abs(signed) - 1)
    counts = np.zeros(len(texts) * dim, dtype=np.float32)
    np.add.at(counts, places, np.sign(signed).astype(np.float32))
    return counts.reshape(len(texts), dim)


def _codes(text: str, dim: int) -> list[int]:
    """Of each gram its bucket, counted from 1, with its sign."""
    words = _WORD.findall(text)
    grams = [*words, *map(" ".join, pairwise(words))]
    codes = [_code(gram, _WORDS, dim) for gram in grams]
    for word in text.split():
        codes += (_parts if len(word) <= _LONGEST_KEPT else _parts.__wrapped__)(word, dim)
    return codes


@lru_cache(maxsize=_KEPT)
def _parts(word: str, dim: int) -> list[int]:
    word = f" {word} "
    return [
        _code(word[start : start + length], _PARTS, dim)
        for length in PART_LENGTHS
        for start in range(max(len(word) - length + 1, 1))
    ]


def _code(gram: str, seed: int, dim: int) -> int:
    number = xxhash.xxh3_64_intdigest(gram.encode(), seed=seed)
    bucket = 1 + number % dim
    return bucket if number >> 63 else -bucket
