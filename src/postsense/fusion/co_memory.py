"""Co-memory fusion: words and picture look at each other by turns."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from postsense.config import FusionSettings
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.attention import AdditiveAttention, TokenProjection
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined


def build(given: Given, settings: FusionSettings) -> "CoMemory":
    """The fusion of words, picture and what more there is to read."""
    text, image, *more = given.widths.values()
    return CoMemory(text, image, settings.hidden, settings.input_dropout, more_dims=more)


class CoMemory(nn.Module):
    """The picture's glimpse finds words, these words find regions, and so on; the words likewise.

    Source: Xu et al. 2018, A Co-Memory Network for Multimodal Sentiment Analysis, with the layers
    of CoMN-BERT in the released code of Xu & Li 2022, Comment-Aware Self-Training.
        i_1 = A1(v, V)  i_2 = A3(i_1, T)  i_3 = A4(i_2, V)  i_4 = A3(i_3, T)  ...
        s_1 = A2(t, T)  s_2 = A5(s_1, V)  s_3 = A6(s_2, T)  s_4 = A5(s_3, V)  ...
        x = W [i_last; s_last] + b
    More vectors of a post stand beside the last glimpses: x = W [i_last; s_last; more] + b.
    v, t: pooled vectors; V, T: regions and tokens, each through a layer of its own; A: additive.
    Deviation: dropout on the inputs, which the released code states and never applies.
    """

    def __init__(
        self,
        text_dim: int,
        image_dim: int,
        hidden: int,
        input_dropout: float,
        hops: int = 5,
        more_dims: Sequence[int] = (),
    ) -> None:
        """hops: glimpses of each modality, 1 or more; from the second on they share weights.

        more_dims: the widths of vectors beside words and picture, in their order.
        """
        super().__init__()
        self.text_query_dim, self.image_query_dim = hidden, hidden
        self.dropout = nn.Dropout(input_dropout)
        self.text = nn.Linear(text_dim, hidden)
        self.tokens = TokenProjection(text_dim, hidden, input_dropout)
        self.image = nn.Linear(image_dim, hidden)
        self.regions = TokenProjection(image_dim, hidden, input_dropout)
        self.text_chain, self.image_chain = _Chain(hidden, hops), _Chain(hidden, hops)
        self.project = nn.Linear(2 * hidden + sum(more_dims), hidden)

    def forward(self, text: Embeddings, image: Embeddings, *more: Embeddings) -> Joined:
        """Embeddings, the first two with tokens and masks → fused (B, F).

        text and image are t and v, (B, F).
        """
        assert text.tokens is not None and image.tokens is not None
        assert text.mask is not None and image.mask is not None
        t, v = self.text(self.dropout(text.pooled)), self.image(self.dropout(image.pooled))
        tokens = self.tokens(text.tokens), text.mask
        regions = self.regions(image.tokens), image.mask
        seen = self.image_chain(v, own=regions, other=tokens)
        read = self.text_chain(t, own=tokens, other=regions)
        beside = [self.dropout(part.pooled) for part in more]
        return Joined(self.project(torch.cat([seen, read, *beside], dim=1)), t, v)


class _Chain(nn.Module):
    """One modality's glimpses: at itself, at the other, at itself, ..."""

    def __init__(self, hidden: int, hops: int) -> None:
        super().__init__()
        self.hops = hops
        self.first = AdditiveAttention(hidden)
        self.other = AdditiveAttention(hidden)
        self.own = AdditiveAttention(hidden)

    def forward(
        self, vector: Tensor, own: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]
    ) -> Tensor:
        """vector (B, F); own, other: states (B, T, F) and mask (B, T) → last glimpse (B, F)."""
        glimpse: Tensor = self.first(vector, *own)[0]
        for hop in range(1, self.hops):
            glimpse = self.other(glimpse, *other)[0] if hop % 2 else self.own(glimpse, *own)[0]
        return glimpse
