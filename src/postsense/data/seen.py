"""Which posts a classifier has seen, by hashes of their content, which hold no text."""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from postsense.arrays import Array
from postsense.data.images import read_picture
from postsense.errors import PictureError
from postsense.parallel.processes import available_cores
from postsense.posts import Posts

NO_CONTENT: Final = 0
_PERSON: Final = b"postsense seen"


@dataclass(frozen=True)
class Seen:
    """Content keys, (n,) int64, ascending, of what training saw.

    trained: posts learned from with their labels, or with soft labels of a teacher. selected: those
    whose labels chose the epoch, or named the clusters. grouped: posts learned from without any
    label. tested: posts that were kept for the end, and not seen.
    """

    trained: Array
    selected: Array
    grouped: Array
    tested: Array

    @classmethod
    def of(cls, **keys: Array) -> "Seen":
        """Of the keys of posts in any order, with repetitions and posts without content."""
        return cls(**{name: np.setdiff1d(values, [NO_CONTENT]) for name, values in keys.items()})


def joined_seen(each: Sequence[Seen | None]) -> Seen | None:
    """What any of several classifiers has seen; None if that is not known of one of them."""
    known = [one for one in each if one is not None]
    if len(known) < len(each):
        return None
    names = ("trained", "selected", "grouped", "tested")
    return Seen.of(
        **{name: np.concatenate([getattr(one, name) for one in known]) for name in names}
    )


def content_keys(posts: Posts, *, text: bool, picture: bool) -> Array:
    """A 64-bit key (N,) int64 of each post's words and picture file, where a model reads these.

    Labels and ids do not count, nor where a picture lies and how words are spaced. A picture that
    cannot be read counts by its path. NO_CONTENT: the post has neither.
    """
    texts = posts.column("text") if text else [None] * len(posts)
    paths = posts.column("image") if picture else [None] * len(posts)
    if picture:  # of pictures that only their regions tell of, the regions
        paths = [own or other for own, other in zip(paths, posts.column("regions"), strict=True)]
    digests = _digests({path for path in paths if path is not None})
    keys = [
        _key(words, None if path is None else digests[path])
        for words, path in zip(texts, paths, strict=True)
    ]
    return np.array(keys, dtype=np.int64)


def _key(text: str | None, picture: bytes | None) -> int:
    if text is None and picture is None:
        return NO_CONTENT
    words = b"" if text is None else b"\1" + _spaced(text).encode()
    content = words + (b"" if picture is None else b"\2" + picture)
    digest = hashlib.blake2b(content, digest_size=8, person=_PERSON).digest()
    return int.from_bytes(digest, "big", signed=True) or 1


def _spaced(text: str) -> str:
    """The text as it is in whatever table: composed, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _digests(paths: Iterable[str]) -> dict[str, bytes]:
    """A hash of each file's bytes, or of its path if it cannot be read."""
    ordered = sorted(paths)
    with ThreadPoolExecutor(available_cores()) as threads:
        return dict(zip(ordered, threads.map(_digest, ordered), strict=True))


def _digest(path: str) -> bytes:
    try:
        data = read_picture(path)
    except PictureError:
        data = path.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()
