"""A corpus on disk: posts, their comments and the vectors of both, found by number.

corpus.json         what it is and how it was built; written last, so it marks the corpus as whole
posts.lance/        a row a post: number, id, text, picture's path, comments and their vectors, keys
vectors/            picture and text vectors of the posts, memory-mapped
posts.seals.json    digests of the files of posts.lance
centers.safetensors the mean vectors that were subtracted from them
bad_rows.jsonl      posts that could not be used, and why
.build/             only while the corpus is unfinished

What is read is checked against the checksums that were written with it. A corpus may be read while
a command changes it: it is seen as it was before, or as it is after.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa

from postsense.arrays import Array
from postsense.corpus.checksums import (
    SUMS,
    VECTOR_SUM,
    changed_row,
    numbers_digest,
    vector_sums,
)
from postsense.corpus.manifest import NAME, read_manifest
from postsense.corpus.parts import (
    POSTS,
    RESTORE,
    VECTORS,
    lance_module,
    open_posts,
    read_centers,
    reading_posts,
    traces,
)
from postsense.corpus.vectors import PostVectors, places_of
from postsense.errors import CorpusError
from postsense.posts import SCHEMA, Posts

__all__ = ["Corpus", "CorpusComment", "Keys", "lance_module", "open_corpus"]
_BLOCK = 8192  # posts whose vectors are in memory at a time
_TRIES = 20  # to find the corpus between two changes


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
        self._posts = open_posts(folder, self.manifest.text_dim)
        self.version = int(self._posts.version)
        self.has_sums = {SUMS, VECTOR_SUM} <= set(self._posts.schema.names)
        self.text_center, self.image_center = read_centers(folder, self.manifest)
        with reading_posts(self.folder, self.version):
            numbers = self._posts.to_table(columns=["number"], scan_in_order=True)["number"]
            self.numbers: Array = numbers.fill_null(-1).to_numpy()
        self._vectors = PostVectors(folder / VECTORS)
        self._vector_sums: Array | None = None
        self._sound = np.zeros(len(self.numbers), bool)  # posts whose vectors were checked
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
        numbers = np.asarray(numbers, np.int64)
        rows = self._rows(numbers)
        taken = self._vectors.take(numbers)
        if self.has_sums:
            self._check_vectors(taken, rows)
        return taken[:, : self.image_dim], taken[:, self.image_dim :]

    def close(self) -> None:
        """Let go of the vectors' files, so that they can be deleted; no vector is found then."""
        self._vectors.close()

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
        start = 0
        with reading_posts(self.folder, self.version):
            scanner = self._posts.scanner(columns=self._with_sums(columns), scan_in_order=True)
            for batch in scanner.to_batches():
                self._check_rows(batch, self.numbers[start : start + len(batch)])
                start += len(batch)
                yield batch.select(list(columns))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of posts.lance by number."""
        kind = self._posts.schema.field(name).type
        return pa.chunked_array([batch[name] for batch in self.batches([name])], kind)

    def take(self, numbers: Array, columns: Sequence[str]) -> pa.Table:
        """Rows by number; Lance reads faster what is asked for once and in its own order."""
        asked, back = np.unique(np.asarray(numbers, np.int64), return_inverse=True)
        rows = self._rows(asked)
        with reading_posts(self.folder, self.version):
            taken = self._posts.take(rows.tolist(), columns=self._with_sums(columns))
            for batch in taken.combine_chunks().to_batches():
                self._check_rows(batch, asked)
        return taken.select(list(columns)).take(pa.array(back.ravel()))

    def verify(self) -> None:
        """Read all of it. Raises: CorpusError: something is not as it was written."""
        columns = [name for name in self._posts.schema.names if name not in (SUMS, VECTOR_SUM)]
        for _ in self.batches(columns):
            pass
        for start in range(0, len(self), _BLOCK):
            self.vectors(self.numbers[start : start + _BLOCK])

    def _with_sums(self, columns: Sequence[str]) -> list[str]:
        return [*columns, SUMS] if self.has_sums else list(columns)

    def _check_rows(self, batch: pa.RecordBatch, numbers: Array) -> None:
        changed = changed_row(batch, numbers, self.manifest.id) if self.has_sums else None
        if changed is not None:
            found = f"another '{changed[1]}' of post {changed[0]}"
            raise CorpusError(self.folder / POSTS, "posts as they were written", found, RESTORE)

    def _check_vectors(self, taken: Array, rows: Array) -> None:
        """Refuse vectors that are not as they were written; each is looked at once."""
        fresh = np.flatnonzero(~self._sound[rows])
        if not len(fresh):
            return
        if self._vector_sums is None:
            self._vector_sums = self.column(VECTOR_SUM).to_numpy()
        rows = rows[fresh]
        sums = vector_sums(taken[fresh], self.numbers[rows], self.manifest.id)
        wrong = rows[sums != self._vector_sums[rows]]
        if len(wrong):
            found = f"another of post {self.numbers[wrong[0]]}"
            raise CorpusError(self.folder / VECTORS, "vectors as they were written", found, RESTORE)
        self._sound[rows] = True

    def _rows(self, numbers: Array) -> Array:
        """Where the posts of these numbers stand. Raises: CorpusError: it has not all of them."""
        rows = places_of(self.numbers, numbers)
        unknown = numbers[rows < 0]
        if len(unknown):
            found = f"{len(unknown)} others, the first {unknown[0]}"
            raise CorpusError(
                self.folder, "numbers of its posts", found, "Is the index from another corpus?"
            )
        return rows

    def _check(self) -> None:
        """Refuse a corpus whose parts do not belong together."""
        width = self.text_dim + self.image_dim
        states = self.manifest.states
        if states and not (self.has_sums and numbers_digest(self.numbers) in states):
            found = f"{len(self)} others, or without checksums"
            raise CorpusError(self.folder / POSTS, f"the posts of {NAME}", found, RESTORE)
        ascending = bool((np.diff(self.numbers) > 0).all())
        if not ascending or not self._vectors.holds(self.numbers):
            found = "posts out of order" if not ascending else "posts without one"
            raise CorpusError(self.folder / VECTORS, "a vector for every post", found, RESTORE)
        if len(self) and self._vectors.dim != width:
            found = f"vectors of {self._vectors.dim} numbers"
            raise CorpusError(self.folder / VECTORS, f"vectors of {width}", found, RESTORE)


def open_corpus(folder: Path | str) -> Corpus:
    """Open a corpus that is whole.

    Raises: CorpusError: none there, half-built, damaged or of another format.
    """
    for _ in range(_TRIES):
        before = traces(Path(folder))
        try:
            return Corpus(Path(folder))
        except CorpusError:
            if traces(Path(folder)) == before:  # it is not that a command changed it meanwhile
                raise
    return Corpus(Path(folder))
