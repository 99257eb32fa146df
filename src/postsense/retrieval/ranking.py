"""Query vectors and candidate posts → the best posts, scored exactly.

A score is computed pair by pair, so it never depends on which other queries or candidates are at
hand, on their order, or on the number of threads.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from postsense.arrays import Array
from postsense.errors import CorpusError
from postsense.parallel.processes import available_cores

RANKED_AT_ONCE = 16  # queries a thread ranks in turn; one's vectors fit a core's cache
CONVERTED_AT_ONCE = 32_000  # numbers; for 32,768 and more torch would start threads


class VectorSource(Protocol):
    """Posts' vectors by number; a corpus is one. Read from several threads at a time."""

    @property
    def image_dim(self) -> int: ...
    @property
    def text_dim(self) -> int: ...
    @property
    def numbers(self) -> Array:
        """(n,) int64, ascending: the posts there are."""
        ...

    def vectors(self, numbers: Array, /) -> tuple[Array, Array]:
        """(m, Di) and (m, Dt) float16, unit or zero, in the order asked."""
        ...


@dataclass(frozen=True)
class Hits:
    """The best posts of each query.

    numbers: (Q, k) int64, -1 where there are fewer than k.
    scores: (Q, k) float32, descending; -inf where the number is -1.
    """

    numbers: Array
    scores: Array


@dataclass(frozen=True)
class QueryVectors:
    """Checked queries; `check_queries` makes them.

    image, text: (Q, Di) and (Q, Dt) float32, unit or zero.
    alpha: (Q,) float32 in [0, 1], 0 without picture, 1 without text.
    """

    image: Array
    text: Array
    alpha: Array

    def __len__(self) -> int:
        return len(self.alpha)

    def __getitem__(self, rows: slice | Array) -> "QueryVectors":
        return QueryVectors(self.image[rows], self.text[rows], self.alpha[rows])

    @property
    def weighted_image(self) -> Array:
        """(Q, Di) float32: alpha times the image vectors."""
        return np.asarray(self.image * self.alpha[:, None])

    @property
    def weighted_text(self) -> Array:
        """(Q, Dt) float32: 1 - alpha times the text vectors."""
        return np.asarray(self.text * (1 - self.alpha)[:, None])

    @property
    def empty(self) -> Array:
        """(Q,) bool: neither picture nor text; such a query has no hits."""
        return np.asarray(~(self.image.any(axis=1) | self.text.any(axis=1)))


def check_queries(source: VectorSource, image: Array, text: Array, alpha: Array) -> QueryVectors:
    """Query vectors fit for searching; a missing modality decides alpha.

    Args:
        image, text: (Q, Di) and (Q, Dt) float, unit; zero where the query lacks the modality.
        alpha: (Q,) weight of the picture in [0, 1].
    Raises: CorpusError: wrong shapes, NaN or infinity, alpha out of range.
    """
    image, text = np.asarray(image, dtype=np.float32), np.asarray(text, dtype=np.float32)
    alpha = np.asarray(alpha, dtype=np.float32)
    shapes = [(len(alpha), source.image_dim), (len(alpha), source.text_dim), (len(alpha),)]
    found = [image.shape, text.shape, alpha.shape]
    if found != shapes:
        fix = "Encode queries with the encoders of the corpus."
        raise CorpusError("queries", f"image, text, alpha of shapes {shapes}", f"{found}", fix)
    fix = "Give such a query zeros for the modality it lacks."
    for name, values in (("image", image), ("text", text), ("alpha", alpha[:, None])):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise CorpusError(f"query {bad[0]}", f"finite {name} values", "NaN or infinity", fix)
    if len(alpha) and not 0 <= alpha.min() <= alpha.max() <= 1:
        found_range = f"{alpha.min():g} to {alpha.max():g}"
        raise CorpusError("queries", "alpha from 0 to 1", found_range, "Set retrieval.alpha.")
    alpha = np.where(text.any(axis=1), np.where(image.any(axis=1), alpha, 0), 1)
    return QueryVectors(image, text, alpha.astype(np.float32))


def rank(
    source: VectorSource,
    queries: QueryVectors,
    candidates: Sequence[Array],
    k: int,
    threads: int | None = None,
) -> Hits:
    """The k best of each query's candidates, ties to the lower number.

    candidates: for each query the numbers of different posts, in any order.
    """
    hits = Hits(
        np.full((len(queries), k), -1, dtype=np.int64),
        np.full((len(queries), k), -np.inf, dtype=np.float32),
    )

    def rank_rows(rows: range) -> None:
        for row in rows:
            numbers = candidates[row]
            scores = _scores(*source.vectors(numbers), queries, row)
            best = np.lexsort((numbers, -scores))[:k]
            hits.numbers[row, : len(best)] = numbers[best]
            hits.scores[row, : len(best)] = scores[best]

    rows = range(len(queries))
    with ThreadPoolExecutor(threads or available_cores()) as workers:
        list(workers.map(rank_rows, [rows[i : i + RANKED_AT_ONCE] for i in rows[::RANKED_AT_ONCE]]))
    return hits


def _scores(image: Array, text: Array, queries: QueryVectors, row: int) -> Array:
    """Fused scores (m,) float32; the same for a pair of query and post wherever it stands."""
    weight = float(queries.alpha[row])
    scores = weight * np.vecdot(as_float32(image), queries.image[row]).astype(np.float64)
    scores += (1 - weight) * np.vecdot(as_float32(text), queries.text[row])
    return np.asarray(scores, dtype=np.float32)


def as_float32(half: Array) -> Array:
    """The numbers of a float16 matrix as float32; torch converts four times as fast as NumPy."""
    values = np.empty(half.shape, dtype=np.float32)
    source = torch.from_numpy(half if half.flags.writeable else half.copy())
    target, rows = torch.from_numpy(values), max(1, CONVERTED_AT_ONCE // max(1, half.shape[1]))
    for start in range(0, len(half), rows):
        target[start : start + rows] = source[start : start + rows]
    return values
