"""Post vectors → codes of a few bytes in a Faiss index, from which candidates are scanned quickly.

Source: ours. Picture and words are projected apart, so that both keep their variance whatever
alpha is, then coded by 4-bit product quantization, whose tables fit registers (André, Kermarrec,
Le Scouarnec 2015, Cache locality is not enough, sec. 4; Faiss calls it fast scan).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from postsense.progress import Progress
from postsense.retrieval.index_files import load_faiss
from postsense.retrieval.ranking import Array, Queries, VectorSource

IMAGE_PARTS, TEXT_PARTS = 64, 48  # codes of 4 bits a modality
PART_DIMS = 4  # dimensions a code stands for
TRAINING_POSTS = 50_000  # drawn to learn projections and codes: bounds memory
FEWEST_POSTS = 1_000  # with fewer, codes are not worth learning
BLOCK = 4096  # posts a matrix product; a constant, since its rounding depends on the shape


def build_codes(source: VectorSource, numbers: Array, seed: int, progress: Progress) -> Any:
    """A Faiss index of all posts in numbers: projection, then codes, found by post number.

    The same source and seed give the same codes, whatever the number of threads.
    """
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    with threadpool_limits(1):  # also sets what Faiss uses
        index, projection = _train(source, numbers, seed)
        faiss.omp_set_num_threads(threads)
        for done, of_block, projected in _projected(source, numbers, projection, threads):
            index.index.add_with_ids(projected, of_block)
            progress("compress vectors", done, len(numbers))
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


def _train(source: VectorSource, numbers: Array, seed: int) -> tuple[Any, Array]:
    faiss = load_faiss()
    generator = np.random.default_rng(seed)
    drawn = generator.choice(len(numbers), min(len(numbers), TRAINING_POSTS), replace=False)
    image, text = source.vectors(numbers[np.sort(drawn)])
    projection = _join(
        _principal_axes(image, IMAGE_PARTS, generator), _principal_axes(text, TEXT_PARTS, generator)
    )
    dims = projection.shape[1]
    codes = faiss.IndexPQFastScan(dims, dims // PART_DIMS, 4, faiss.METRIC_INNER_PRODUCT)
    codes.pq.cp.seed = int(generator.integers(2**31))
    codes.train(np.concatenate([_project(*pair, projection) for pair in _blocks(image, text)]))
    transform = faiss.LinearTransform(*projection.shape, False)
    faiss.copy_array_to_vector(np.ascontiguousarray(projection.T).ravel(), transform.A)
    transform.is_trained = True
    return faiss.IndexPreTransform(transform, faiss.IndexIDMap(codes)), projection


def _principal_axes(vectors: Array, parts: int, generator: np.random.Generator) -> Array:
    """The axes (D, d) of largest energy, turned at random so that codes share it evenly.

    d is parts * PART_DIMS, less where the vectors are narrow, and 0 if no post has the modality.
    """
    width = vectors.shape[1]
    if not vectors.any():
        return np.zeros((width, 0), dtype=np.float32)
    energy = np.zeros((width, width))
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float32)
        energy += block.T @ block
    axes = np.linalg.eigh(energy).eigenvectors[:, ::-1]  # (D, D), largest first
    dims = PART_DIMS * min(parts, -(-width // PART_DIMS))
    turn = np.linalg.qr(generator.standard_normal((dims, dims))).Q
    kept = min(width, dims)
    return np.asarray(axes[:, :kept] @ turn[:kept], dtype=np.float32)


def _join(image: Array, text: Array) -> Array:
    """Block-diagonal projection of [image ; text]."""
    joined = np.zeros((len(image) + len(text), image.shape[1] + text.shape[1]), dtype=np.float32)
    joined[: len(image), : image.shape[1]] = image
    joined[len(image) :, image.shape[1] :] = text
    return joined


def _project(image: Array, text: Array, projection: Array) -> Array:
    return np.concatenate([image, text], axis=1).astype(np.float32) @ projection


def _blocks(image: Array, text: Array) -> Iterator[tuple[Array, Array]]:
    for start in range(0, len(image), BLOCK):
        yield image[start : start + BLOCK], text[start : start + BLOCK]


def _projected(
    source: VectorSource, numbers: Array, projection: Array, threads: int
) -> Iterator[tuple[int, Array, Array]]:
    """Posts done, numbers and projected vectors, a few blocks at a time and in order."""

    def read(start: int) -> tuple[Array, Array]:
        of_block = numbers[start : start + BLOCK]
        return of_block, _project(*source.vectors(of_block), projection)

    starts = range(0, len(numbers), BLOCK)
    with ThreadPoolExecutor(threads) as workers:
        for first in range(0, len(starts), threads):
            for of_block, projected in workers.map(read, starts[first : first + threads]):
                yield int(np.searchsorted(numbers, of_block[-1])) + 1, of_block, projected
