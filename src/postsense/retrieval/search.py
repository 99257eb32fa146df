"""Queries → the most similar corpus posts that may be shown: no duplicates, nothing held out."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postsense.arrays import Array
from postsense.config import RetrievalSettings
from postsense.corpus.reading import Corpus, open_corpus
from postsense.errors import CorpusError
from postsense.progress import Progress, silent
from postsense.retrieval.exact import ExactIndex
from postsense.retrieval.index import Hits, Index
from postsense.retrieval.indexing import index_of
from postsense.retrieval.queries import Queries
from postsense.retrieval.released import open_released_index
from postsense.retrieval.weights import estimate_alpha

SAME_IMAGE = 0.99  # cosine from which two pictures count as one, however they were saved
SAME_TEXT = 0.98
BALANCE_QUERIES = 2_000
_BLOCK = 256  # queries whose candidates are in memory at a time


@dataclass(frozen=True)
class Found:
    """The posts found for N queries, best first.

    numbers: (N, k) int64, -1 where there are fewer. scores: (N, k) float32 in [-1, 1], -inf there.
    """

    numbers: Array
    scores: Array

    def first(self, count: int) -> "Found":
        """The best `count` of each query."""
        return Found(self.numbers[:, :count], self.scores[:, :count])


@dataclass(frozen=True)
class Searcher:
    """A corpus with its index, the weight of the picture and what must not be found.

    alpha: in [0, 1]; a query without a picture is searched with 0, one without words with 1.
    excluded: numbers of posts, ascending. per_picture: posts on one picture, at most. min_score:
    below it nothing is found.
    """

    corpus: Corpus
    index: Index
    alpha: float
    per_picture: int
    min_score: float
    excluded: Array

    def balanced(self, queries: Queries) -> "Searcher":
        """With alpha from the distances of these queries, Eqs. 2-4; unchanged if none has both."""
        both = np.flatnonzero(queries.image.any(axis=1) & queries.text.any(axis=1))
        sample = both[:: max(1, -(-len(both) // BALANCE_QUERIES))]
        if not len(sample):
            return self
        index = self._index_of_cosines
        alpha = estimate_alpha(index, queries.image[sample], queries.text[sample])
        return replace(self, alpha=alpha)

    def without(self, numbers: Array) -> "Searcher":
        """One that finds none of these posts either."""
        return replace(self, excluded=np.union1d(self.excluded, numbers))

    def search(self, queries: Queries, top_k: int, progress: Progress = silent) -> Found:
        """The top_k most similar posts of each query: none excluded, no duplicate, not itself."""
        numbers = np.full((len(queries), top_k), -1, dtype=np.int64)
        scores = np.full((len(queries), top_k), -np.inf, dtype=np.float32)
        for start in range(0, len(queries), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(queries)))
            rows = rows[~queries.take(rows).empty]
            width = min(4 * top_k + 16, len(self.corpus))
            while len(rows):
                block = queries.take(rows)
                alpha = np.full(len(block), self.alpha, dtype=np.float32)
                hits = self.index.search(block.image, block.text, alpha, width)
                kept = self._allowed(block, hits, top_k)
                for row, places, number, score in zip(
                    rows, kept, hits.numbers, hits.scores, strict=True
                ):
                    numbers[row, : len(places)] = number[places]
                    scores[row, : len(places)] = score[places]
                lacking = np.array([len(places) < top_k for places in kept])
                more = (hits.numbers[:, -1] >= 0) & (hits.scores[:, -1] >= self.min_score)
                rows = rows[lacking & more] if width < len(self.corpus) else rows[:0]
                width = min(4 * width, len(self.corpus))
            progress("search corpus", min(start + _BLOCK, len(queries)), len(queries))
        far = scores < self.min_score
        return Found(np.where(far, -1, numbers), np.where(far, -np.inf, scores))

    def duplicates(self, queries: Queries) -> Array:
        """Numbers of the corpus posts that are one of the queries: same id, words or picture."""
        same = np.zeros(len(self.corpus), dtype=bool)
        for name, values in _named_keys(queries):
            same |= self._one_of(name, values)
        called = self.corpus.numbers[self._one_of("id", queries.ids)]
        asked = set(zip(queries.ids.tolist(), queries.texts.tolist(), strict=True))
        found = self.corpus.take(called, ("id", "text")).to_pylist()
        itself = [row["text"] and (row["id"], row["text"]) in asked for row in found]
        numbers = [self.corpus.numbers[same], called[np.array(itself, dtype=bool)]]
        for image, threshold in ((True, SAME_IMAGE), (False, SAME_TEXT)):
            numbers.append(self._near(queries, image=image, threshold=threshold))
        return np.unique(np.concatenate(numbers))

    def _one_of(self, name: str, values: Array) -> Array:
        """Which posts (n,) have one of the values in a column; None is no value."""
        column = self.corpus.column(name)
        wanted = pa.array(values[_present(values)].tolist(), column.type)
        found: Array = pc.is_in(column, wanted).to_numpy()
        return found

    def _near(self, queries: Queries, *, image: bool, threshold: float) -> Array:
        """Numbers of the posts whose picture, or words, are at least this close to a query's."""
        index = self._index_of_cosines
        has = queries.image.any(axis=1) if image else _present(queries.text_keys)
        rows, width, near = np.flatnonzero(has), min(16, len(self.corpus)), []
        while len(rows):
            alpha = np.full(len(rows), 1.0 if image else 0.0, dtype=np.float32)
            block = queries.take(rows)
            hits = index.search(block.image, block.text, alpha, width)
            close = hits.scores >= threshold
            near.append(hits.numbers[close])
            rows = rows[close[:, -1]] if width < len(self.corpus) else rows[:0]
            width = min(4 * width, len(self.corpus))
        return np.concatenate([np.zeros(0, dtype=np.int64), *near])

    @property
    def _index_of_cosines(self) -> Index:
        """An index whose scores are cosines; those of the published one are not."""
        return ExactIndex(self.corpus) if self.index.kind == "released" else self.index

    def _allowed(self, queries: Queries, hits: Hits, top_k: int) -> list[list[int]]:
        """For each query the first top_k places of its hits that may be shown."""
        unique, place = np.unique(hits.numbers, return_inverse=True)
        place = place.reshape(hits.numbers.shape)
        real = unique >= 0
        keys = self.corpus.take(unique[real], ("id", "text", "text_key", "image_key"))
        forbidden = ~real | np.isin(unique, self.excluded)
        refused = forbidden[place] | self._same_vectors(queries, hits.numbers)
        pictures = np.full(len(unique), None, dtype=object)
        for name, values in _named_keys(queries):
            found = np.full(len(unique), None, dtype=object)
            found[real] = keys[name].to_pylist()
            known = _present(values)
            refused |= (found[place] == values[:, None]) & known[:, None]
            pictures = found if name == "image_key" else pictures
        called = iter(zip(keys["id"].to_pylist(), keys["text"].to_pylist(), strict=True))
        names = [next(called) if there else None for there in real]
        for row, own in enumerate(zip(queries.ids, queries.texts, strict=True)):
            if own[1]:  # without words it is the picture that tells
                refused[row] |= np.array([names[where] == own for where in place[row]], dtype=bool)
        return [
            list(self._capped(np.flatnonzero(~row), pictures[where], top_k))
            for row, where in zip(refused, place, strict=True)
        ]

    def _same_vectors(self, queries: Queries, numbers: Array) -> Array:
        """Whether picture or words of each hit (Q, k) are all but those of its query."""
        unique, place = np.unique(numbers, return_inverse=True)
        place = place.reshape(numbers.shape)
        image, text = self.corpus.vectors(np.maximum(unique, self.corpus.numbers[0]))
        same_image = _cosines(queries.image, image, place) >= SAME_IMAGE
        worded = _present(queries.text_keys)[:, None]
        return same_image | (worded & (_cosines(queries.text, text, place) >= SAME_TEXT))

    def _capped(self, places: Array, pictures: Array, top_k: int) -> Iterator[int]:
        """The first top_k places, of each picture per_picture at most."""
        seen: Counter[object] = Counter()
        taken = 0
        for place in places.tolist():
            picture = pictures[place]
            if picture is not None and seen[picture] >= self.per_picture:
                continue
            seen[picture] += 1
            taken += 1
            yield place
            if taken == top_k:
                return


