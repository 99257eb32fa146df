"""The one model: a branch for words, a branch for the picture, a fusion and a head."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from postsense.batches import Comments, Pixels, PostBatch, TokenIds
from postsense.encoders.backbone import EncoderNetwork, ImageEncoder, TextBackbone, TextEncoder
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.joint import JointBackbone
from postsense.fusion.alignment import Alignment
from postsense.fusion.bitransformer import EarlyComments
from postsense.fusion.comments import CommentVectors, WithComments
from postsense.fusion.cross_modal import CrossModal
from postsense.fusion.joined import Joined
from postsense.outputs import Aligned, PostOutput
from postsense.parallel import in_shares

Read = Embeddings | TokenIds | Pixels


class Standardized(Embeddings):
    """Features that a branch has scaled already."""


class Branch(nn.Module):
    """One modality on its way into the fusion.

    Encoders inside the model run here. Features of others arrive computed and are standardised
    with the mean and deviation of the training posts. Posts that lack the modality get a vector of
    their own, zero until posts without it are seen in training: the average post. Where asked
    for, a trained projection of the vector and of every token comes last.
    """

    def __init__(
        self,
        encoder: TextEncoder | ImageEncoder | None,
        dim: int,
        projection: int | None = None,
        token_dim: int | None = None,
    ) -> None:
        """dim: width D of what the encoder gives. projection: width P of a layer over it.

        token_dim: width E of a token, a multiple of D, where it is not D; then no projection.
        """
        super().__init__()
        self.encoder, self.encoded_dim, self.dim = encoder, dim, projection or dim
        self.project = nn.Linear(dim, projection) if projection is not None else nn.Identity()
        self.missing = nn.Parameter(torch.zeros(dim))
        self.mean: Tensor
        self.deviation: Tensor
        self.token_mean: Tensor
        self.token_deviation: Tensor
        for name, value in (("mean", 0.0), ("deviation", 1.0)):
            self.register_buffer(name, torch.full((dim,), value))
            self.register_buffer(f"token_{name}", torch.full((token_dim or dim,), value))

    def standardize_with(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the statistics, each (D,), of the pooled vectors of frozen features."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def standardize_tokens_with(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the statistics, each (E,), of the tokens of frozen features."""
        self.token_mean.copy_(mean)
        self.token_deviation.copy_(deviation)

    def standardized(self, features: Embeddings) -> Embeddings:
        """Features as forward scales them first, which it then does not repeat."""
        return Standardized(**vars(self._standardize(features)))

    def forward(self, modality: Read) -> Embeddings:
        given = self._fill_missing(self._standardize(self._encode(modality)))
        tokens = None if given.tokens is None else self.project(given.tokens)
        return replace(given, pooled=self.project(given.pooled), tokens=tokens)

    def _encode(self, modality: Read) -> Embeddings:
        if isinstance(modality, Embeddings):
            return modality
        assert self.encoder is not None
        encoded: Embeddings = in_shares(self.encoder, *vars(modality).values())
        return encoded

    def _standardize(self, modality: Embeddings) -> Embeddings:
        if isinstance(modality, Standardized):
            return modality
        pooled = (modality.pooled - self.mean) / self.deviation
        tokens = modality.tokens
        if tokens is not None:
            scale = self.token_deviation.reciprocal()  # tokens are many: one pass over them
            tokens = torch.addcmul(-self.token_mean * scale, tokens, scale)
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
        missing = self.missing.repeat(len(self.token_mean) // len(self.missing))  # (E,)
        tokens = torch.where(only_first[..., None], missing, modality.tokens)
        return replace(modality, pooled=pooled, tokens=tokens, mask=modality.mask | only_first)


class PostModel(nn.Module):
    """Classifies posts. A branch is None if the fusion does not read that modality.

    Attributes of pictures and hint comments are words too and go through the text branch. Without
    a branch token ids and pixels go to the fusion as they are: joint models encode them together.
    alignment and match_head are there if the image-text losses are asked for. They look at the
    posts that have contents, those of training, and never at comments: a comment retrieved for a
    post would tell whether its words were swapped.
    """

    def __init__(
        self,
        text: Branch | None,
        image: Branch | None,
        fusion: nn.Module,
        head: nn.Module,
        alignment: Alignment | None = None,
        match_head: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.text, self.image, self.fusion, self.head = text, image, fusion, head
        self.alignment, self.match_head = alignment, match_head

    @property
    def trains_encoder(self) -> bool:
        """Whether an encoder runs inside the model, rather than once before."""
        return any(isinstance(part, EncoderNetwork) for part in self.modules())

    @property
    def vocabulary(self) -> int | None:
        """How many tokens the text encoder inside the model knows; None without a table of them."""
        for part in self.modules():
            words = getattr(part, "words", None) if isinstance(part, EncoderNetwork) else None
            if isinstance(part, TextBackbone | JointBackbone):
                try:
                    words = cast("Any", part.model).get_input_embeddings()
                except NotImplementedError:  # characters are hashed, as by CANINE
                    return None
            if isinstance(words, nn.Embedding):
                return words.num_embeddings
        return None

    def forward(self, batch: PostBatch) -> PostOutput:
        text, image = self._words(batch.text), self._picture(batch.image)
        read = [part for part in (text, image, self._words(batch.attributes)) if part is not None]
        comments = None if batch.comments is None else self._comments(batch.comments)
        joined = self._join(self.fusion, read, comments)
        return PostOutput(
            logits=self.head(joined.fused),
            fused=joined.fused,
            text=text if isinstance(text, Embeddings) else None,
            image=image if isinstance(image, Embeddings) else None,
            comment_weights=joined.comment_weights,
            aligned=self._align(text, image, joined) if batch.contents is not None else None,
            match_logits=self._match(read, joined, batch.swaps),
        )

    def standardized(self, batch: PostBatch) -> PostBatch:
        """The batch for more than one pass: features of words and picture are scaled only once."""
        text, image = batch.text, batch.image
        if self.text is not None and isinstance(text, Embeddings):
            text = self.text.standardized(text)
        if self.image is not None and isinstance(image, Embeddings):
            image = self.image.standardized(image)
        return replace(batch, text=text, image=image)

    def aligned(self, batch: PostBatch) -> PostOutput:
        """The output for losses that read nothing of it but aligned.

        Where the fusion itself makes those vectors, it goes no further: fused is (B, 0), logits
        are (B, 0), and layers behind the vectors see no batch. Else everything is there.
        """
        fusion = self._without_comments
        if not isinstance(fusion, CrossModal) or self.alignment is None or batch.contents is None:
            everything: PostOutput = self(batch)
            return everything
        text, image = self._words(batch.text), self._picture(batch.image)
        assert isinstance(text, Embeddings) and isinstance(image, Embeddings)
        told, shown = fusion.vectors(text, image)
        nothing = told.new_zeros(len(told), 0)
        aligned = self.alignment(told, shown)
        return PostOutput(nothing, nothing, text, image, aligned=aligned)

    def _words(self, words: Embeddings | TokenIds | None) -> Embeddings | TokenIds | None:
        if self.text is None:
            return words if isinstance(words, TokenIds) else None
        if words is None:
            return None
        encoded: Embeddings = self.text(words)
        return encoded

    def _picture(self, picture: Embeddings | Pixels | None) -> Embeddings | Pixels | None:
        if self.image is None:
            return picture if isinstance(picture, Pixels) else None
        if picture is None:
            return None
        encoded: Embeddings = self.image(picture)
        return encoded

    def _comments(self, comments: Comments) -> CommentVectors | Comments:
        encoded = self._words(comments.texts)
        if not isinstance(encoded, Embeddings):
            return comments
        vectors = encoded.pooled.view(*comments.present.shape, -1)  # (B, C, D)
        return CommentVectors(vectors, comments.present & encoded.present.view_as(comments.present))

    def _join(
        self,
        fusion: nn.Module,
        read: Sequence[Read],
        comments: CommentVectors | Comments | None = None,
    ) -> Joined:
        """A joint model is the heavy part itself and reads comments as token ids."""
        joined: Joined
        if any(isinstance(part, EncoderNetwork) for part in fusion.modules()):
            inputs = [*read] if comments is None else [*read, comments]
            joined = in_shares(fusion, *inputs)
        else:
            joined = fusion(*read) if comments is None else fusion(*read, comments=comments)
        return joined

    def _align(self, text: Read | None, image: Read | None, joined: Joined) -> Aligned | None:
        """Words and picture in one space, neither having seen the other."""
        if self.alignment is None:
            return None
        if isinstance(self._without_comments, CrossModal):
            assert joined.text is not None and joined.image is not None
            vectors = joined.text, joined.image
        elif isinstance(text, Embeddings) and isinstance(image, Embeddings):
            vectors = text.pooled, image.pooled
        else:
            fusion: Any = self._without_comments
            vectors = in_shares(fusion.unimodal, text, image)
        aligned: Aligned = self.alignment(*vectors)
        return aligned

    def _match(self, read: Sequence[Read], joined: Joined, swaps: Tensor | None) -> Tensor | None:
        """Logits (B, 2) of posts as they are and, where swapped, with another post's words.

        What the encoders gave is used again; only swapped posts are fused a second time.
        """
        if self.match_head is None or swaps is None:
            return None
        fused = joined.fused if joined.without_comments is None else joined.without_comments
        rows = (swaps != torch.arange(len(swaps), device=swaps.device)).nonzero().squeeze(1)
        if len(rows):
            text, *others = read
            shown = [text.take(swaps[rows]), *(other.take(rows) for other in others)]
            swapped = self._join(self._without_comments, shown).fused
            fused = fused.index_copy(0, rows, swapped.to(fused.dtype))
        logits: Tensor = self.match_head(fused)
        return logits

    @property
    def _without_comments(self) -> nn.Module:
        wrapped = isinstance(self.fusion, WithComments | EarlyComments)
        fusion = self.fusion.fusion if wrapped else self.fusion
        return cast("nn.Module", fusion)
