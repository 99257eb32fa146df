"""Posts → how a corpus sees them: vectors in its space, and keys that betray duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postsense.arrays import Array
from postsense.corpus.deduplication import picture_key, text_key
from postsense.corpus.embedding import encoders_of, unit_vectors
from postsense.corpus.reading import Corpus
from postsense.data.anonymization import anonymize
from postsense.data.images import read_picture
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.features import FeatureColumn
from postsense.encoders.open_encoders import OpenEncoders
from postsense.errors import PictureError
from postsense.posts import Posts, posts_of_texts
from postsense.progress import Progress, silent


@dataclass(frozen=True)
class Queries:
    """N posts that look for others.

    image: (N, Di), text: (N, Dt) float32, centred unit vectors, zero where a post lacks the
    modality. ids, texts (anonymised), text_keys, image_keys: (N,) objects; keys are None where
    there is nothing to compare. An id alone makes no duplicate, since many tables count from 0: the
    words must be the same, however few.
    """

    image: Array
    text: Array
    ids: Array
    texts: Array
    text_keys: Array
    image_keys: Array

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def empty(self) -> Array:
        """(N,) bool: neither words nor a readable picture; such a post finds nothing."""
        empty: Array = ~np.logical_or(self.image.any(axis=1), self.text.any(axis=1))
        return empty

    def take(self, rows: Array) -> "Queries":
        """The queries at these positions."""
        return Queries(**{name: values[rows] for name, values in vars(self).items()})


def embed_queries(
    posts: Posts, corpus: Corpus, progress: Progress = silent, opened: OpenEncoders | None = None
) -> Queries:
    """The posts in the vector space of the corpus, through the encoders it was built with.

    Words are anonymised as the corpus's were. A picture that cannot be read counts as none.
    opened: encoders that are open; None: those of the corpus are opened.
    Raises: CorpusError: an encoder of the corpus has changed since, or cannot be found.
    """
    encoders = encoders_of(corpus.manifest, opened)
    texts = [None if text is None else anonymize(text) for text in posts.column("text")]
    words = encode_texts(
        posts_of_texts(texts, posts.name),
        encoders.text,
        with_tokens=False,
        threads=encoders.threads,
        progress=progress,
    )
    pictures, _ = encode_pictures(
        posts, encoders.image, with_tokens=False, threads=encoders.threads, progress=progress
    )
    return Queries(
        image=_unit(pictures, corpus.image_center),
        text=_unit(words, corpus.text_center),
        ids=_objects(posts.column("id")),
        texts=_objects(texts),
        text_keys=_objects([text_key(text) for text in posts.column("text")]),
        image_keys=_objects([_picture_key(path) for path in posts.column("image")]),
    )


def embed_words(texts: Sequence[str], corpus: Corpus, opened: OpenEncoders | None = None) -> Array:
    """Unit vectors (n, Dt) of texts as the corpus has its comments: not centred."""
    encoders = encoders_of(corpus.manifest, opened)
    column = encode_texts(
        posts_of_texts(texts, "words"), encoders.text, with_tokens=False, threads=encoders.threads
    )
    return unit_vectors(column.store.pooled(column.rows), column.rows >= 0)


def _unit(column: FeatureColumn, center: Array) -> Array:
    return unit_vectors(column.store.pooled(column.rows), column.rows >= 0, center)


def _picture_key(path: str | None) -> bytes | None:
    try:
        return None if path is None else picture_key(read_picture(path))
    except PictureError:
        return None


def _objects(values: Sequence[object]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
