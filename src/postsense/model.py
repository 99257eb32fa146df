"""The one model: a branch for words, a branch for the picture, a fusion and a head."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from postsense.batches import Pixels, PostBatch, TokenIds
from postsense.encoders.backbone import ImageEncoder, TextEncoder
from postsense.encoders.embeddings import Embeddings
from postsense.outputs import PostOutput


class Branch(nn.Module):
    """One modality on its way into the fusion.

    Trained encoders run here. Features of frozen encoders arrive computed and are standardised
    with the mean and deviation of the training posts. Posts that lack the modality get a vector of
    their own, zero until posts without it are seen in training: the average post.
    """

    def __init__(self, encoder: TextEncoder | ImageEncoder | None, dim: int) -> None:
        super().__init__()
        self.encoder, self.dim = encoder, dim
        self.missing = nn.Parameter(torch.zeros(dim))
        self.mean: Tensor
        self.deviation: Tensor
        self.token_mean: Tensor
        self.token_deviation: Tensor
        for name, value in (("mean", 0.0), ("deviation", 1.0)):
            self.register_buffer(name, torch.full((dim,), value))
            self.register_buffer(f"token_{name}", torch.full((dim,), value))

    def standardize_with(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the statistics, each (D,), of the pooled vectors of frozen features."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def standardize_tokens_with(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the statistics, each (D,), of the tokens of frozen features."""
        self.token_mean.copy_(mean)
        self.token_deviation.copy_(deviation)

    def forward(self, modality: Embeddings | TokenIds | Pixels) -> Embeddings:
        return self._fill_missing(self._standardize(self._encode(modality)))

    def _encode(self, modality: Embeddings | TokenIds | Pixels) -> Embeddings:
        if isinstance(modality, Embeddings):
            return modality
        assert self.encoder is not None
        encoded: Embeddings = self.encoder(*vars(modality).values())
        return encoded

    def _standardize(self, modality: Embeddings) -> Embeddings:
        pooled = (modality.pooled - self.mean) / self.deviation
        tokens = modality.tokens
        if tokens is not None:
            tokens = (tokens - self.token_mean) / self.token_deviation
        return replace(modality, pooled=pooled, tokens=tokens)

    def _fill_missing(self, modality: Embeddings) -> Embeddings:
        absent = ~modality.present
        if not absent.any():
            return modality  # nothing to fill, and no gradient to send back through the tokens
        pooled = torch.where(absent[:, None], self.missing, modality.pooled)
        if modality.tokens is None or modality.mask is None:
            return replace(modality, pooled=pooled)
        only_first = torch.zeros_like(modality.mask)
        only_first[:, 0] = absent  # a post without the modality has one token: the missing vector
        tokens = torch.where(only_first[..., None], self.missing, modality.tokens)
        return replace(modality, pooled=pooled, tokens=tokens, mask=modality.mask | only_first)


class PostModel(nn.Module):
    """Classifies posts. A branch is None if the fusion does not read that modality."""

    def __init__(
        self,
        text: Branch | None,
        image: Branch | None,
        fusion: nn.Module,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.text, self.image, self.fusion, self.head = text, image, fusion, head

    def forward(self, batch: PostBatch) -> PostOutput:
        text = self.text(batch.text) if self.text is not None else None
        image = self.image(batch.image) if self.image is not None else None
        fused = self.fusion(*[modality for modality in (text, image) if modality is not None])
        return PostOutput(logits=self.head(fused), fused=fused, text=text, image=image)
