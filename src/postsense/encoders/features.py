"""The feature store: what frozen encoders computed, on disk, found again by content.

A store is a folder of shards. A shard is four .npy files of n posts: `pooled` (n, D) and, where
asked for, `tokens` (sum of T, E), both float16, `offsets` (n + 1,) into the tokens, and `keys`
(n, 2) uint64, the content hashes. `keys` is written last, so a shard without it does not count
and a process killed while writing loses at most that shard. Several processes may append.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from postsense.atomic import replacing
from postsense.encoders.embeddings import Embeddings
from postsense.errors import EncoderError

Array = np.ndarray[Any, Any]
HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Encoded:
    """What a frozen encoder computed for one post. pooled: (D,); tokens: (T, E) or None."""

    pooled: Array
    tokens: Array | None = None


def content_key(data: bytes) -> tuple[int, int]:
    """A 128-bit hash of a post's text or of its picture's file, as two 64-bit numbers."""
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


class FeatureStore:
    """Encoded posts of one encoder under one input policy, memory-mapped."""

    def __init__(self, folder: Path, *, with_tokens: bool) -> None:
        self.folder = folder
        self.with_tokens = with_tokens
        self.shards = [
            _Shard(folder, file.name.removesuffix(".keys.npy"), with_tokens)
            for file in sorted(folder.glob("*.keys.npy"))
        ]

    def find(self, keys: Array) -> Array:
        """The row of each key, -1 where the store lacks it. keys: (N, 2) uint64; returns (N,)."""
        rows = np.full(len(keys), -1, dtype=np.int64)
        if not self.shards or not len(keys):
            return rows
        stored = np.concatenate([shard.keys for shard in self.shards])
        order = np.lexsort((stored[:, 1], stored[:, 0]))
        first = stored[order, 0]
        position = np.searchsorted(first, keys[:, 0], side="left")
        run_ends = np.searchsorted(first, keys[:, 0], side="right")
        for _ in range(
            int((run_ends - position).max())
        ):  # 1 unless two contents share their first 64 bits
            candidate = order[np.minimum(position, len(order) - 1)]
            rows = np.where((stored[candidate] == keys).all(axis=1), candidate, rows)
            position = position + 1
        return rows

    def append(self, keys: Array, items: Sequence[Encoded]) -> None:
        """Write the items as one more shard. keys: (n, 2) uint64, one an item."""
        name = uuid.uuid4().hex
        pooled = _half(np.stack([item.pooled for item in items]))
        arrays = {"pooled": pooled}
        if self.with_tokens:
            tokens = [item.tokens for item in items if item.tokens is not None]
            lengths = [len(token) for token in tokens]
            arrays["tokens"] = _half(np.concatenate(tokens))
            arrays["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        for part, values in (*arrays.items(), ("keys", keys)):
            with replacing(self.folder / f"{name}.{part}.npy") as temporary:
                np.save(temporary, values, allow_pickle=False)
        self.shards.append(_Shard(self.folder, name, self.with_tokens))

    def pooled(self, rows: Array) -> Array:
        """Pooled vectors (n, D) float32 of these rows; zeros for row -1."""
        values = np.zeros((len(rows), self.dim), dtype=np.float32)
        for shard, selected, local in self._by_shard(rows):
            values[selected] = shard.pooled[local]
        return values

    def tokens(self, rows: Array) -> tuple[Array, Array]:
        """Tokens (n, T, E) float32, padded to the longest, and their mask (n, T) bool."""
        parts: dict[int, Array] = {}
        for shard, selected, local in self._by_shard(rows):
            for where, row in zip(selected, local, strict=True):
                parts[where] = shard.tokens[shard.offsets[row] : shard.offsets[row + 1]]
        longest = max([len(part) for part in parts.values()], default=1)
        values = np.zeros((len(rows), longest, self.token_dim), dtype=np.float32)
        mask = np.zeros((len(rows), longest), dtype=bool)
        for where, part in parts.items():
            values[where, : len(part)] = part
            mask[where, : len(part)] = True
        return values, mask

    @property
    def dim(self) -> int:
        """D, the width of a pooled vector."""
        return int(self._first.pooled.shape[1])

    @property
    def token_dim(self) -> int:
        """E, the width of a token."""
        return int(self._first.tokens.shape[1])

    @property
    def _first(self) -> "_Shard":
        if not self.shards:
            raise EncoderError(
                self.folder,
                "at least one encoded post",
                "an empty feature store",
                "Give posts that have this modality, or a fusion that does not read it.",
            )
        return self.shards[0]

    def _by_shard(self, rows: Array) -> list[tuple["_Shard", Array, Array]]:
        starts = np.cumsum([0, *(len(shard) for shard in self.shards)])
        owner = np.searchsorted(starts, rows, side="right") - 1  # -1 for row -1
        groups = []
        for number in np.unique(owner[owner >= 0]):
            selected = np.flatnonzero(owner == number)
            groups.append((self.shards[number], selected, rows[selected] - starts[number]))
        return groups


class _Shard:
    """Four memory-mapped arrays, opened when first read."""

    def __init__(self, folder: Path, name: str, with_tokens: bool) -> None:
        self.folder, self.name, self.with_tokens = folder, name, with_tokens
        self.keys = self._open("keys")

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def pooled(self) -> Array:
        return self._open("pooled")

    @cached_property
    def tokens(self) -> Array:
        return self._open("tokens")

    @cached_property
    def offsets(self) -> Array:
        return self._open("offsets")

    def _open(self, part: str) -> Array:
        file = self.folder / f"{self.name}.{part}.npy"
        try:
            values: Array = np.load(file, mmap_mode="r", allow_pickle=False)
            return values
        except (OSError, ValueError, EOFError) as error:
            raise EncoderError(
                file,
                "a sound shard of kept features",
                str(error),
                "Delete this folder; it is computed again when needed.",
            ) from None


@dataclass(frozen=True)
class FeatureColumn:
    """The features of one modality for N posts. rows: (N,) int64, -1 where the post lacks it."""

    store: FeatureStore
    rows: Array

    def batch(self, posts: Array) -> Embeddings:
        """The Embeddings of the posts at these positions. posts: (B,) int."""
        rows = self.rows[posts]
        pooled = torch.from_numpy(self.store.pooled(rows))
        present = torch.from_numpy(rows >= 0)
        if not self.store.with_tokens:
            return Embeddings(pooled, present)
        tokens, mask = self.store.tokens(rows)
        return Embeddings(pooled, present, torch.from_numpy(tokens), torch.from_numpy(mask))

    def take(self, posts: Array) -> "FeatureColumn":
        """The column of some of the posts."""
        return FeatureColumn(self.store, self.rows[posts])


def _half(values: Array) -> Array:
    return np.clip(values, -HALF_MAX, HALF_MAX).astype(np.float16)


def statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over rows, each (D,); the deviations are drawn together.

    Source: ours, after Ledoit & Wolf 2004, A well-conditioned estimator, shrinkage to one scale.
        d_j^2 = 1/2 std_j^2 + 1/2 (mean_j std_j)^2
    A few dozen labelled posts hardly vary in some of a thousand features; divided by their own
    deviation alone, those would be hundreds in the next post and drown all others. All deviations
    are 1 if no feature varies.
    """
    std = values.std(dim=0, correction=0)
    deviation = ((std.square() + std.mean().square()) / 2).sqrt()
    return values.mean(dim=0), torch.where(deviation > 1e-6, deviation, 1.0)
