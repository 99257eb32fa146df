"""Compressed fused search: candidates from codes in memory, ranked by the stored vectors."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from postsense.errors import CorpusError
from postsense.retrieval.codes import project_queries, projection_of
from postsense.retrieval.exact import exact_candidates
from postsense.retrieval.index_files import load_faiss
from postsense.retrieval.ranking import Array, Hits, Queries, VectorSource, check_queries, rank
from postsense.retrieval.recall import NEIGHBORS, Recall, RecallTest

DEPTHS = (100, 200, 400, 800, 1600, 3200)  # candidates ranked exactly; the first good one is taken
CANDIDATES_PER_HIT = 4  # at least, however shallow
QUERY_BLOCK = 1024  # queries whose candidates are in memory at a time


class CompressedIndex:
    """Search over codes that `build_codes` made; later posts are scored exactly beside them.

    depth: candidates a query that are ranked by their stored vectors.
    highest: number of the last post that was there when the codes were made.
    """

    kind = "compressed"

    def __init__(self, source: VectorSource, codes: Any, *, depth: int, highest: int) -> None:
        self.source, self.codes, self.depth = source, codes, depth
        self.later = source.numbers[source.numbers > highest]
        self.by_number = load_faiss().downcast_index(codes.index)
        self.projection = projection_of(codes)
        _remove_lost(self.by_number, source.numbers)

    def search(self, image: Array, text: Array, alpha: Array, k: int) -> Hits:
        """The k best posts of each query. Scores: see `Hits`. Raises: CorpusError: bad queries."""
        return self.search_checked(check_queries(self.source, image, text, alpha), k)

    def search_checked(self, queries: Queries, k: int) -> Hits:
        """As `search`, of queries that were checked."""
        parts = [self._search_block(block, k) for block in _query_blocks(queries)]
        return Hits(
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )

    def _search_block(self, queries: Queries, k: int) -> Hits:
        depth = min(self.by_number.ntotal, max(self.depth, CANDIDATES_PER_HIT * k))
        found = np.zeros((len(queries), 0), dtype=np.int64)
        if depth and len(queries):
            _, found = self.by_number.search(project_queries(queries, self.projection), depth)
        later = exact_candidates(self.source, self.later, queries, k)
        candidates = [
            np.concatenate([row[row >= 0], extra]) if heard else extra
            for row, extra, heard in zip(found, later, ~queries.silent, strict=True)
        ]
        return rank(self.source, queries, candidates, k)


def tune(index: CompressedIndex, test: RecallTest, min_recall: float) -> Recall:
    """Set the smallest depth whose recall reaches min_recall with each weight of the picture.

    Raises: CorpusError: none does.
    """
    for depth in DEPTHS:
        index.depth = depth
        recall = test.measure(index.search_checked)
        if recall.worst >= min_recall:
            return recall
    raise CorpusError(
        "compressed index",
        f"recall@{NEIGHBORS} of at least {min_recall:g} with every weight of the picture",
        f"{recall.worst:.3f} with {depth} candidates ranked exactly",
        "Set index = 'exact', or a lower min_recall.",
    )


def _query_blocks(queries: Queries) -> Iterator[Queries]:
    for start in range(0, max(len(queries), 1), QUERY_BLOCK):
        yield queries[start : start + QUERY_BLOCK]


def _remove_lost(by_number: Any, numbers: Array) -> None:
    """Take out the codes of posts that are no longer in numbers."""
    faiss = load_faiss()
    lost = np.setdiff1d(faiss.vector_to_array(by_number.id_map), numbers, assume_unique=True)
    if len(lost):
        by_number.remove_ids(lost)
