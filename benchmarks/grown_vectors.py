"""Vectors of as many posts as wanted, grown from those of real posts, in files mapped into memory.

A grown picture vector is a mixture of two real ones, in a random proportion, plus noise; a grown
text vector likewise, of two other posts: in real posts, pictures and words correlate weakly.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from postsense.config import EncoderSettings
from postsense.data.loading import load_posts
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder

NOISE = 0.3  # its length; the mixture's is 1
BLOCK = 20_000


@dataclass(frozen=True)
class RealVectors:
    """Centered vectors of length 1 of real posts: (N, Di) and (N, Dt) float32."""

    image: np.ndarray
    text: np.ndarray


@dataclass(frozen=True)
class GrownSource:
    """A VectorSource of two memory-mapped arrays, (n, Di) and (n, Dt) float16."""

    image: np.ndarray
    text: np.ndarray
    numbers: np.ndarray

    @property
    def image_dim(self) -> int:
        return int(self.image.shape[1])

    @property
    def text_dim(self) -> int:
        return int(self.text.shape[1])

    def vectors(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A source's vectors; numbers are rows here."""
        if len(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1:
            rows = slice(int(numbers[0]), int(numbers[-1]) + 1)
            return self.image[rows], self.text[rows]
        return self.image[numbers], self.text[numbers]


def real_vectors(folder: Path, threads: int) -> RealVectors:
    """The vectors of the posts in folder/posts.jsonl by the built-in encoders."""
    posts, device = load_posts(folder / "posts.jsonl"), torch.device("cpu")
    settings = EncoderSettings()
    words, pictures = FrozenTextEncoder(settings, device), FrozenImageEncoder(settings, device)
    text = encode_texts(posts, words, with_tokens=False, threads=threads)
    image, _ = encode_pictures(posts, pictures, with_tokens=False, threads=threads)
    usable = np.flatnonzero((text.rows >= 0) & (image.rows >= 0))
    return RealVectors(
        *(_centered(column.batch(usable).pooled.numpy()) for column in (image, text))
    )


def grow_source(real: RealVectors, count: int, folder: Path, seed: int = 0) -> GrownSource:
    """Write count grown posts into folder, in blocks, and map them into memory."""
    generator = np.random.default_rng(seed)
    arrays = []
    for name, vectors in (("image", real.image), ("text", real.text)):
        shape = (count, vectors.shape[1])
        array = np.lib.format.open_memmap(
            folder / f"{name}-{count}.npy", mode="w+", dtype=np.float16, shape=shape
        )
        for start in range(0, count, BLOCK):
            size = min(BLOCK, count - start)
            array[start : start + size] = grow_vectors(vectors, size, generator)
        array.flush()
        arrays.append(np.load(folder / f"{name}-{count}.npy", mmap_mode="r"))
    return GrownSource(arrays[0], arrays[1], np.arange(count))


def grow_vectors(real: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, D) float32 of length 1: mixtures of two rows of real, plus noise."""
    share = generator.random((count, 1), dtype=np.float32)
    one, other = generator.integers(len(real), size=(2, count))
    mixed = _unit(share * real[one] + (1 - share) * real[other])
    noise = generator.standard_normal(mixed.shape, dtype=np.float32)
    return _unit(mixed + noise * np.float32(NOISE / np.sqrt(mixed.shape[1])))


def _centered(vectors: np.ndarray) -> np.ndarray:
    return _unit(vectors - vectors.mean(axis=0))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
