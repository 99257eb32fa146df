"""Cross-attention fusion: every word looks for the picture regions that concern it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from postsense.config import FusionSettings
from postsense.config.encoders import Pooling
from postsense.encoders.embeddings import Embeddings, pool
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined


def build(given: Given, settings: FusionSettings) -> "CrossAttention":
    """The fusion of words, picture and what more there is to read."""
    text, image, *more = given.widths.values()
    hidden, dropout = settings.hidden, settings.input_dropout
    return CrossAttention(text, image, hidden, dropout, given.pooling, more)


class CrossAttention(nn.Module):
    """Text tokens attend picture regions; the attended regions join the text's vector.

    Source: Sanchez Villegas et al. 2024, arXiv 2309.07794, the Att models.
        A = softmax(Q K^T / sqrt(F)) V, Q from text tokens, K and V from picture regions
        x = ReLU(W [text; A_pooled] + b)
    More words, such as a title, join as vectors: x = ReLU(W [text; A_pooled; title] + b).
    Deviation: the attended tokens are pooled as the text is (their code: the class token's row,
    which is pooling 'cls'), since sentence encoders such as MiniLM are trained for their mean;
    Q, K and V have the width F of the fused vector, theirs the width of a token.
    """

    def __init__(
        self,
        text_dim: int,
        image_dim: int,
        hidden: int,
        input_dropout: float,
        pooling: Pooling,
        more_dims: Sequence[int] = (),
    ) -> None:
        """more_dims: the widths of inputs beside words and picture, in their order."""
        super().__init__()
        self.text_query_dim, self.image_query_dim = text_dim, image_dim
        self.pooling: Pooling = pooling
        self.dropout = nn.Dropout(input_dropout)
        self.query = nn.Linear(text_dim, hidden)
        self.key = nn.Linear(image_dim, hidden)
        self.value = nn.Linear(image_dim, hidden)
        self.project = nn.Linear(text_dim + hidden + sum(more_dims), hidden)

    def forward(self, text: Embeddings, image: Embeddings, *more: Embeddings) -> Joined:
        """Embeddings, of words and picture with tokens and masks → fused (B, F)."""
        words, regions = text.tokens, image.tokens
        assert words is not None and regions is not None
        assert text.mask is not None and image.mask is not None
        words, regions = self._drop_features(words), self._drop_features(regions)
        attended = F.scaled_dot_product_attention(  # (B, T, F)
            self.query(words),
            self.key(regions),
            self.value(regions),
            attn_mask=image.mask[:, None, :],
        )
        seen = pool(attended, text.mask, self.pooling)  # (B, F)
        beside = [self.dropout(part.pooled) for part in more]
        joined = torch.cat([self.dropout(text.pooled), seen, *beside], dim=1)
        return Joined(torch.relu(self.project(joined)), text.pooled, image.pooled)

    def _drop_features(self, tokens: Tensor) -> Tensor:
        """Drop features of a post in all of its tokens alike; a mask a token would cost more."""
        kept: Tensor = self.dropout(torch.ones_like(tokens[:, :1]))  # (B, 1, D)
        return tokens * kept
