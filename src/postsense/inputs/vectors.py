"""A vector for some posts, in memory, and what it is standardised with."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from postsense.arrays import Array
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.features import statistics


@dataclass(frozen=True)
class VectorColumn:
    """A vector of some of N posts. vectors: (M, D) float; rows: (N,) int64, -1 where none."""

    vectors: Array
    rows: Array

    def batch(self, posts: Array) -> Embeddings:
        """The vectors of the posts at these positions, zero where there is none. posts: (B,)."""
        rows = self.rows[posts]
        pooled = np.zeros((len(rows), self.vectors.shape[1]), dtype=np.float32)
        pooled[rows >= 0] = self.vectors[rows[rows >= 0]]
        return Embeddings(torch.from_numpy(pooled), torch.from_numpy(rows >= 0))


def vector_statistics(column: VectorColumn, rows: Array) -> tuple[Tensor, Tensor]:
    """Mean and shrunk deviation, each (D,), of those rows that have a vector; else 0 and 1."""
    found = column.batch(rows)
    if not found.present.any():
        width = column.vectors.shape[1]
        return torch.zeros(width), torch.ones(width)
    return statistics(found.pooled[found.present])
