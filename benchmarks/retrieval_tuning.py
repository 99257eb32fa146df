"""Recall and speed of compressed indexes by cells probed, candidates ranked and size of code."""

import time
from itertools import islice
from typing import Any

import faiss
import numpy as np

from grown_vectors import GrownSource
from postsense.progress import silent
from postsense.retrieval import codes
from postsense.retrieval.compressed import CompressedIndex
from postsense.retrieval.ranking import check_queries, rank

TOP_K = 5
Exact = dict[float, np.ndarray]


def print_tuning(source: GrownSource, image: np.ndarray, text: np.ndarray, exact: Exact) -> None:
    """One table: codes and cells of ours, then other indexes; exact: the right hits by alpha."""
    print(f"\n### Tuning at {len(source.numbers):,} posts: recall@{TOP_K}; {len(image)} queries\n")
    print("| index | code, bytes | cells probed | ranked |", end="")
    print(*(f" alpha {alpha:g} |" for alpha in exact), "seconds |\n" + "|---" * 10 + "|")
    for parts in (32, 48, 64, 80):
        codes.PARTS = parts
        index = codes.build_codes(source, 0, silent)
        searched = CompressedIndex(source, index, probed=1.0, depth=200, highest=source.numbers[-1])
        every = [(1 / 16, 200), (1 / 8, 200), (1 / 4, 200), (1 / 2, 200), (1.0, 200)]
        every += [(1 / 4, depth) for depth in (50, 100, 400, 800)]
        for share, depth in every if parts == 64 else [(1 / 4, 200), (1.0, 200)]:
            searched.probed, searched.depth = share, depth
            _row(f"picture x text cells, {parts} + {parts} parts", parts, share, depth)(
                lambda alpha, index=searched: index.search(image, text, alpha, TOP_K).numbers, exact
            )
    codes.PARTS = 64
    joint, half = _joint_cells(source), _first_index(source)
    for name, size, index, shares in (
        ("1,024 cells of both together, same codes", 64, joint, (1 / 8, 1 / 4, 1 / 2)),
        ("PCAR512,IVF1024,RaBitQ", 72, half, (1 / 2,)),
    ):
        for share in shares:
            faiss.extract_index_ivf(index[1]).nprobe = int(1024 * share)

            def search(alpha: np.ndarray, index: Any = index) -> np.ndarray:
                queries = check_queries(source, image, text, alpha)
                fused = np.hstack([queries.weighted_image, queries.weighted_text])
                projection, cells = index
                found = cells.search(fused if projection is None else fused @ projection, 200)[1]
                return rank(source, queries, [row[row >= 0] for row in found], TOP_K).numbers

            _row(name, size, share, 200)(search, exact)


def _row(name: str, size: int, share: float, depth: int) -> Any:
    def measure(search: Any, exact: Exact) -> None:
        shares, spent = [], []
        for alpha, right in exact.items():
            weights = np.full(len(right), alpha, dtype=np.float32)
            search(weights)
            start = time.perf_counter()
            found = search(weights)
            spent.append(time.perf_counter() - start)
            shares.append((found[:, :, None] == right[:, None, :]).any(axis=1).mean())
        values = "".join(f" {value:.3f} |" for value in shares)
        print(f"| {name} | {size} | {share:.4g} | {depth} |{values} {np.median(spent):.3f} |")

    return measure


def _blocks(source: GrownSource) -> Any:
    for start in range(0, len(source.numbers), 20_000):
        rows = slice(start, start + 20_000)
        yield np.hstack([source.image[rows], source.text[rows]]).astype(np.float32)


def _joint_cells(source: GrownSource) -> Any:
    """Our codes in cells that k-means finds in picture and text vectors together."""
    ours = codes.build_codes(source, 0, silent)
    transform = faiss.downcast_VectorTransform(ours.chain.at(0))
    projection = faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in).T
    dims = projection.shape[1]
    training = next(_blocks(source)) @ projection
    means = faiss.Kmeans(dims, 1024, niter=10, seed=1, min_points_per_centroid=1)
    means.train(training)
    cells = faiss.IndexFlatIP(dims)
    cells.add(means.centroids)
    index = faiss.IndexIVFPQFastScan(cells, dims, 1024, dims // 4, 4, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    index.cp.min_points_per_centroid = 1
    index.train(training)
    for block in _blocks(source):
        index.add(block @ projection)
    return projection, index


def _first_index(source: GrownSource) -> Any:
    """What the design began with."""
    index = faiss.index_factory(
        source.image_dim + source.text_dim, "PCAR512,IVF1024,RaBitQ", faiss.METRIC_INNER_PRODUCT
    )
    faiss.extract_index_ivf(index).cp.min_points_per_centroid = 1
    index.train(np.concatenate(list(islice(_blocks(source), 2))))
    for block in _blocks(source):
        index.add(block)
    return None, index
