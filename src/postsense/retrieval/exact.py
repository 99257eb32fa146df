"""Exact fused search: every post is scored; a blocked matrix product over the stored vectors."""

import numpy as np

from postsense.arrays import Array
from postsense.progress import Progress, silent
from postsense.retrieval.ranking import (
    Hits,
    QueryVectors,
    VectorSource,
    as_float32,
    check_queries,
    rank,
)

QUERY_BLOCK = 512  # queries a pass over the corpus
POST_BLOCK = 8192  # posts whose vectors are in memory at a time
TOLERANCE = 1e-5  # above what a float32 matrix product may be off; such posts are scored again


class ExactIndex:
    """Search that scores every post of the source."""

    kind = "exact"

    def __init__(self, source: VectorSource, post_block: int = POST_BLOCK) -> None:
        self.source = source
        self.post_block = post_block

    def search(self, image: Array, text: Array, alpha: Array, k: int) -> Hits:
        """The k best posts of each query. Scores: see `Hits`. Raises: CorpusError: bad queries."""
        queries = check_queries(self.source, image, text, alpha)
        found = exact_candidates(self.source, self.source.numbers, queries, k, self.post_block)
        return rank(self.source, queries, found, k)


def exact_candidates(
    source: VectorSource,
    numbers: Array,
    queries: QueryVectors,
    k: int,
    post_block: int = POST_BLOCK,
    progress: Progress = silent,
) -> list[Array]:
    """For each query the numbers of all posts that may be among its k best, ascending.

    The matrix product rounds differently from block to block. Therefore every post within
    TOLERANCE of the k-th best stays, and whoever asks ranks them pair by pair.
    """
    candidates: list[Array] = []
    for start in range(0, len(queries), QUERY_BLOCK):
        block = queries[start : start + QUERY_BLOCK]
        candidates += _candidates(source, numbers, block, k, post_block)
        progress("search exactly", start + len(block), len(queries))
    return candidates


def _candidates(
    source: VectorSource, numbers: Array, queries: QueryVectors, k: int, post_block: int
) -> list[Array]:
    image, text = queries.weighted_image, queries.weighted_text
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)  # k best scores so far
    lowest = np.where(queries.empty, np.inf, -np.inf).astype(np.float32)
    kept: list[tuple[Array, Array, Array]] = []  # rows of queries, numbers, scores
    for start in range(0, len(numbers), post_block):
        of_block = numbers[start : start + post_block]
        post_image, post_text = source.vectors(of_block)
        scores = image @ as_float32(post_image).T
        scores += text @ as_float32(post_text).T  # (Q, block)
        best = _largest(np.concatenate([best, _largest(scores, k)], axis=1), k)
        threshold = np.maximum(lowest, best.min(axis=1) - TOLERANCE)
        rows, columns = np.nonzero(scores >= threshold[:, None])
        kept.append((rows, of_block[columns], scores[rows, columns]))
    return _above(kept, np.maximum(lowest, best.min(axis=1) - TOLERANCE))


def _largest(scores: Array, k: int) -> Array:
    """The k largest of each row, in any order; all of them where there are fewer."""
    if scores.shape[1] <= k:
        return scores
    return np.partition(scores, scores.shape[1] - k, axis=1)[:, -k:]


def _above(kept: list[tuple[Array, Array, Array]], threshold: Array) -> list[Array]:
    """The numbers kept for each query whose score reaches its threshold."""
    if not kept:
        return [np.zeros(0, dtype=np.int64)] * len(threshold)
    rows, numbers, scores = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    reach = scores >= threshold[rows]
    rows, numbers = rows[reach], numbers[reach]
    order = np.lexsort((numbers, rows))
    counts = np.bincount(rows, minlength=len(threshold))
    return np.split(numbers[order], np.cumsum(counts)[:-1])
