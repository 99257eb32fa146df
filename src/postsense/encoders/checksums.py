"""Checksums of what the cache keeps: an item that changed on the disk is computed again.

A checksum is of the item's key and of its rows in all parts, and counts in one store alone: items
that changed places, or come from another encoder, do not fit.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest, xxh3_128

from postsense.arrays import Array

TOKENS, OFFSETS = "tokens", "offsets"  # item i has the tokens from offsets[i] to offsets[i + 1]
_BLOCK = 1 << 22  # bytes of a file in memory at a time


def item_sums(store: str, keys: Array, parts: Mapping[str, Array], rows: Array) -> Array:
    """The checksum of each of these items, (m,) uint64.

    store: its name. keys: (n, 2) uint64. parts: as `misfit` lets them pass. rows: (m,).
    """
    forms = [f"{name} {parts[name].dtype.str} {parts[name].shape[1:]}" for name in sorted(parts)]
    seed = xxh3_64_intdigest(" ".join([store, *forms]).encode())
    columns = [_contents(parts, name, rows) for name in sorted(parts) if name != OFFSETS]
    columns = [_contents({"keys": keys}, "keys", rows), *columns]
    sums = (_chained(item, seed) for item in zip(*columns, strict=True))
    return np.fromiter(sums, np.uint64, len(rows))


def finite_items(parts: Mapping[str, Array], rows: Array) -> Array:
    """Which of these items (m,) have finite numbers alone."""
    finite = np.ones(len(rows), bool)
    for name, part in parts.items():
        if name != OFFSETS and part.dtype.kind == "f":
            items = _contents(parts, name, rows)
            values = (np.frombuffer(item, part.dtype) for item in items)
            finite &= np.fromiter((np.isfinite(v).all() for v in values), bool, len(rows))
    return finite


def misfit(items: int, parts: Mapping[str, Array]) -> tuple[str, str] | None:
    """Name and fault of a part that does not have as many items; None: all have."""
    for name, part in parts.items():
        if name not in (TOKENS, OFFSETS) and len(part) != items:
            return name, f"{len(part)} for {items} items"
    if (TOKENS in parts) != (OFFSETS in parts):
        return TOKENS, f"'{TOKENS}' or '{OFFSETS}' without the other"
    if OFFSETS in parts:
        offsets = parts[OFFSETS]
        if offsets.shape != (items + 1,) or offsets.dtype.kind not in "iu":
            return OFFSETS, f"{offsets.dtype} of shape {offsets.shape} for {items} items"
        if offsets[0] != 0 or offsets[-1] != len(parts[TOKENS]) or (np.diff(offsets) < 0).any():
            return OFFSETS, f"others than those of {len(parts[TOKENS])} tokens"
    return None


def file_sum(file: Path) -> str:
    """32 hexadecimal digits of a file and its name."""
    digest = xxh3_128(file.name.encode())
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _contents(parts: Mapping[str, Array], name: str, rows: Array) -> Iterator[memoryview]:
    """The bytes of each item in a part."""
    part = np.asarray(parts[name])
    width = part.itemsize * int(np.prod(part.shape[1:]))
    starts, ends = rows, rows + 1
    if name == TOKENS:
        starts, ends = parts[OFFSETS][rows], parts[OFFSETS][rows + 1]
    data = part.reshape(-1).view(np.uint8).data
    for start, end in zip((starts * width).tolist(), (ends * width).tolist(), strict=True):
        yield data[start:end]


def _chained(contents: tuple[memoryview, ...], seed: int) -> int:
    for content in contents:
        seed = xxh3_64_intdigest(content, seed)
    return seed
