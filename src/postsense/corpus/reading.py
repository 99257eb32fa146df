"""A corpus on disk: posts, their comments and the vectors of both, found by number.

corpus.json         what it is and how it was built; written last, so it marks the corpus as whole
posts.lance/        a row a post: number, id, text, picture's path, comments and their vectors, keys
vectors/            picture and text vectors of the posts, memory-mapped
centers.safetensors the mean vectors that were subtracted from them
bad_rows.jsonl      posts that could not be used, and why
.build/             only while the corpus is unfinished
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load_file

from postsense.corpus.language import missing_extra
from postsense.corpus.manifest import Manifest, read_manifest
from postsense.corpus.vectors import PostVectors
from postsense.errors import CorpusError
from postsense.posts import SCHEMA, Posts

Array = np.ndarray[Any, Any]
POSTS, VECTORS, CENTERS, BAD_ROWS, WORK = (
    "posts.lance",
    "vectors",
    "centers.safetensors",
    "bad_rows.jsonl",
    ".build",
)
_REBUILD = "Build the corpus again."


@dataclass(frozen=True)
class CorpusComment:
    """A comment and its vector, (Dt,) float32 of length 1, not centered."""

    text: str
    vector: Array


@dataclass(frozen=True)
class Keys:
    """What tells posts apart, one item a post that is not removed, by number.

    text_key, image_key: 16 bytes, see deduplication.text_key and picture_key; None: has none.
    """

    number: Array
    id: list[str]
    text_key: list[bytes | None]
    image_key: list[bytes | None]


class Corpus:
    """The posts of a corpus as they were when it was opened.

    text_center: (Dt,) and image_center: (Di,) float32. numbers: (n,) int64, ascending, of all
    posts that are not removed. version: grows with every change of the posts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, read_manifest(folder)
        self._posts = open_posts(folder)
        self.version = int(self._posts.version)
        self.text_center, self.image_center = _read_centers(folder, self.manifest)
        self.numbers: Array = self.column("number").to_numpy()
        self._vectors = PostVectors(folder / VECTORS)
        self._check()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def text_dim(self) -> int:
        """Dt, the width of a text vector."""
        return self.manifest.text_dim

    @property
    def image_dim(self) -> int:
        """Di, the width of a picture vector."""
        return self.manifest.image_dim

    @property
    def fingerprint(self) -> bytes:
        """Bytes that change with the posts: others built, some added or removed."""
        return self.manifest.id.encode() + blake2b(self.numbers.tobytes()).digest()

    def vectors(self, numbers: Array) -> tuple[Array, Array]:
        """Picture vectors (m, Di) and text vectors (m, Dt) float16, in the order asked.

        They are of length 1 after the center was subtracted; zeros where a post lacks the modality.
        """
        self._refuse_unknown(numbers)
        taken = self._vectors.take(np.asarray(numbers, np.int64))
        return taken[:, : self.image_dim], taken[:, self.image_dim :]

    def posts(self, numbers: Array) -> Posts:
        """The posts of these numbers, in the order asked."""
        names = ("id", "text", "image", "comments", "created_at")
        taken = self.take(numbers, names)
        columns = [
            taken[field.name].cast(field.type)
            if field.name in names
            else pa.nulls(len(taken), field.type)
            for field in SCHEMA
        ]
        return Posts(pa.Table.from_arrays(columns, schema=SCHEMA), str(self.folder))

    def comments(self, numbers: Array) -> list[list[CorpusComment]]:
        """The comments of each post and their vectors, in the order asked."""
        taken = self.take(numbers, ("comments", "comment_vectors"))
        found: list[list[CorpusComment]] = []
        for batch in taken.to_batches():
            vectors = batch["comment_vectors"]
            flat = vectors.flatten().flatten().to_numpy().reshape(-1, self.text_dim)
            rows = iter(flat.astype(np.float32))
            for texts in batch["comments"].to_pylist():
                found.append([CorpusComment(text, next(rows)) for text in texts])
        return found

    def keys(self) -> Keys:
        """What tells the posts apart, to find those that another table holds as well."""
        columns = ("id", "text_key", "image_key")
        return Keys(self.numbers, *(self.column(name).to_pylist() for name in columns))

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns of posts.lance by number, in pieces that fit into memory."""
        scanner = self._posts.scanner(columns=list(columns), scan_in_order=True)
        yield from scanner.to_batches()

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of posts.lance by number."""
        return self._posts.to_table(columns=[name], scan_in_order=True)[name]

    def take(self, numbers: Array, columns: Sequence[str]) -> pa.Table:
        """Rows by number; Lance reads faster what is asked for once and in its own order."""
        self._refuse_unknown(numbers)
        asked, back = np.unique(np.asarray(numbers, np.int64), return_inverse=True)
        rows = np.searchsorted(self.numbers, asked)
        taken = self._posts.take(rows.tolist(), columns=list(columns))
        return taken.take(pa.array(back.ravel()))

    def _refuse_unknown(self, numbers: Array) -> None:
        unknown = (
            np.setdiff1d(numbers, self.numbers) if len(numbers) < 1000 else self._strange(numbers)
        )
        if len(unknown):
            found = f"{len(unknown)} others, the first {unknown[0]}"
            raise CorpusError(
                self.folder, "numbers of its posts", found, "Is the index from another corpus?"
            )

    def _strange(self, numbers: Array) -> Array:
        if not len(self):
            return numbers
        places = np.minimum(np.searchsorted(self.numbers, numbers), len(self) - 1)
        strange: Array = np.asarray(numbers)[self.numbers[places] != numbers]
        return strange

    def _check(self) -> None:
        """Refuse a corpus whose parts do not belong together."""
        width = self.text_dim + self.image_dim
        ascending = bool((np.diff(self.numbers) > 0).all())
        if not ascending or not self._vectors.holds(self.numbers):
            found = "posts out of order" if not ascending else "posts without one"
            raise CorpusError(self.folder / VECTORS, "a vector for every post", found, _REBUILD)
        if len(self) and self._vectors.dim != width:
            found = f"vectors of {self._vectors.dim} numbers"
            raise CorpusError(self.folder / VECTORS, f"vectors of {width}", found, _REBUILD)


def open_corpus(folder: Path | str) -> Corpus:
    """Open a corpus that is whole.

    Raises: CorpusError: none there, half-built, damaged or of another format.
    """
    return Corpus(Path(folder))


def open_posts(folder: Path) -> Any:
    """The lance.LanceDataset of a corpus. Raises: CorpusError: missing or damaged."""
    lance, file = lance_module(), folder / POSTS
    try:
        return lance.dataset(str(file))
    except (ValueError, OSError, RuntimeError) as error:
        found = str(error).splitlines()[0] if file.exists() else "no such folder"
        raise CorpusError(file, "a Lance dataset of posts", found, _REBUILD) from None


def lance_module() -> Any:
    """The module `lance`. Raises: CorpusError: it is not installed."""
    try:
        import lance
    except ImportError:
        raise missing_extra("pylance") from None
    return lance


def _read_centers(folder: Path, manifest: Manifest) -> tuple[Array, Array]:
    file = folder / CENTERS
    try:
        centers = load_file(file)
        text, image = centers["text"], centers["image"]
    except (OSError, SafetensorError, KeyError) as error:
        raise CorpusError(file, "the centers of the vectors", str(error), _REBUILD) from None
    if (len(text), len(image)) != (manifest.text_dim, manifest.image_dim):
        found = f"{len(text)} and {len(image)}"
        expected = f"centers of {manifest.text_dim} and {manifest.image_dim} numbers"
        raise CorpusError(file, expected, found, _REBUILD)
    return text, image
