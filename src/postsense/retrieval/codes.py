"""Post vectors → codes of a few bytes in cells of a Faiss index, quickly scanned for candidates.

Source: ours. Picture and words are projected apart, so that both keep their variance whatever
alpha is, then coded by 4-bit product quantization, whose tables fit registers (André, Kermarrec,
Le Scouarnec 2015, Cache locality is not enough; Faiss calls it fast scan).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from postsense.arrays import Array
from postsense.extras import load_faiss
from postsense.progress import Progress
from postsense.retrieval.cells import learn_cells
from postsense.retrieval.ranking import QueryVectors, VectorSource, as_float32
from postsense.retrieval.sampling import draw_vectors

PARTS = 64  # codes of 4 bits for each modality
PART_DIMS = 4  # dimensions a code stands for
TRAINING_POSTS = 50_000  # drawn to learn projections, cells and codes: bounds memory
FEWEST_POSTS = 1_000  # with fewer, codes are not worth learning
BLOCK = 4096  # posts a matrix product; a constant, since its rounding depends on the shape


@dataclass(frozen=True)
class Axes:
    """What vectors are projected on: (d, Di) for pictures and (d, Dt) for texts, float32."""

    image: Array
    text: Array

    def project(self, image: Array, text: Array) -> Array:
        """Posts' vectors (n, 2 d) float32 along the axes, by matrix products."""
        return np.hstack([as_float32(image) @ self.image.T, as_float32(text) @ self.text.T])

    def project_queries(self, queries: QueryVectors) -> Array:
        """Weighted queries (Q, 2 d) float32 along the axes; pair by pair, see `ranking`."""
        along_image = np.vecdot(queries.weighted_image[:, None], self.image)
        return np.hstack([along_image, np.vecdot(queries.weighted_text[:, None], self.text)])


def build_codes(source: VectorSource, seed: int, progress: Progress) -> Any:
    """A Faiss index of all posts of the source: projection, cells, codes; found by post number.

    The same source and seed give the same codes, whatever the number of threads.
    """
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    with threadpool_limits(1):  # also sets what Faiss uses
        axes, codes = _train(source, seed)
        faiss.omp_set_num_threads(threads)
        for numbers, projected in _projected(source, axes, threads):
            codes.add_with_ids(projected, numbers)
            progress("compress vectors", codes.ntotal, len(source.numbers))
    blocks = np.zeros((2 * len(axes.image), source.image_dim + source.text_dim), dtype=np.float32)
    blocks[: len(axes.image), : source.image_dim] = axes.image
    blocks[len(axes.image) :, source.image_dim :] = axes.text
    transform = faiss.LinearTransform(blocks.shape[1], blocks.shape[0], False)
    faiss.copy_array_to_vector(blocks.ravel(), transform.A)
    transform.is_trained = True
    return faiss.IndexPreTransform(transform, codes)


def axes_of(index: Any, image_dim: int) -> Axes:
    """The axes kept in an index that `build_codes` made."""
    faiss = load_faiss()
    transform = faiss.downcast_VectorTransform(index.chain.at(0))
    blocks = faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in)
    half = transform.d_out // 2
    return Axes(blocks[:half, :image_dim].copy(), blocks[half:, image_dim:].copy())


def _train(source: VectorSource, seed: int) -> tuple[Axes, Any]:
    """The axes and an empty index, learned from posts drawn for each modality."""
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
    return Axes(image_axes, text_axes), codes


def _principal_axes(vectors: Array, dims: int, generator: np.random.Generator) -> Array:
    """The axes (dims, D) of largest energy, turned at random so that codes share it evenly."""
    width = vectors.shape[1]
    energy = np.zeros((width, width))
    for start in range(0, len(vectors), BLOCK):
        block = as_float32(vectors[start : start + BLOCK])
        energy += block.T @ block
    axes = np.linalg.eigh(energy).eigenvectors[:, ::-1]  # (D, D), largest first
    turn = np.linalg.qr(generator.standard_normal((dims, dims))).Q
    kept = min(width, dims)
    return np.ascontiguousarray((axes[:, :kept] @ turn[:kept]).T, dtype=np.float32)


def _along(vectors: Array, axes: Array) -> Array:
    """The vectors along the axes, (n, d) float32; one of zeros if there are none."""
    if not len(vectors):
        return np.zeros((1, len(axes)), dtype=np.float32)
    blocks = [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]
    return np.concatenate([as_float32(block) @ axes.T for block in blocks])


def _projected(source: VectorSource, axes: Axes, threads: int) -> Iterator[tuple[Array, Array]]:
    """Numbers and projected vectors of all posts, in order, a block for each thread at a time."""

    def project(start: int) -> tuple[Array, Array]:
        numbers = source.numbers[start : start + BLOCK]
        return numbers, axes.project(*source.vectors(numbers))

    starts = range(0, len(source.numbers), BLOCK)
    with ThreadPoolExecutor(threads) as workers:
        for first in range(0, len(starts), threads):
            yield from workers.map(project, starts[first : first + threads])
