"""Texts and pictures of posts → groups of posts that say or show the same."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from postsense.data.images import PicturePolicy, decode_picture

Rows = NDArray[np.int64]
KINDS = ("same text", "similar text", "same picture", "similar picture")
MIN_WORDS = 4
MIN_JACCARD = 0.85
MAX_BITS = 3
MAX_BITS_DOWN = 8  # unlike pictures that agree across differ in 22 and more, of those seen
MIN_CONTRAST = 2.0  # standard deviation, grey levels of 255
MIN_CONTRASTING_CELLS = 20
_POLICY: Final = PicturePolicy(crop_px=72, squash=True)  # 72 = 8 * 9, so cells of whole pixels
_NOISE: Final = re.compile(r"(?:https?|\bwww\.|pic\.twitter\.com/)\S*|@\w+|<\w+>|\brt\b")
_NO_APOSTROPHES: Final = str.maketrans("", "", "'’")
_NOT_WORD: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of a picture to find it again: SHA-256 of its file and two 64-bit hashes of it.

    across, down: which of 8 x 8 cells are darker than the cell on their right, or below.
    is_plain: too few cells differ for the hashes to tell pictures apart.
    """

    sha256: bytes
    across: int
    down: int
    is_plain: bool


@dataclass(frozen=True)
class DuplicateGroups:
    """Posts joined by links, directly or through others.

    links: (L, 2) rows; enough of them to join each group, not all pairs in it. kinds: (L,) index
    into KINDS. groups: rows of each group of two posts or more, ascending, by their first row.
    """

    links: Rows
    kinds: Rows
    groups: tuple[Rows, ...]

    def group_kinds(self) -> list[tuple[str, ...]]:
        """For each group, why its posts are one group, in the order of KINDS."""
        group_of = {row: number for number, rows in enumerate(self.groups) for row in rows.tolist()}
        found: list[set[int]] = [set() for _ in self.groups]
        for row, kind in zip(self.links[:, 0].tolist(), self.kinds.tolist(), strict=True):
            found[group_of[row]].add(kind)
        return [tuple(KINDS[kind] for kind in sorted(kinds)) for kinds in found]


