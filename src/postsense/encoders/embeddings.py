"""What an encoder returns for a batch of posts."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from postsense.config.encoders import Pooling


@dataclass(frozen=True)
class Embeddings:
    """One modality of a batch of posts: a vector each and, where a fusion reads it, a sequence.

    pooled: (B, D) float. tokens: (B, T, D) float, tokens of a text or regions of a picture.
    mask: (B, T) bool, True where a token is real. present: (B,) bool, False where the post lacks
    the modality; its pooled and tokens are then zero and its mask all False.
    """

    pooled: Tensor
    present: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None

    def to(self, device: torch.device | str) -> "Embeddings":
        """The same embeddings on another device."""
        tensors = {
            name: value.to(device) for name, value in vars(self).items() if value is not None
        }
        return replace(self, **tensors)

    def take(self, rows: Tensor) -> "Embeddings":
        """Some of the posts. rows: (n,) int64, or (B,) bool."""
        parts = {name: value[rows] for name, value in vars(self).items() if value is not None}
        return replace(self, **parts)


def pool(tokens: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector a sequence: masked mean, masked maximum or the first token.

    tokens: (B, T, D) float; mask: (B, T) bool. Returns (B, D); zeros where a mask is all False.
    """
    if pooling == "cls":
        return tokens[:, 0] * mask[:, :1]
    if pooling == "max":
        highest = tokens.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
        return torch.where(mask.any(dim=1, keepdim=True), highest, 0.0)
    return (tokens * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
