"""Compressed fused search: candidates from codes in memory, ranked by the stored vectors."""

from concurrent.futures import ThreadPoolExecutor
from math import ceil
from threading import Lock
from typing import Any

import numpy as np

from postsense.arrays import Array
from postsense.errors import CorpusError
from postsense.extras import load_faiss
from postsense.retrieval.cells import best_cells, centroids_of
from postsense.retrieval.codes import axes_of
from postsense.retrieval.exact import exact_candidates
from postsense.retrieval.ranking import Hits, QueryVectors, VectorSource, check_queries, rank
from postsense.retrieval.recall import NEIGHBORS, Recall, RecallTest

PROBED = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # shares of the cells that tuning tries
DEPTHS = (50, 100, 200, 400, 800, 3200)  # candidates ranked exactly that tuning tries
SCANNED_PER_RANKED = 1200  # codes scanned in the time in which a candidate is ranked
CANDIDATES_PER_HIT = 4  # at least, however shallow
POSTS_PER_CANDIDATE = 8  # at least, in the cells probed
QUERY_BLOCK = 1024  # queries whose candidates are in memory at a time
SCAN_BLOCK = 128  # queries that one thread scans for
SCAN = 13  # Faiss's number of the scan whose candidates do not depend on the other queries


class CompressedIndex:
    """Search over codes that `build_codes` made; later posts are scored exactly beside them.

    probed: share of the cells that are scanned, in (0, 1].
    depth: candidates a query that are ranked by their stored vectors.
    highest: number of the last post that was there when the codes were made.
    """

    kind = "compressed"

    def __init__(
        self, source: VectorSource, index: Any, *, probed: float, depth: int, highest: int
    ) -> None:
        self.source, self.index, self.probed, self.depth = source, index, probed, depth
        self.later = source.numbers[source.numbers > highest]
        self.codes = load_faiss().downcast_index(index.index)
        self.codes.implem = SCAN
        self.scanning = Lock()  # the number of cells probed is a property of the Faiss index
        self.axes, self.centroids = axes_of(index, source.image_dim), centroids_of(self.codes)
        if len(source.numbers) - len(self.later) < self.codes.ntotal:
            _remove_lost(self.codes, source.numbers)

    def search(self, image: Array, text: Array, alpha: Array, k: int) -> Hits:
        """The k best posts of each query. Scores: see `Hits`. Raises: CorpusError: bad queries."""
        return self.search_checked(check_queries(self.source, image, text, alpha), k)

    def search_checked(self, queries: QueryVectors, k: int) -> Hits:
        """As `search`, of queries that were checked."""
        starts = range(0, max(len(queries), 1), QUERY_BLOCK)
        parts = [self._search_block(queries[start : start + QUERY_BLOCK], k) for start in starts]
        return Hits(
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )

    def _search_block(self, queries: QueryVectors, k: int) -> Hits:
        found = self._scan(queries, k)
        later = exact_candidates(self.source, self.later, queries, k)
        candidates = [
            np.concatenate([row[row >= 0], extra]) if heard else extra
            for row, extra, heard in zip(found, later, ~queries.empty, strict=True)
        ]
        return rank(self.source, queries, candidates, k)

    def _scan(self, queries: QueryVectors, k: int) -> Array:
        """Candidates (Q, depth) int64, -1 where there are fewer; at least k of as many posts."""
        depth = min(self.codes.ntotal, max(self.depth, CANDIDATES_PER_HIT * k))
        if not depth:
            return np.zeros((len(queries), 0), dtype=np.int64)
        share = max(self.probed, POSTS_PER_CANDIDATE * depth / self.codes.ntotal)
        with self.scanning:
            found = self._scan_cells(queries, depth, min(1.0, share))
            few = np.flatnonzero((found >= 0).sum(axis=1) < min(k, depth))
            if len(few) and share < 1:  # the cells probed are thinly filled
                found[few] = self._scan_cells(queries[few], depth, 1.0)
        return found

    def _scan_cells(self, queries: QueryVectors, depth: int, share: float) -> Array:
        found = np.empty((len(queries), depth), dtype=np.int64)
        self.codes.nprobe = ceil(share * self.codes.nlist)

        def scan(start: int) -> None:
            rows = slice(start, start + SCAN_BLOCK)
            projected = self.axes.project_queries(queries[rows])
            cells = best_cells(projected, self.centroids, self.codes.nprobe)
            found[rows] = self.codes.search_preassigned(projected, depth, cells, None)[1]

        faiss = load_faiss()
        threads = faiss.omp_get_max_threads()  # those of Faiss itself would wait for each block
        with ThreadPoolExecutor(threads, initializer=faiss.omp_set_num_threads, initargs=(1,)) as w:
            list(w.map(scan, range(0, len(queries), SCAN_BLOCK)))
        return found


def tune(index: CompressedIndex, test: RecallTest, min_recall: float) -> Recall:
    """Probe as few cells and rank as few candidates as reach min_recall whatever alpha is.

    Raises: CorpusError: even the most do not.
    """
    for probed, depth in trials(index.codes.ntotal):
        index.probed, index.depth = probed, depth
        recall = test.measure(index.search_checked)
        if recall.worst >= min_recall:
            return recall
    raise CorpusError(
        "compressed index",
        f"recall@{NEIGHBORS} of at least {min_recall:g} with every weight of the picture",
        f"{recall.worst:.3f} with {depth} candidates ranked exactly",
        "Set index = 'exact', or a lower min_recall.",
    )


def trials(posts: int) -> list[tuple[float, int]]:
    """Shares of cells and depths, the quickest first."""
    every = [(probed, depth) for probed in PROBED for depth in DEPTHS]
    return sorted(every, key=lambda trial: trial[1] + trial[0] * posts / SCANNED_PER_RANKED)


def _remove_lost(codes: Any, numbers: Array) -> None:
    """Take out the codes of posts that are no longer in numbers."""
    faiss, lists = load_faiss(), codes.invlists
    kept = [np.zeros(0, dtype=np.int64)]
    for cell in range(codes.nlist):
        size = lists.list_size(cell)
        if size:
            kept.append(faiss.rev_swig_ptr(lists.get_ids(cell), size).copy())
    lost = np.setdiff1d(np.concatenate(kept), numbers, assume_unique=True)
    if len(lost):
        codes.remove_ids(lost)
