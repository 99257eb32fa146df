"""Concat fusion: the vectors of all modalities side by side, then one layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from postsense.encoders.embeddings import Embeddings


class Concat(nn.Module):
    """Joins pooled vectors: x = ReLU(W [text; image] + b). With one modality it is that one alone.

    Source: Sanchez Villegas et al. 2024, arXiv 2309.07794, the Conc models.
    Deviation: dropout on the inputs, since frozen features are wide and labels few.
    """

    def __init__(self, dims: Sequence[int], hidden: int, input_dropout: float) -> None:
        """dims: the D of each modality, in the order in which they are passed."""
        super().__init__()
        self.dropout = nn.Dropout(input_dropout)
        self.project = nn.Linear(sum(dims), hidden)

    def forward(self, *modalities: Embeddings) -> Tensor:
        """Embeddings of each modality → fused (B, F)."""
        joined = torch.cat([modality.pooled for modality in modalities], dim=1)
        fused: Tensor = torch.relu(self.project(self.dropout(joined)))
        return fused
