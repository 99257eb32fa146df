"""Cells of a compressed index: a cell of pictures times a cell of texts.

Source: Babenko & Lempitsky 2012, The inverted multi-index. Pictures and words of a post correlate
weakly, so that cells of both together say little; a query's best posts lie in the cells near its
picture with any text, and in those near its words with any picture.
Deviation: cells are ranked by their weighted inner product with the query, and one cell of each
modality is for the posts that lack it.
"""

from typing import Any

import numpy as np

from postsense.arrays import Array
from postsense.extras import load_faiss

POSTS_PER_CELL = 250  # about; a power of 4 is the number of cells
MOST_BITS = 9  # of the number of a modality's cell
ITERATIONS = 10  # of k-means


def learn_cells(image: Array, text: Array, posts: int, seed: int) -> Any:
    """A Faiss quantizer that gives each post its cell.

    image, text: (n, d) and (m, d) float32, projected vectors of some of the posts that have them.
    """
    faiss = load_faiss()
    bits = int(np.clip(round(np.log2(posts / POSTS_PER_CELL) / 2), 1, MOST_BITS))
    centroids = np.stack([_centroids(part, 2**bits, seed) for part in (image, text)])
    cells = faiss.MultiIndexQuantizer(2 * image.shape[1], 2, bits)
    faiss.copy_array_to_vector(centroids.ravel(), cells.pq.centroids)
    cells.is_trained, cells.ntotal = True, 4**bits
    return cells


def centroids_of(codes: Any) -> Array:
    """The centers (2, K, d) float32 of picture cells and of text cells."""
    faiss = load_faiss()
    cells = faiss.downcast_index(codes.quantizer)
    values = faiss.vector_to_array(cells.pq.centroids)
    return np.asarray(values.reshape(2, cells.pq.ksub, cells.pq.dsub))


def best_cells(projected: Array, centroids: Array, count: int) -> Array:
    """The cells (Q, count) int64 of largest inner product with each projected query (Q, 2 d)."""
    image, text = (
        np.vecdot(half[:, None], centers)  # (Q, K), pair by pair, see `ranking`
        for half, centers in zip(np.split(projected, 2, axis=1), centroids, strict=True)
    )
    scores = (text[:, :, None] + image[:, None, :]).reshape(len(projected), -1)
    if count >= scores.shape[1]:
        return np.tile(np.arange(scores.shape[1]), (len(projected), 1))
    return np.asarray(np.argpartition(-scores, count - 1, axis=1)[:, :count])


def _centroids(vectors: Array, count: int, seed: int) -> Array:
    """Centers (count, d) by k-means; the last is zero, for posts that lack the modality."""
    faiss = load_faiss()
    options = {"niter": ITERATIONS, "seed": seed + 1, "min_points_per_centroid": 1}
    means = faiss.Kmeans(vectors.shape[1], count - 1, **options)
    means.train(np.resize(vectors, (max(len(vectors), count), vectors.shape[1])))
    return np.vstack([means.centroids, np.zeros((1, vectors.shape[1]), dtype=np.float32)])
