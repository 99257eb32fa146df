"""What the model says about a batch of posts."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from postsense.encoders.embeddings import Embeddings


@dataclass(frozen=True)
class Aligned:
    """Words and pictures as vectors of one space. text, image: (B, P). scale: scalar > 0."""

    text: Tensor
    image: Tensor
    scale: Tensor


@dataclass(frozen=True)
class PostOutput:
    """logits: (B, K). fused: (B, F). read: embeddings that the fusion read, by input.

    comment_weights: (B, C) attention paid to each hint comment, None if none are read.
    aligned: what the image-text contrastive loss compares. match_logits: (B, 2), whether each
    picture and the words it was shown with belong together. None if the loss is not asked for.
    """

    logits: Tensor
    fused: Tensor
    read: Mapping[str, Embeddings]
    comment_weights: Tensor | None = None
    aligned: Aligned | None = None
    match_logits: Tensor | None = None
