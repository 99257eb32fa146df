"""The one model: a branch for words, a branch for the picture, a fusion and a head."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from postsense.batches import Comments, Pixels, PostBatch, TokenIds
from postsense.encoders.backbone import Backbone, ImageEncoder, TextEncoder
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.comments import CommentVectors
from postsense.fusion.joined import Joined
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
    """Classifies posts. A branch is None if the fusion does not read that modality.

    Attributes of pictures and hint comments are words too and go through the text branch. Without
    a text branch token ids go to the fusion as they are: the bitransformer encodes them itself.
    """

    def __init__(
        self,
        text: Branch | None,
        image: Branch | None,
        fusion: nn.Module,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.text, self.image, self.fusion, self.head = text, image, fusion, head

    @property
    def trains_encoder(self) -> bool:
        """Whether an encoder runs inside the model, rather than once before."""
        return any(isinstance(part, Backbone) for part in self.modules())

    def forward(self, batch: PostBatch) -> PostOutput:
        text = self._words(batch.text)
        image = self.image(batch.image) if self.image is not None else None
        read = [part for part in (text, image, self._words(batch.attributes)) if part is not None]
        if batch.comments is None:
            joined: Joined = self.fusion(*read)
        else:
            joined = self.fusion(*read, comments=self._comments(batch.comments))
        return PostOutput(
            logits=self.head(joined.fused),
            fused=joined.fused,
            text=text if isinstance(text, Embeddings) else None,
            image=image,
            comment_weights=joined.comment_weights,
        )

    def _words(self, words: Embeddings | TokenIds | None) -> Embeddings | TokenIds | None:
        if self.text is None:
            return words if isinstance(words, TokenIds) else None
        if words is None:
            return None
        encoded: Embeddings = self.text(words)
        return encoded

    def _comments(self, comments: Comments) -> CommentVectors | Comments:
        encoded = self._words(comments.texts)
        if not isinstance(encoded, Embeddings):
            return comments
        vectors = encoded.pooled.view(*comments.present.shape, -1)  # (B, C, D)
        return CommentVectors(vectors, comments.present & encoded.present.view_as(comments.present))
