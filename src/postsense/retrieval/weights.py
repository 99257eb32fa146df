"""How much the picture counts against the words: alpha, from distances in a corpus."""

import numpy as np

from postsense.arrays import Array
from postsense.retrieval.index import Index


def balance(image_distances: Array, text_distances: Array) -> float:
    """The weight of the picture that gives both distances the same scale.

    Source: Xu & Li 2022, Comment-Aware Self-Training, eqs. 2-4
        I = mean over queries and ranks of the image distances, T likewise of the text distances
        alpha = T / (I + T)
    Deviation: the paper speaks of similarities; what its code averages, and what makes sense of the
        equations, are squared L2 distances.

    Args:
        image_distances, text_distances: (Q, K) float >= 0, squared L2; NaN where there is no hit.
    Returns: alpha in [0, 1]; 0.5 where all distances are 0 or there are none.
    """
    image, text = _mean(image_distances), _mean(text_distances)
    return text / (image + text) if image + text > 0 else 0.5


def estimate_alpha(index: Index, image: Array, text: Array, k: int = 10) -> float:
    """The weight of the picture from the k best hits by picture alone and by words alone.

    Source: as `balance`.

    Args:
        image, text: (Q, Di) and (Q, Dt) float32, unit; zero where the query lacks the modality.
            Only queries that have both count.
        k: ranks that are averaged (K of eqs. 2-3).
    Returns: alpha in [0, 1]; 0.5 if no query has both.
    """
    both = image.any(axis=1) & text.any(axis=1)
    image, text = image[both], text[both]
    one = np.ones(len(image), dtype=np.float32)
    return balance(
        _squared_distances(index.search(image, text, one, k).scores),
        _squared_distances(index.search(image, text, 0 * one, k).scores),
    )


def _squared_distances(scores: Array) -> Array:
    """Of unit vectors from their inner products; |a - b|^2 = 2 - 2 <a, b>. NaN where no hit is."""
    distances = 2 - 2 * scores.astype(np.float64)
    return np.where(np.isfinite(distances), np.maximum(distances, 0), np.nan)


def _mean(distances: Array) -> float:
    there = distances[~np.isnan(distances)]
    return float(there.mean()) if there.size else 0.0
