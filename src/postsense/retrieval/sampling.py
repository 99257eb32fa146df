"""Draw posts that have a picture, or words, to learn from their vectors."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from postsense.arrays import Array
from postsense.retrieval.ranking import VectorSource

Modality = Literal["image", "text"]

ENOUGH = 1_000  # vectors; with fewer, all posts are looked at for more
BLOCK = 16_384  # posts whose vectors are in memory at a time


def draw_vectors(source: VectorSource, modality: Modality, count: int, seed: int) -> Array:
    """Vectors (m, D) float16 of posts drawn at random, those that have the modality.

    m is count at most; fewer than ENOUGH only if no more posts have it.
    """
    generator = np.random.default_rng(seed)
    drawn = _draw(source.numbers, count, generator)
    vectors = vectors_of(source, drawn, modality)
    present = vectors[vectors.any(axis=1)]
    if len(present) < min(ENOUGH, count) and len(drawn) < len(source.numbers):
        everyone = np.concatenate([numbers for numbers, _ in present_vectors(source, modality)])
        present = vectors_of(source, _draw(everyone, count, generator), modality)
    return present


def present_vectors(source: VectorSource, modality: Modality) -> Iterator[tuple[Array, Array]]:
    """Numbers and vectors (m, D) float16 of all posts that have the modality, in blocks."""
    for start in range(0, len(source.numbers), BLOCK):
        numbers = source.numbers[start : start + BLOCK]
        vectors = vectors_of(source, numbers, modality)
        there = vectors.any(axis=1)
        yield numbers[there], vectors[there]


def vectors_of(source: VectorSource, numbers: Array, modality: Modality) -> Array:
    """The vectors (m, D) float16 of one modality."""
    image, text = source.vectors(numbers)
    return image if modality == "image" else text


def _draw(numbers: Array, count: int, generator: np.random.Generator) -> Array:
    drawn = generator.choice(len(numbers), min(len(numbers), count), replace=False)
    return np.asarray(numbers[np.sort(drawn)])
