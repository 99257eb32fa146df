"""Concat fusion: the vectors of all modalities side by side, then one layer or none."""

from collections.abc import Sequence

import torch
from torch import nn

from postsense.config import FusionSettings
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined


def build(given: Given, settings: FusionSettings) -> "Concat":
    """The fusion of all that there is to read, be it words or pictures alone."""
    text, image = given.widths.get("text"), given.widths.get("image")
    more = [width for name, width in given.widths.items() if name not in ("text", "image")]
    return Concat(text, image, settings.hidden, settings.input_dropout, more)


class Concat(nn.Module):
    """Joins pooled vectors: x = ReLU(W [text; image] + b). With one modality it is that one alone.

    Source: Sanchez Villegas et al. 2024, arXiv 2309.07794, the Conc models; with a linear layer in
    place of the ReLU it is BERT-CNN of Xu & Li 2022. Without a layer, x = [text; image], it is
    eq. 1 of Sun et al. 2023, ITRp.
    Deviation: dropout on the inputs, since frozen features are wide and labels few; one layer where
    BERT-CNN has two without anything between them, which are one.
    """

    def __init__(
        self,
        text_dim: int | None,
        image_dim: int | None,
        hidden: int,
        input_dropout: float,
        more_dims: Sequence[int] = (),
    ) -> None:
        """text_dim, image_dim: the D of each modality, None if it is not read.

        more_dims: the D of inputs behind these, in their order. hidden: width of the layer; 0:
        none, and the vectors themselves are the fused one.
        """
        super().__init__()
        self.text_query_dim, self.image_query_dim = text_dim, image_dim
        self.dropout = nn.Dropout(input_dropout)
        joined = (text_dim or 0) + (image_dim or 0) + sum(more_dims)
        self.project = nn.Linear(joined, hidden) if hidden else None
        self.width = hidden or joined

    def forward(self, *modalities: Embeddings) -> Joined:
        """Embeddings of what it reads, words, picture, then others → fused (B, F)."""
        vectors = [modality.pooled for modality in modalities]
        joined = self.dropout(torch.cat(vectors, dim=1))
        fused = joined if self.project is None else torch.relu(self.project(joined))
        read = iter(vectors)
        text = next(read) if self.text_query_dim is not None else None
        image = next(read) if self.image_query_dim is not None else None
        return Joined(fused, text, image)