def clean_text(text: str) -> str:
    """The words alone: lower case, no links, mentions, `RT`, `#` or punctuation.

    Links cut short (`https…`) and placeholders (`<user>`, `HTTPURL`) go too.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_NO_APOSTROPHES)
    return _NOT_WORD.sub(" ", _NOISE.sub(" ", folded)).strip()


def fingerprint_picture(data: bytes, name: str) -> Fingerprint | None:
    """The fingerprint of a picture file; None if it is near-blank and so looks like any other.

    Source: Krawetz 2013, "Kind of Like That", difference hash.
    Deviation: cells differ by more than one grey level, so that noise on a plain ground sets no
        bit; a second hash downwards, since pictures with dark corners all look alike across.

    Args:
        name: where the bytes came from, for messages.
    Raises: PictureError: the bytes are not a whole picture.
    """
    grey = decode_picture(data, name, _POLICY).mean(axis=2, dtype=np.float32)  # (72, 72)
    if grey.std() < MIN_CONTRAST:
        return None
    across = np.diff(grey.reshape(8, 9, 9, 8).mean(axis=(1, 3)), axis=1)  # (8, 8)
    down = np.diff(grey.reshape(9, 8, 8, 9).mean(axis=(1, 3)), axis=0)  # (8, 8)
    is_plain = bool((abs(across) > 1).sum() < MIN_CONTRASTING_CELLS)
    return Fingerprint(hashlib.sha256(data).digest(), _bits(across), _bits(down), is_plain)


def find_duplicates(
    texts: Sequence[str | None], pictures: Sequence[Fingerprint | None]
) -> DuplicateGroups:
    """Group posts by equal or similar text or picture, without comparing all pairs.

    Source: ours. Texts are compared by clean_text: equal, or Jaccard index of their sets of words
    >= MIN_JACCARD; texts of fewer than MIN_WORDS words say too little to match. Pictures match if
    their files are equal, or if neither is plain and their hashes differ in at most MAX_BITS bits
    across and MAX_BITS_DOWN down.

    Args:
        texts: (N,) None: no text. pictures: (N,) None: no picture, or a near-blank one.
    """
    found = (*_text_links(texts), *_picture_links(pictures))
    links = np.concatenate(found)
    kinds = np.repeat(np.arange(len(found)), [len(pairs) for pairs in found])
    return DuplicateGroups(links, kinds, _components(links, len(texts)))


def similar_sets(word_lists: Sequence[Sequence[str]], min_jaccard: float) -> Rows:
    """Pairs (P, 2) of lists whose sets of words have |A & B| / |A | B| >= min_jaccard.

    Source: Chaudhuri, Ganti, Kaushik 2006, A Primitive Operator for Similarity Joins, prefix
    filter: with words ordered from rare to common, such sets share a word among the first
    |A| - ceil(min_jaccard * |A|) + 1 of each.
    """
    matrix = _word_matrix(word_lists)
    sizes = np.diff(matrix.indptr)
    places = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], sizes)
    needed = np.ceil(min_jaccard * sizes - 1e-9).astype(np.int64)
    in_prefix = places <= np.repeat(sizes - needed, sizes)
    rows = np.repeat(np.arange(len(sizes)), sizes)[in_prefix]
    kept = []
    for pairs in _pairs_of_equal(matrix.indices[in_prefix]):
        left, right = rows[pairs[:, 0]], rows[pairs[:, 1]]
        smaller, larger = (
            np.minimum(sizes[left], sizes[right]),
            np.maximum(sizes[left], sizes[right]),
        )
        fits = smaller >= min_jaccard * larger - 1e-9
        left, right = left[fits], right[fits]
        shared = (matrix[left] * matrix[right]).sum(axis=1)
        jaccard = shared / (sizes[left] + sizes[right] - shared)
        close = jaccard >= min_jaccard - 1e-9
        kept.append(np.stack([left[close], right[close]], axis=1))
    return _unique_pairs(kept)


def similar_hashes(hashes: NDArray[np.uint64], max_bits: int) -> Rows:
    """Pairs (P, 2) of 64-bit hashes that differ in at most max_bits bits.

    Source: Manku, Jain, Das Sarma 2007, Detecting Near-Duplicates for Web Crawling, section 3: cut
    into max_bits + 1 bands, such hashes agree in one whole band.
    """
    edges = np.linspace(0, 64, max_bits + 2).astype(np.uint64)
    kept = []
    for low, high in pairwise(edges):
        above = np.uint64(64) - high
        band = (hashes << above) >> (above + low)
        for pairs in _pairs_of_equal(band):
            different = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
            kept.append(pairs[different <= max_bits])
    return _unique_pairs(kept)


def _text_links(texts: Sequence[str | None]) -> tuple[Rows, Rows]:
    """Links of equal texts, then of similar ones among the first of each."""
    words = {row: clean_text(text).split() for row, text in enumerate(texts) if text is not None}
    words = {row: found for row, found in words.items() if len(found) >= MIN_WORDS}
    same = _equal_pairs(words, [" ".join(found) for found in words.values()])
    first = np.setdiff1d(np.array(list(words), np.int64), same[:, 1])
    return same, first[similar_sets([words[row] for row in first.tolist()], MIN_JACCARD)]


def _picture_links(pictures: Sequence[Fingerprint | None]) -> tuple[Rows, Rows]:
    """Links of equal pictures, then of similar ones among the first of each.

    Of pictures with the same hashes each is linked to the first alone: thousands have n^2 pairs.
    """
    known = {row: picture for row, picture in enumerate(pictures) if picture is not None}
    same = _equal_pairs(known, [picture.sha256 for picture in known.values()])
    copies = set(same[:, 1].tolist())
    looks = {
        row: picture.across.to_bytes(8, "big") + picture.down.to_bytes(8, "big")
        for row, picture in known.items()
        if not picture.is_plain and row not in copies
    }
    alike = _equal_pairs(looks, list(looks.values()))
    first = np.setdiff1d(np.array(list(looks), np.int64), alike[:, 1])
    across = np.array([known[row].across for row in first.tolist()], np.uint64)
    down = np.array([known[row].down for row in first.tolist()], np.uint64)
    pairs = similar_hashes(across, MAX_BITS)
    different = np.bitwise_count(down[pairs[:, 0]] ^ down[pairs[:, 1]])
    return same, np.concatenate([alike, first[pairs[different <= MAX_BITS_DOWN]]])


def _pairs_of_equal(keys: NDArray[np.generic]) -> Iterator[Rows]:
    """Blocks (P, 2) of all pairs of places that hold the same key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.arange(len(keys))
    for shift in range(1, len(keys)):
        first = first[first + shift < len(keys)]
        first = first[ordered[first] == ordered[first + shift]]
        if not len(first):
            return
        yield np.stack([order[first], order[first + shift]], axis=1)


def _unique_pairs(blocks: Iterable[Rows]) -> Rows:
    pairs = np.concatenate([np.empty((0, 2), np.int64), *blocks])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _equal_pairs(rows: Iterable[int], keys: Sequence[str | bytes]) -> Rows:
    """Each later row with the first row of the same key, (P, 2)."""
    first: dict[str | bytes, int] = {}
    pairs = [(first.setdefault(key, row), row) for row, key in zip(rows, keys, strict=True)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def _word_matrix(word_lists: Sequence[Sequence[str]]) -> csr_array:
    """Which list (row) holds which word (column, from rare to common): 1 where it does."""
    sets = [sorted(set(words)) for words in word_lists]
    vocabulary: dict[str, int] = {}
    ids = [vocabulary.setdefault(word, len(vocabulary)) for words in sets for word in words]
    counts = np.bincount(ids, minlength=len(vocabulary)) if ids else np.zeros(0, np.int64)
    rank = np.argsort(np.argsort(counts, kind="stable"))
    starts = np.cumsum([0, *map(len, sets)])
    shape = (len(sets), len(vocabulary))
    matrix = csr_array((np.ones(len(ids), np.int32), rank[np.array(ids, int)], starts), shape)
    matrix.sort_indices()
    return matrix


def _bits(differences: NDArray[np.float32]) -> int:
    return int.from_bytes(np.packbits(differences > 1).tobytes(), "big")


def _components(links: Rows, posts: int) -> tuple[Rows, ...]:
    joined = csr_array((np.ones(len(links), bool), (links[:, 0], links[:, 1])), (posts, posts))
    _, names = connected_components(joined, directed=False)
    rows = np.unique(links)
    order = rows[np.argsort(names[rows], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(names[order])) + 1) if len(rows) else []
    return tuple(sorted(groups, key=lambda group: int(group[0])))
