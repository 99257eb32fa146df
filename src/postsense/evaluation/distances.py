"""Vectors of words and pictures → how far apart posts of the same and of other labels lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from postsense.arrays import Array

MAX_POSTS = 2_000
_CHUNK = 500

Distances = dict[str, dict[str, float | None]]


def class_distances(
    text: Array, image: Array, labels: Array, has_text: Array, has_image: Array
) -> Distances:
    """Mean distances between posts, by modality and by whether they share their label.

    Source: Wu & Li 2026, arXiv 2602.20767, introduction: the distances between pictures (IID),
    between texts (TTD) and between pictures and texts (ITD) of the same class.
        mean of ||a_i / |a_i| - b_j / |b_j||| over the pairs (i, j) with y_i = y_j
    i != j within a modality; between them, a post's own picture and text are a pair too.
    Deviation: the same of pairs with y_i != y_j beside it, since vectors can come closer without
    labels coming apart. Of more than 2,000 posts that many are taken, evenly spaced.

    Args:
        text, image: (N, P) float, row i of one post; any norm, normalised inside; a vector of
            zeros stays one.
        labels: (N,) int. has_text, has_image: (N,) bool, the rows to look at.
    Returns: "image_image", "text_text", "image_text", each with "same_label" and
        "different_label", in [0, 2], None if there is no such pair.
    """
    chosen = np.arange(len(labels))
    if len(labels) > MAX_POSTS:
        chosen = np.linspace(0, len(labels) - 1, MAX_POSTS).round().astype(np.int64)
    sides = {
        "text": _Side.of(text[chosen], labels[chosen], has_text[chosen]),
        "image": _Side.of(image[chosen], labels[chosen], has_image[chosen]),
    }
    kinds = (("image", "image"), ("text", "text"), ("image", "text"))
    return {f"{one}_{other}": _mean_distances(sides[one], sides[other]) for one, other in kinds}


@dataclass(frozen=True)
class _Side:
    """One modality of n posts. vectors: (n, P), of norm 1. labels: (n,)."""

    vectors: Array
    labels: Array

    @classmethod
    def of(cls, vectors: Array, labels: Array, present: Array) -> "_Side":
        vectors = vectors[present].astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(vectors / np.where(norms > 0, norms, 1.0), labels[present])


def _mean_distances(one: _Side, other: _Side) -> dict[str, float | None]:
    """Mean over pairs by whether their labels agree; within a side, no post with itself."""
    sums, counts = np.zeros(2), np.zeros(2, dtype=np.int64)
    for start in range(0, len(one.labels), _CHUNK):
        rows = slice(start, start + _CHUNK)
        distances = cdist(one.vectors[rows], other.vectors)  # (n, m)
        same = one.labels[rows, None] == other.labels[None, :]
        pairs = np.stack([same, ~same])
        sums += np.where(pairs, distances, 0.0).sum(axis=(1, 2))
        counts += pairs.sum(axis=(1, 2))
    if one is other:
        counts[0] -= len(one.labels)  # at distance 0, so that the sum stays
    names = ("same_label", "different_label")
    totals = zip(names, sums.tolist(), counts.tolist(), strict=True)
    return {name: total / count if count else None for name, total, count in totals}


def mean_over_seeds(each: Sequence[Mapping[str, Mapping[str, float | None]]]) -> Distances:
    """The mean of every number of several classifiers' distances, on the same posts."""
    return {
        kind: {
            pairs: None if value is None else float(np.mean([one[kind][pairs] for one in each]))
            for pairs, value in numbers.items()
        }
        for kind, numbers in each[0].items()
    }