def open_searcher(folder: Path, settings: RetrievalSettings) -> Searcher:
    """The searcher of a corpus; alpha, if not set, is 0.5 until balanced.

    Raises: CorpusError: the corpus or its index is missing, damaged or of another make.
    """
    corpus = open_corpus(folder)
    if not len(corpus):
        raise CorpusError(folder, "a corpus with posts", "none left in it", "Add some.")
    if settings.fidelity == "released":
        index: Index = open_released_index(corpus)
        min_score = -np.inf  # its scores are minus distances, of which there is no fixed scale
    else:
        index, min_score = index_of(corpus), settings.min_score
    alpha = 0.5 if settings.alpha is None else settings.alpha
    nothing = np.zeros(0, dtype=np.int64)
    return Searcher(corpus, index, alpha, settings.per_picture, min_score, nothing)


def _named_keys(queries: Queries) -> tuple[tuple[str, Array], ...]:
    return (("text_key", queries.text_keys), ("image_key", queries.image_keys))


def _present(keys: Array) -> Array:
    return np.array([key is not None for key in keys], dtype=bool)


def _cosines(queries: Array, vectors: Array, place: Array) -> Array:
    """(Q, k) inner products of queries (Q, D) with the vectors (n, D) at their places (Q, k)."""
    cosines = np.empty(place.shape, dtype=np.float32)
    for row, where in enumerate(place):
        cosines[row] = vectors[where].astype(np.float32) @ queries[row]
    return cosines
