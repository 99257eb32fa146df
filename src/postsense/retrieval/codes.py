"""Post vectors → codes of a few bytes in a Faiss index, from which candidates are scanned quickly.

Source: ours. Picture and words are projected apart, so that both keep their variance whatever
alpha is, then coded by 4-bit product quantization, whose tables fit registers (André, Kermarrec,
Le Scouarnec 2015, Cache locality is not enough; Faiss calls it fast scan).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from postsense.progress import Progress
from postsense.retrieval.index_files import load_faiss
from postsense.retrieval.ranking import Array, Queries, VectorSource
from postsense.retrieval.sampling import draw_vectors

IMAGE_PARTS, TEXT_PARTS = 64, 48  # codes of 4 bits a modality
PART_DIMS = 4  # dimensions a code stands for
TRAINING_POSTS = 50_000  # drawn to learn projections and codes: bounds memory
FEWEST_POSTS = 1_000  # with fewer, codes are not worth learning
BLOCK = 4096  # posts a matrix product; a constant, since its rounding depends on the shape


def build_codes(source: VectorSource, seed: int, progress: Progress) -> Any:
    """A Faiss index of all posts of the source: projection, then codes, found by post number.

    The same source and seed give the same codes, whatever the number of threads.
    """
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    with threadpool_limits(1):  # also sets what Faiss uses
        index, projection = _train(source, seed)
        faiss.omp_set_num_threads(threads)
        for numbers, projected in _projected(source, projection, threads):
            index.index.add_with_ids(projected, numbers)
            progress("compress vectors", index.index.ntotal, len(source.numbers))
        index.ntotal = index.index.ntotal
    return index


def projection_of(index: Any) -> Array:
    """The projection (Di + Dt, d) float32 kept in an index that `build_codes` made."""
    faiss = load_faiss()
    transform = faiss.downcast_VectorTransform(index.chain.at(0))
    matrix = faiss.vector_to_array(transform.A)
    return np.asarray(matrix.reshape(transform.d_out, transform.d_in).T)


def project_queries(queries: Queries, projection: Array) -> Array:
    """Weighted queries in the space of the codes, (Q, d) float32; one by one, see `ranking`."""
    rows = np.ascontiguousarray(projection.T)  # (d, Di + Dt)
    weighted = np.concatenate([queries.weighted_image, queries.weighted_text], axis=1)
    projected = np.empty((len(weighted), len(rows)), dtype=np.float32)
    for query, out in zip(weighted, projected, strict=True):
        np.vecdot(rows, query, out=out)
    return projected


def _train(source: VectorSource, seed: int) -> tuple[Any, Array]:
    """An empty index and its projection, both learned from posts drawn for each modality."""
    faiss, generator = load_faiss(), np.random.default_rng(seed)
    image = draw_vectors(source, "image", TRAINING_POSTS, seed)
    text = draw_vectors(source, "text", TRAINING_POSTS, seed)
    image_axes = _principal_axes(image, IMAGE_PARTS, generator)
    text_axes = _principal_axes(text, TEXT_PARTS, generator)
    projection = _join(image_axes, text_axes)
    dims = projection.shape[1]
    codes = faiss.IndexPQFastScan(dims, dims // PART_DIMS, 4, faiss.METRIC_INNER_PRODUCT)
    codes.pq.cp.seed = seed + 1
    rows = max(len(image), len(text))
    codes.train(np.hstack([_trained(image, image_axes, rows), _trained(text, text_axes, rows)]))
    transform = faiss.LinearTransform(*projection.shape, False)
    faiss.copy_array_to_vector(projection.T.ravel(), transform.A)
    transform.is_trained = True
    return faiss.IndexPreTransform(transform, faiss.IndexIDMap(codes)), projection


def _principal_axes(vectors: Array, parts: int, generator: np.random.Generator) -> Array:
    """The axes (D, d) of largest energy, turned at random so that codes share it evenly.

    d is parts * PART_DIMS, less where the vectors are narrow, and 0 if no post has the modality.
    """
    width = vectors.shape[1]
    dims = PART_DIMS * min(parts, -(-width // PART_DIMS)) if len(vectors) else 0
    energy = np.zeros((width, width))
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float32)
        energy += block.T @ block
    axes = np.linalg.eigh(energy).eigenvectors[:, ::-1]  # (D, D), largest first
    turn = np.linalg.qr(generator.standard_normal((dims, dims))).Q
    kept = min(width, dims)
    return np.asarray(axes[:, :kept] @ turn[:kept], dtype=np.float32)


def _join(image: Array, text: Array) -> Array:
    """Block-diagonal projection of [image ; text]."""
    joined = np.zeros((len(image) + len(text), image.shape[1] + text.shape[1]), dtype=np.float32)
    joined[: len(image), : image.shape[1]] = image
    joined[len(image) :, image.shape[1] :] = text
    return joined


def _trained(vectors: Array, axes: Array, rows: int) -> Array:
    """(rows, d) float32: the vectors along the axes, repeated to that number of rows."""
    if not axes.shape[1]:
        return np.zeros((rows, 0), dtype=np.float32)
    blocks = [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]
    projected = np.concatenate([block.astype(np.float32) @ axes for block in blocks])
    return np.resize(projected, (rows, axes.shape[1]))


def _projected(
    source: VectorSource, projection: Array, threads: int
) -> Iterator[tuple[Array, Array]]:
    """Numbers and projected vectors of all posts, in order, a block for each thread at a time."""

    def project(start: int) -> tuple[Array, Array]:
        numbers = source.numbers[start : start + BLOCK]
        vectors = np.concatenate(source.vectors(numbers), axis=1)
        return numbers, vectors.astype(np.float32) @ projection

    starts = range(0, len(source.numbers), BLOCK)
    with ThreadPoolExecutor(threads) as workers:
        for first in range(0, len(starts), threads):
            yield from workers.map(project, starts[first : first + threads])
