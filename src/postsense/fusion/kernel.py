"""The vector of a post → how alike it is to each post of train, by a radial kernel."""

from typing import Any

import torch
from torch import Tensor, nn

from postsense.fusion.joined import Joined

LEAST_SHARE = 0.02  # of a class, where scores are less


class RadialKernel(nn.Module):
    """What a fusion joins, compared with points of train: k_m(x) = exp(-|x - x_m|^2 / (2 s)).

    Source: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eq. 4.9.
    """

    def __init__(self, fusion: nn.Module, width: int, points: int) -> None:
        """fusion: what joins the inputs, of width F. points: M posts that are compared with."""
        super().__init__()
        self.fusion, self.width = fusion, points
        self.points: Tensor
        self.spread: Tensor
        self.register_buffer("points", torch.zeros(points, width))
        self.register_buffer("spread", torch.ones(()))

    def compare_with(self, points: Tensor, spread: float) -> None:
        """Set the points (M, F), and s, in squared distances."""
        self.points.copy_(points)
        self.spread.fill_(spread)

    def forward(self, *inputs: Any, **others: Any) -> Joined:
        """What the fusion reads → fused (B, M)."""
        joined: Joined = self.fusion(*inputs, **others)
        return Joined(
            radial_kernel(joined.fused, self.points, self.spread), joined.text, joined.image
        )


class Shares(nn.Module):
    """Scores (B, K) that are nearly the classes' shares → their logarithms, as logits."""

    def forward(self, scores: Tensor) -> Tensor:
        """Scores below LEAST_SHARE are raised to it."""
        return scores.clamp(min=LEAST_SHARE).log()


def radial_kernel(vectors: Tensor, points: Tensor, spread: Tensor | float) -> Tensor:
    """exp(-|x_n - x_m|^2 / (2 s)) for vectors (N, F) and points (M, F): (N, M), in (0, 1]."""
    return (squared_distances(vectors, points) / (-2 * spread)).exp()


def squared_distances(vectors: Tensor, points: Tensor) -> Tensor:
    """|x_n - x_m|^2 for vectors (N, F) and points (M, F): (N, M), >= 0."""
    lengths = vectors.square().sum(1)[:, None] + points.square().sum(1)
    return torch.addmm(lengths, vectors, points.T, alpha=-2).clamp_(min=0)
