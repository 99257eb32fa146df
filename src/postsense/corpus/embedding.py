"""Posts and their comments → vectors, by frozen encoders that keep what they computed on disk."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from postsense.arrays import Array
from postsense.config import EncoderSettings
from postsense.corpus.manifest import Manifest
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.features import FeatureColumn
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.encoders.open_encoders import OpenEncoders
from postsense.errors import CorpusError, PictureError
from postsense.parallel.processes import available_cores
from postsense.posts import SCHEMA, Posts
from postsense.progress import Progress, silent

_CHUNK = 8192  # vectors in memory at a time


@dataclass(frozen=True)
class CorpusEncoders:
    """The two encoders of a corpus."""

    text: FrozenTextEncoder
    image: FrozenImageEncoder
    threads: int


@dataclass(frozen=True)
class Features:
    """What posts were encoded to. comments: of all posts' comments, one after the other.

    bad: pictures that cannot be used, by position of the post.
    """

    text: FeatureColumn
    image: FeatureColumn
    comments: FeatureColumn
    bad: dict[int, PictureError]


def encoding_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_encoders(settings: EncoderSettings, opened: OpenEncoders | None = None) -> CorpusEncoders:
    """The encoders that the settings name, on the GPU if there is one.

    opened: those that are open; None: they are opened.
    Raises: EncoderError: one cannot be found.
    """
    opened = OpenEncoders() if opened is None else opened
    device = encoding_device()
    cores = settings.threads or available_cores()
    threads = cores if device.type == "cpu" else 1
    return CorpusEncoders(opened.text(settings, device), opened.image(settings, device), threads)


def encoders_of(manifest: Manifest, opened: OpenEncoders | None = None) -> CorpusEncoders:
    """The encoders that a corpus was built with.

    opened: as of `open_encoders`.
    Raises: CorpusError: one has changed since. EncoderError: one cannot be found.
    """
    settings = manifest.settings.encoders
    encoders = open_encoders(settings, opened)
    for kind, built, found in (
        ("text", manifest.text_key, encoders.text.key),
        ("image", manifest.image_key, encoders.image.key),
    ):
        if built != found:
            raise CorpusError(
                f"encoders.{kind}",
                f"the encoder of the corpus, '{built}'",
                f"'{found}' under the name '{getattr(settings, kind).name}'",
                "Restore its files, or build the corpus again.",
            )
    return encoders


def encode_posts(
    table: pa.Table, encoders: CorpusEncoders, progress: Progress = silent
) -> Features:
    """The features of texts, pictures and comments; what was seen before is not computed."""
    posts = _as_posts(table["text"], table["image"])
    flat = pa.chunked_array([part.flatten() for part in table["comments"].chunks], pa.string())
    comments = _as_posts(flat, pa.chunked_array([pa.nulls(len(flat), pa.string())]))
    text = encode_texts(
        posts, encoders.text, with_tokens=False, threads=encoders.threads, progress=progress
    )
    image, bad = encode_pictures(
        posts, encoders.image, with_tokens=False, threads=encoders.threads, progress=progress
    )
    said = encode_texts(
        comments,
        encoders.text,
        with_tokens=False,
        threads=encoders.threads,
        progress=_renamed(progress, "encode comments"),
    )
    return Features(text, image, said, bad)


def mean_vector(column: FeatureColumn) -> Array:
    """The mean of the vectors of those that have one; zeros if none has. Returns (D,) float32."""
    total, count = np.zeros(column.store.dim), 0
    for rows in _chunks(column.rows[column.rows >= 0]):
        total += column.store.pooled(rows).sum(axis=0, dtype=np.float64)
        count += len(rows)
    return (total / max(count, 1)).astype(np.float32)


def unit_vectors(pooled: Array, present: Array, center: Array | None = None) -> Array:
    """The vectors from the center on, each of length 1; zeros where there is none.

    Source: Mu and Viswanath 2018, All-but-the-Top, without the removal of principal directions:
    pooled vectors share a large mean, which makes all of them look alike.

    Args:
        pooled: (N, D) float. present: (N,) bool. center: (D,); None: the origin.
    Returns: (N, D) float32.
    """
    shifted = np.asarray(pooled, np.float32) - (0.0 if center is None else center)
    shifted *= np.asarray(present, bool)[:, None]
    lengths = np.linalg.norm(shifted, axis=1, keepdims=True)
    return np.asarray(shifted / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def column_vectors(column: FeatureColumn, start: int, stop: int, center: Array | None) -> Array:
    """The unit vectors of a stretch of a column, (stop - start, D) float16."""
    rows = column.rows[start:stop]
    return unit_vectors(column.store.pooled(rows), rows >= 0, center).astype(np.float16)


def _chunks(rows: Array) -> Iterator[Array]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


def _as_posts(texts: pa.ChunkedArray, images: pa.ChunkedArray) -> Posts:
    given = {"text": texts, "image": images}
    columns = [given.get(field.name, pa.nulls(len(texts), field.type)) for field in SCHEMA]
    return Posts(pa.Table.from_arrays(columns, schema=SCHEMA), "corpus")


def _renamed(progress: Progress, name: str) -> Progress:
    def tell(step: str, done: int, total: int) -> None:
        progress(name, done, total)

    return tell
