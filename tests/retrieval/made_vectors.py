"""Vectors of made-up posts that lie in groups, in memory, and a slow exact search of them."""

from dataclasses import dataclass, field

import numpy as np

IMAGE_DIM, TEXT_DIM = 24, 16


@dataclass
class MadeSource:
    """A VectorSource of arrays; numbers may have gaps."""

    image: np.ndarray
    text: np.ndarray
    numbers: np.ndarray
    read: list[int] = field(default_factory=list)  # how many posts each call asked for

    @property
    def image_dim(self) -> int:
        return self.image.shape[1]

    @property
    def text_dim(self) -> int:
        return self.text.shape[1]

    def vectors(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.searchsorted(self.numbers, numbers)
        assert np.array_equal(self.numbers[rows], numbers), "asked for a post that is not there"
        self.read.append(len(numbers))
        return self.image[rows], self.text[rows]

    def keep(self, rows: np.ndarray) -> "MadeSource":
        return MadeSource(self.image[rows], self.text[rows], self.numbers[rows])


def unit_vectors(count: int, dim: int, generator: np.random.Generator) -> np.ndarray:
    """(count, dim) float32 of length 1, around 30 directions."""
    directions = np.random.default_rng(dim).standard_normal((30, dim))
    vectors = directions[generator.integers(30, size=count)]
    vectors = vectors + 0.7 * generator.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_source(count: int, seed: int = 0, missing: float = 0.1) -> MadeSource:
    """Posts 0, 1, ...; a share of them lacks the picture, as many others the text."""
    generator = np.random.default_rng(seed)
    image = unit_vectors(count, IMAGE_DIM, generator).astype(np.float16)
    text = unit_vectors(count, TEXT_DIM, generator).astype(np.float16)
    lot = generator.random(count)
    image[lot < missing], text[lot > 1 - missing] = 0, 0
    return MadeSource(image, text, np.arange(count))


def make_queries(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """image, text, alpha of queries; the first lacks its picture, the second its text."""
    generator = np.random.default_rng(seed)
    image = unit_vectors(count, IMAGE_DIM, generator)
    text = unit_vectors(count, TEXT_DIM, generator)
    image[0], text[1:2] = 0, 0
    return image, text, generator.random(count).astype(np.float32)


def slow_scores(
    source: MadeSource, image: np.ndarray, text: np.ndarray, alpha: float
) -> np.ndarray:
    """The fused score of one query and each post, in double precision, term by term."""
    if not image.any():
        alpha = 0.0
    elif not text.any():
        alpha = 1.0
    scores = []
    for post_image, post_text in zip(source.image.astype(float), source.text.astype(float)):
        scores.append(alpha * sum(image * post_image) + (1 - alpha) * sum(text * post_text))
    return np.array(scores)
