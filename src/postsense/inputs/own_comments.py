"""A post's own comments → the columns of two blocks: their mean vector, and their hashed words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from postsense.arrays import Array
from postsense.data.duplicates import clean_text
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.features import FeatureColumn, statistics
from postsense.inputs.batches import InputColumn
from postsense.inputs.columns import Broken, Preparation, text_input
from postsense.posts import Posts, posts_of_texts
from postsense.registry.inputs import INPUTS

_NEVER_SEEN = 1e9  # deviation of a word that is in no post of train
_BLOCK = 4096  # posts whose comments' vectors are in memory at a time


@dataclass(frozen=True)
class VectorColumn:
    """A vector of some of N posts. vectors: (M, D) float16; rows: (N,) int64, -1 where none."""

    vectors: Array
    rows: Array

    def batch(self, posts: Array) -> Embeddings:
        """The vectors of the posts at these positions, zero where there is none. posts: (B,)."""
        rows = self.rows[posts]
        pooled = np.zeros((len(rows), self.vectors.shape[1]), dtype=np.float32)
        pooled[rows >= 0] = self.vectors[rows[rows >= 0]]
        return Embeddings(torch.from_numpy(pooled), torch.from_numpy(rows >= 0))


@dataclass(frozen=True)
class SparseColumn:
    """Vectors (N, D) of which few numbers are not zero; a post without any lacks the input.

    offsets: (N + 1,) int64 into places, int32, and values, float32. width: D.
    """

    offsets: Array
    places: Array
    values: Array
    width: int

    def batch(self, posts: Array) -> Embeddings:
        """The vectors of the posts at these positions. posts: (B,)."""
        pooled = np.zeros((len(posts), self.width), dtype=np.float32)
        starts, ends = self.offsets[posts], self.offsets[posts + 1]
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            pooled[row, self.places[start:end]] = self.values[start:end]
        return Embeddings(torch.from_numpy(pooled), torch.from_numpy(ends > starts))


def vector_column(name: str, preparation: Preparation) -> tuple[InputColumn, Broken]:
    """The mean of the vectors of a post's first comments; each text is encoded once."""
    comments = _first(preparation.posts, preparation.config.comments.most)
    places: dict[str, int] = {}
    rows = [[places.setdefault(text, len(places)) for text in texts] for texts in comments]
    texts = posts_of_texts([*places], "comments")
    column = text_input(preparation, texts, with_tokens=False)
    assert isinstance(column, FeatureColumn)  # blocks are read beside frozen encoders only
    return mean_vectors(column, rows), {}


def mean_vectors(column: FeatureColumn, rows: Sequence[Sequence[int]]) -> VectorColumn:
    """The mean over the texts of each post. rows: (N,) positions of a post's texts in the column.

    Texts without a vector, such as one of signs that nobody can read, do not count.
    """
    readable = [[row for row in texts if column.rows[row] >= 0] for texts in rows]
    given = [texts for texts in readable if texts]
    parts = [np.zeros((0, column.store.dim), dtype=np.float16)]
    for start in range(0, len(given), _BLOCK):
        block = given[start : start + _BLOCK]
        flat = np.array([row for texts in block for row in texts])
        sizes = np.array([len(texts) for texts in block])
        sums = np.add.reduceat(
            column.store.pooled(column.rows[flat]), np.cumsum(sizes) - sizes, axis=0
        )
        parts.append((sums / sizes[:, None]).astype(np.float16))
    has = np.array([bool(texts) for texts in readable], dtype=bool)
    return VectorColumn(np.concatenate(parts), np.where(has, np.cumsum(has) - 1, -1))


def vector_statistics(column: VectorColumn, rows: Array) -> tuple[Tensor, Tensor]:
    """Mean and deviation, each (D,), over those of the posts that have comments."""
    vectors = column.batch(rows)
    if not vectors.present.any():  # all is borrowed
        return torch.zeros(vectors.pooled.shape[1]), torch.ones(vectors.pooled.shape[1])
    return statistics(vectors.pooled[vectors.present])


def word_column(name: str, preparation: Preparation) -> tuple[InputColumn, Broken]:
    """Words and pairs of words of a post's first comments, hashed into a vector."""
    width = INPUTS[name].width
    assert width is not None
    places, values = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.float32)]
    offsets = [0]
    for texts in _first(preparation.posts, preparation.config.comments.most):
        vector = hashed_words(texts, width)
        places.append(np.fromiter(vector, np.int32))
        values.append(np.fromiter(vector.values(), np.float32))
        offsets.append(offsets[-1] + len(vector))
    found = SparseColumn(np.array(offsets), np.concatenate(places), np.concatenate(values), width)
    return found, {}


def hashed_words(texts: Sequence[str], width: int) -> dict[int, float]:
    """How often words, and pairs of words side by side, are in the texts, as one vector.

    Source: Weinberger et al. 2009, Feature Hashing for Large Scale Multitask Learning.
        v_j = sum_{words w of hash j} log(1 + count_w)
    Deviation: no random signs, since what is read is scaled with its mean and deviation over the
        posts of train, and a word keeps the sense of its weight.

    width: places of the vector. Returns: what is not zero, by place in ascending order.
    """
    counts = Counter[str]()
    for text in texts:
        words = clean_text(text).split()
        counts.update(words)
        counts.update(f"{first} {second}" for first, second in pairwise(words))
    vector: dict[int, float] = {}
    for word, count in sorted(counts.items()):
        place = crc32(word.encode()) % width
        vector[place] = vector.get(place, 0.0) + float(np.log1p(count))
    return {place: vector[place] for place in sorted(vector)}


def word_statistics(column: SparseColumn, rows: Array) -> tuple[Tensor, Tensor]:
    """Mean (D,) over the posts that have comments, and a deviation (D,), one for all known words.

    Source: ours. A word of one post in a thousand hardly varies; divided by its own deviation it
    would be worth a hundred others. Words that no post has, of which nothing can be learned, are
    divided until nothing is left of them.
    """
    vectors = column.batch(rows)
    counts = vectors.pooled[vectors.present]
    if not len(counts):
        return torch.zeros(column.width), torch.full((column.width,), _NEVER_SEEN)
    variance = counts.var(dim=0, correction=0)
    common = variance.mean().sqrt()
    return counts.mean(dim=0), torch.where(variance > 0, common, _NEVER_SEEN)


def _first(posts: Posts, most: int) -> list[list[str]]:
    return [(texts or [])[:most] for texts in posts.column("comments")]
