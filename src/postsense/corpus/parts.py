"""The parts of a corpus on disk, opened; what Lance cannot read is said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load

from postsense.arrays import Array
from postsense.corpus.checksums import COMMENT_VECTORS, file_digest
from postsense.corpus.manifest import NAME, Manifest
from postsense.corpus.seals import check_seals
from postsense.corpus.selection import SELECTED
from postsense.errors import CorpusError
from postsense.extras import brought_by
from postsense.files.regular import UnreadableFileError, read_regular

POSTS, VECTORS, CENTERS, BAD_ROWS, WORK = (
    "posts.lance",
    "vectors",
    "centers.safetensors",
    "bad_rows.jsonl",
    ".build",
)
RESTORE = "Build the corpus again, or restore it from a copy."
_LARGEST_CENTERS = 2**20  # bytes


def open_posts(folder: Path, text_dim: int) -> Any:
    """The lance.LanceDataset of a corpus. Raises: CorpusError: missing, damaged or another."""
    lance, file = lance_module(), folder / POSTS
    for part in file.rglob("*"):
        if not part.is_file() and not part.is_dir():  # to open a pipe would wait for ever
            raise CorpusError(part, "a regular file", "something else", RESTORE)
    check_seals(file, RESTORE)
    with _in_one_line(file):
        posts = lance.dataset(str(file))
        schema = posts.schema
    vectors = pa.list_(pa.list_(pa.float16(), text_dim))
    for name, kind in (
        ("number", pa.int64()),
        *((field.name, field.type) for field in SELECTED),
        (COMMENT_VECTORS, vectors),
    ):
        found = schema.field(name).type if name in schema.names else "none"
        if found != kind:
            raise CorpusError(file, f"a column '{name}' of {kind}", str(found), RESTORE)
    return posts


def refuse_links(folder: Path) -> None:
    """Raises: CorpusError: a part of the corpus is a link, through which others' files may go."""
    for part in folder.rglob("*"):
        if part.is_symlink():
            fix = "Put what it leads to in its place."
            raise CorpusError(part, "a file or folder of the corpus's own", "a link", fix)


def lance_module() -> Any:
    """The module `lance`. Raises: CorpusError: it is not installed."""
    with brought_by("corpus", "pylance"):
        import lance
    return lance


@contextmanager
def reading_posts(folder: Path, version: int) -> Iterator[None]:
    """While posts of this version are read.

    Raises: CorpusError: they are damaged, or a compaction has taken them off the disk meanwhile.
    """
    try:
        with _in_one_line(folder / POSTS):
            yield
    except CorpusError:
        if _newest_version(folder) <= version:
            raise
        found, fix = "that another command has compacted it", "Give the command again."
        raise CorpusError(folder, "a corpus that stays while it is read", found, fix) from None


def read_centers(folder: Path, manifest: Manifest) -> tuple[Array, Array]:
    """The centers of texts (Dt,) and pictures (Di,). Raises: CorpusError: missing or damaged."""
    file = folder / CENTERS
    try:
        data = read_regular(file, _LARGEST_CENTERS)
        centers = load(data)
        text, image = centers["text"], centers["image"]
    except UnreadableFileError as error:
        raise CorpusError(file, "the centers of the vectors", error.found, RESTORE) from None
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CorpusError(file, "the centers of the vectors", str(error), RESTORE) from None
    if manifest.centers and file_digest(data) != manifest.centers:
        raise CorpusError(file, "the file that was built", "a changed one", RESTORE)
    dims = ((manifest.text_dim,), (manifest.image_dim,))
    if (text.shape, image.shape) != dims or not _is_finite_single(text, image):
        expected = f"centers of {manifest.text_dim} and {manifest.image_dim} finite numbers"
        raise CorpusError(file, expected, f"{text.shape} and {image.shape}", RESTORE)
    return text, image


def traces(folder: Path) -> list[tuple[str, int]]:
    """What every command changes as it changes a corpus: names and times of files."""
    places = (folder / NAME, *folder.glob(f"{POSTS}/_versions/*"), *folder.glob(f"{VECTORS}/*"))
    found = []
    for place in places:
        try:
            found.append((place.name, place.stat().st_mtime_ns))
        except OSError:  # it has just gone
            found.append((place.name, 0))
    return sorted(found)


@contextmanager
def _in_one_line(file: Path) -> Iterator[None]:
    """Raises: CorpusError: Lance or Arrow could not read the posts."""
    try:
        yield
    except BaseException as error:  # a panic of Lance is no Exception
        known = (ValueError, OSError, RuntimeError, pa.ArrowException)
        if not isinstance(error, known) and type(error).__name__ != "PanicException":
            raise
        lines = str(error).splitlines() or [type(error).__name__]
        found = lines[0] if file.exists() else "no such folder"
        raise CorpusError(file, "a sound Lance dataset of posts", found, RESTORE) from None


def _newest_version(folder: Path) -> int:
    """The newest version of the posts; -1 if there is none to be read."""
    try:
        with _in_one_line(folder / POSTS):
            return int(lance_module().dataset(str(folder / POSTS)).version)
    except CorpusError:
        return -1


def _is_finite_single(*arrays: Array) -> bool:
    return all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays)
