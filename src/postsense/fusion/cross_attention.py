"""Cross-attention fusion: every word looks for the picture regions that concern it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from postsense.encoders.embeddings import Embeddings, Pooling, pool
from postsense.fusion.joined import Joined


class CrossAttention(nn.Module):
    """Text tokens attend picture regions; the attended regions join the text's vector.

    Source: Sanchez Villegas et al. 2024, arXiv 2309.07794, the Att models.
        A = softmax(Q K^T / sqrt(F)) V, Q from text tokens, K and V from picture regions
        x = ReLU(W [text; A_pooled] + b)
    Deviation: the attended tokens are pooled as the text is (their code: the class token's row,
    which is pooling 'cls'), since sentence encoders such as MiniLM are trained for their mean;
    Q, K and V have the width F of the fused vector, theirs the width of a token.
    """

    def __init__(
        self, text_dim: int, image_dim: int, hidden: int, input_dropout: float, pooling: Pooling
    ) -> None:
        super().__init__()
        self.text_query_dim, self.image_query_dim = text_dim, image_dim
        self.pooling: Pooling = pooling
        self.dropout = nn.Dropout(input_dropout)
        self.query = nn.Linear(text_dim, hidden)
        self.key = nn.Linear(image_dim, hidden)
        self.value = nn.Linear(image_dim, hidden)
        self.project = nn.Linear(text_dim + hidden, hidden)

    def forward(self, text: Embeddings, image: Embeddings) -> Joined:
        """Embeddings with tokens and masks → fused (B, F)."""
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
        joined = torch.cat([self.dropout(text.pooled), seen], dim=1)
        return Joined(torch.relu(self.project(joined)), text.pooled, image.pooled)

    def _drop_features(self, tokens: Tensor) -> Tensor:
        """Drop features of a post in all of its tokens alike; a mask a token would cost more."""
        kept: Tensor = self.dropout(torch.ones_like(tokens[:, :1]))  # (B, 1, D)
        return tokens * kept
