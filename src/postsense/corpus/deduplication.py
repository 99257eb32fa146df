"""Posts in their order → which of them say and show the same as an earlier one that stays."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from postsense.arrays import Array
from postsense.data.anonymization import anonymize
from postsense.data.duplicates import (
    MAX_BITS,
    MAX_BITS_DOWN,
    MIN_JACCARD,
    MIN_WORDS,
    Fingerprint,
    clean_text,
    similar_hashes,
    similar_sets,
)

_NO_PICTURE = -1


@dataclass(frozen=True)
class Traits:
    """What posts are compared by, one item a post.

    words: clean_text of its text, "" without one. pictures: picture_key, None without one.
    hashes: picture_hash, None also where a picture has none.
    """

    words: Sequence[str]
    pictures: Sequence[bytes | None]
    hashes: Sequence[bytes | None]

    def __len__(self) -> int:
        return len(self.words)

    def after(self, earlier: "Traits") -> "Traits":
        """The traits of earlier posts and then of these."""
        return Traits(
            [*earlier.words, *self.words],
            [*earlier.pictures, *self.pictures],
            [*earlier.hashes, *self.hashes],
        )


def text_key(text: str | None) -> bytes | None:
    """128 bits of a post's words, raw or anonymised; None: too few of them to tell posts apart."""
    return words_key(clean_text(anonymize(text))) if text is not None else None


def words_key(words: str) -> bytes | None:
    """text_key of what clean_text gave."""
    enough = words.count(" ") + 1 >= MIN_WORDS
    return hashlib.blake2b(words.encode(), digest_size=16).digest() if enough else None


def picture_key(data: bytes) -> bytes:
    """128 bits of the bytes of a picture file."""
    return hashlib.blake2b(data, digest_size=16).digest()


def picture_hash(fingerprint: Fingerprint | None) -> bytes | None:
    """The two 64-bit hashes of how a picture looks; None: too plain to be told from others."""
    if fingerprint is None or fingerprint.is_plain:
        return None
    return fingerprint.across.to_bytes(8, "big") + fingerprint.down.to_bytes(8, "big")


def earlier_twins(posts: Traits, known: int = 0) -> Array:
    """For each post the first earlier one that stays and says and shows the same, or -1.

    Source: ours. A post matches another if both pictures are the same or look the same, or both
    lack one, and the words are the same or share MIN_JACCARD of their set; fewer than MIN_WORDS
    words match only if they are the same and so is the picture. A post goes only if it matches one
    that stays: through thousands of slightly changed copies, chains would join what is unlike.

    Args:
        known: so many posts at the start stay in any case.
    Returns: (N,) int64.
    """
    texts, text_of = _distinct(posts.words)
    looks, picture_of = _distinct(_looks(posts))
    like_text = _neighbors(_similar_texts(texts))
    like_picture = _neighbors(_similar_pictures(looks))
    long_enough = [words.count(" ") + 1 >= MIN_WORDS for words in texts]
    seen = _Kept()
    twins = np.full(len(posts), -1, np.int64)
    for post, (text, picture) in enumerate(zip(text_of, picture_of, strict=True)):
        if picture == _NO_PICTURE and not long_enough[text]:
            continue
        pairs = ((t, p) for t in like_text[text] for p in like_picture[picture])
        twin = seen.first(pairs) if post >= known else -1
        twins[post] = twin
        if twin < 0:
            seen.posts.setdefault((text, picture), post)
    return twins


@dataclass
class _Kept:
    """The first post that stays of each pair of text and picture."""

    posts: dict[tuple[int, int], int] = field(default_factory=dict)

    def first(self, pairs: Any) -> int:
        return min((self.posts[pair] for pair in pairs if pair in self.posts), default=-1)


class _Neighbors(dict[int, list[int]]):
    """Numbers by number; everything is its own neighbor."""

    def __missing__(self, number: int) -> list[int]:
        return [number]


def _neighbors(pairs: Array) -> _Neighbors:
    found = _Neighbors()
    for left, right in pairs.tolist():
        found.setdefault(left, [left]).append(right)
        found.setdefault(right, [right]).append(left)
    return found


def _distinct(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """The values without repetition and None, and for each the place of its own; -1 for None."""
    places: dict[Any, int] = {}
    found = [-1 if value is None else places.setdefault(value, len(places)) for value in values]
    return list(places), found


def _similar_texts(texts: Sequence[str]) -> Array:
    words = [text.split() for text in texts]
    long_enough = np.array(
        [n for n, found in enumerate(words) if len(found) >= MIN_WORDS], np.int64
    )
    pairs = similar_sets([words[number] for number in long_enough.tolist()], MIN_JACCARD)
    return long_enough[pairs]


def _looks(posts: Traits) -> list[tuple[bytes, bool] | None]:
    """What tells each post's picture from others: its first hash, else its bytes, and which it is.

    Thousands of pictures with one hash are one, and not each compared with each.
    """
    hash_of: dict[bytes, bytes] = {}
    for picture, look in zip(posts.pictures, posts.hashes, strict=True):
        if picture is not None and look is not None:
            hash_of.setdefault(picture, look)
    return [
        None if own is None else (hash_of.get(own, own), own in hash_of) for own in posts.pictures
    ]


def _similar_pictures(looks: Sequence[tuple[bytes, bool]]) -> Array:
    hashes = {number: look for number, (look, is_hash) in enumerate(looks) if is_hash}
    numbers = np.array(list(hashes), np.int64)
    halves = np.frombuffer(b"".join(hashes.values()), ">u8").astype(np.uint64).reshape(-1, 2)
    pairs = similar_hashes(halves[:, 0].copy(), MAX_BITS)
    down = halves[:, 1]
    different = np.bitwise_count(down[pairs[:, 0]] ^ down[pairs[:, 1]])
    similar: Array = numbers[pairs[different <= MAX_BITS_DOWN]]
    return similar
