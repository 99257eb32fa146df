"""What the model says about a batch of posts."""

from dataclasses import dataclass

from torch import Tensor

from postsense.encoders.embeddings import Embeddings


@dataclass(frozen=True)
class PostOutput:
    """logits: (B, K). fused: (B, F). text, image: what the fusion read, None if it read none.

    comment_weights: (B, C) attention paid to each hint comment, None if none are read.
    """

    logits: Tensor
    fused: Tensor
    text: Embeddings | None
    image: Embeddings | None
    comment_weights: Tensor | None = None
