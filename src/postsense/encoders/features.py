"""The feature store: what frozen encoders computed, on disk, found again by content.

Its shards hold `pooled` (n, D) and, where asked for, `tokens` (sum of T, E), both float16, and
`offsets` (n + 1,) into the tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from postsense.arrays import Array
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.shards import HeldShard, Shard, ShardStore
from postsense.errors import EncoderError

HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Encoded:
    """What a frozen encoder computed for one post. pooled: (D,); tokens: (T, E) or None."""

    pooled: Array
    tokens: Array | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return self.pooled.nbytes + (0 if self.tokens is None else self.tokens.nbytes)


class FeatureStore(ShardStore[Encoded]):
    """Encoded posts of one encoder under one input policy, memory-mapped."""

    def __init__(self, folder: Path, *, with_tokens: bool) -> None:
        super().__init__(folder)
        self.with_tokens = with_tokens

    def compact(self, item: Encoded) -> Encoded:
        """The item in half precision, with its tokens only if the store keeps them."""
        tokens = item.tokens if self.with_tokens else None
        return Encoded(_half(item.pooled), None if tokens is None else _half(tokens))

    def parts_of(self, items: Sequence[Encoded]) -> dict[str, Array]:
        """The arrays of a shard of these items, by name."""
        parts = {"pooled": _half(np.stack([item.pooled for item in items]))}
        if self.with_tokens:
            tokens = [item.tokens for item in items if item.tokens is not None]
            lengths = [len(token) for token in tokens]
            parts["tokens"] = _half(np.concatenate(tokens))
            parts["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return parts

    def pooled(self, rows: Array) -> Array:
        """Pooled vectors (n, D) float32 of these rows; zeros for row -1."""
        values = np.zeros((len(rows), self.dim), dtype=np.float16)
        for shard, selected, local in self.by_shard(rows):
            values[selected] = shard["pooled"][local]
        return _single(values)

    def tokens(self, rows: Array) -> tuple[Array, Array]:
        """Tokens (n, T, E) float32, padded to the longest, and their mask (n, T) bool."""
        parts, lengths = list[tuple[int, Array]](), np.zeros(len(rows), dtype=np.int64)
        for shard, selected, local in self.by_shard(rows):
            tokens, offsets = np.asarray(shard["tokens"]), shard["offsets"]
            starts, ends = offsets[local].tolist(), offsets[local + 1].tolist()
            lengths[selected] = np.subtract(ends, starts)
            found = (tokens[start:end] for start, end in zip(starts, ends, strict=True))
            parts.extend(zip(selected.tolist(), found, strict=True))
        longest = int(lengths.max()) if parts else 1
        values = np.zeros((len(rows), longest, self.token_dim), dtype=np.float16)
        for where, part in parts:
            values[where, : len(part)] = part
        return _single(values), np.arange(longest) < lengths[:, None]

    def lengths(self, rows: Array) -> Array:
        """Tokens of each of these rows, (n,) int64; none for row -1."""
        lengths = np.zeros(len(rows), dtype=np.int64)
        for shard, selected, local in self.by_shard(rows):
            offsets = shard["offsets"]
            lengths[selected] = offsets[local + 1] - offsets[local]
        return lengths

    @property
    def dim(self) -> int:
        """D, the width of a pooled vector."""
        return int(self._first["pooled"].shape[1])

    @property
    def token_dim(self) -> int:
        """E, the width of a token."""
        return int(self._first["tokens"].shape[1])

    @property
    def _first(self) -> Shard | HeldShard[Encoded]:
        if not self.shards:
            raise EncoderError(
                self.folder,
                "at least one encoded post",
                "an empty feature store",
                "Give posts that have this modality, or a fusion that does not read it.",
            )
        return next((shard for shard in self.shards if shard.is_checked), self.shards[0])


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

    @property
    def lengths(self) -> Array | None:
        """(N,) int64, the tokens of each post; None where only vectors are kept."""
        return self.store.lengths(self.rows) if self.store.with_tokens else None

    def take(self, posts: Array) -> "FeatureColumn":
        """The column of some of the posts."""
        return FeatureColumn(self.store, self.rows[posts])


def _half(values: Array) -> Array:
    return np.clip(values, -HALF_MAX, HALF_MAX).astype(np.float16)


def _single(values: Array) -> Array:
    """float16 as float32; torch converts many numbers at a time, numpy one by one."""
    converted: Array = torch.from_numpy(values).float().numpy()
    return converted


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
