"""Post vectors → codes of a few bytes in cells of a Faiss index, quickly scanned for candidates.

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
from postsense.retrieval.cells import learn_cells
from postsense.retrieval.index_files import load_faiss
from postsense.retrieval.ranking import Array, Queries, VectorSource, as_float32
from postsense.retrieval.sampling import draw_vectors

PARTS = 64  # codes of 4 bits for each modality
PART_DIMS = 4  # dimensions a code stands for
TRAINING_POSTS = 50_000  # drawn to learn projections, cells and codes: bounds memory
FEWEST_POSTS = 1_000  # with fewer, codes are not worth learning
BLOCK = 4096  # posts a matrix product; a constant, since its rounding depends on the shape


def build_codes(source: VectorSource, seed: int, progress: Progress) -> Any:
    """A Faiss index of all posts of the source: projection, cells, codes; found by post number.

    The same source and seed give the same codes, whatever the number of threads.
    """
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    with threadpool_limits(1):  # also sets what Faiss uses
        projection, codes = _train(source, seed)
        faiss.omp_set_num_threads(threads)
        for numbers, projected in _projected(source, projection, threads):
            codes.add_with_ids(projected, numbers)
            progress("compress vectors", codes.ntotal, len(source.numbers))
    transform = faiss.LinearTransform(*projection.shape, False)
    faiss.copy_array_to_vector(projection.T.ravel(), transform.A)
    transform.is_trained = True
    return faiss.IndexPreTransform(transform, codes)


def projection_of(index: Any) -> Array:
    """The projection (Di + Dt, d) float32 kept in an index that `build_codes` made."""
    faiss = load_faiss()
    transform = faiss.downcast_VectorTransform(index.chain.at(0))
    matrix = faiss.vector_to_array(transform.A)
    return np.asarray(matrix.reshape(transform.d_out, transform.d_in).T)


def project_queries(queries: Queries, projection: Array) -> Array:
    """Weighted queries in the space of the codes, (Q, d) float32; pair by pair, see `ranking`."""
    image_dim, half = queries.image.shape[1], projection.shape[1] // 2
    image_axes = np.ascontiguousarray(projection[:image_dim, :half].T)
    text_axes = np.ascontiguousarray(projection[image_dim:, half:].T)
    return np.hstack(
        [
            np.vecdot(queries.weighted_image[:, None], image_axes),
            np.vecdot(queries.weighted_text[:, None], text_axes),
        ]
    )


def _train(source: VectorSource, seed: int) -> tuple[Array, Any]:
    """The projection and an empty index, learned from posts drawn for each modality."""
    faiss, generator = load_faiss(), np.random.default_rng(seed)
    image = draw_vectors(source, "image", TRAINING_POSTS, seed)
    text = draw_vectors(source, "text", TRAINING_POSTS, seed)
    half = PART_DIMS * min(PARTS, -(-max(source.image_dim, source.text_dim) // PART_DIMS))
    image_axes = _principal_axes(image, half, generator)
    text_axes = _principal_axes(text, half, generator)
    image, text = _along(image, image_axes), _along(text, text_axes)
    cells = learn_cells(image, text, len(source.numbers), seed)
    codes = faiss.IndexIVFPQFastScan(
        cells, 2 * half, cells.ntotal, 2 * half // PART_DIMS, 4, faiss.METRIC_INNER_PRODUCT
    )
    codes.by_residual = False  # one table a query instead of one for each cell
    codes.pq.cp.seed = seed + 1
    rows = max(len(image), len(text))
    codes.train(np.hstack([np.resize(image, (rows, half)), np.resize(text, (rows, half))]))
    return _join(image_axes, text_axes), codes


def _principal_axes(vectors: Array, dims: int, generator: np.random.Generator) -> Array:
    """The axes (D, dims) of largest energy, turned at random so that codes share it evenly."""
    width = vectors.shape[1]
    energy = np.zeros((width, width))
    for start in range(0, len(vectors), BLOCK):
        block = as_float32(vectors[start : start + BLOCK])
        energy += block.T @ block
    axes = np.linalg.eigh(energy).eigenvectors[:, ::-1]  # (D, D), largest first
    turn = np.linalg.qr(generator.standard_normal((dims, dims))).Q
    kept = min(width, dims)
    return np.asarray(axes[:, :kept] @ turn[:kept], dtype=np.float32)


def _along(vectors: Array, axes: Array) -> Array:
    """The vectors along the axes, (n, d) float32; one of zeros if there are none."""
    if not len(vectors):
        return np.zeros((1, axes.shape[1]), dtype=np.float32)
    blocks = [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]
    return np.concatenate([as_float32(block) @ axes for block in blocks])


def _join(image: Array, text: Array) -> Array:
    """Block-diagonal projection of [image ; text]."""
    joined = np.zeros((len(image) + len(text), image.shape[1] + text.shape[1]), dtype=np.float32)
    joined[: len(image), : image.shape[1]] = image
    joined[len(image) :, image.shape[1] :] = text
    return joined


def _projected(
    source: VectorSource, projection: Array, threads: int
) -> Iterator[tuple[Array, Array]]:
    """Numbers and projected vectors of all posts, in order, a block for each thread at a time."""
    image_dim, half = source.image_dim, projection.shape[1] // 2

    def project(start: int) -> tuple[Array, Array]:
        numbers = source.numbers[start : start + BLOCK]
        image, text = source.vectors(numbers)
        along_image = as_float32(image) @ projection[:image_dim, :half]
        along_text = as_float32(text) @ projection[image_dim:, half:]
        return numbers, np.hstack([along_image, along_text])

    starts = range(0, len(source.numbers), BLOCK)
    with ThreadPoolExecutor(threads) as workers:
        for first in range(0, len(starts), threads):
            yield from workers.map(project, starts[first : first + threads])
