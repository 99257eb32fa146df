"""The one model: a branch for words, a branch for the picture, a fusion and a head."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from postsense.encoders.backbone import EncoderNetwork, ImageEncoder, TextBackbone, TextEncoder
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.joint import JointBackbone
from postsense.fusion.comments import CommentVectors, ReadsComments
from postsense.fusion.joined import Joined
from postsense.fusion.kernel import RadialKernel
from postsense.inputs.batches import Comments, PostBatch, Read
from postsense.model.alignment import Alignment
from postsense.model.outputs import Aligned, PostOutput
from postsense.parallel.distributed import split_across_processes
from postsense.registry.inputs import INPUTS


class Branch(nn.Module):
    """One part of what is read, on its way into the fusion.

    Encoders inside the model run here. Features of others arrive computed and are standardised
    with the mean and deviation of the training posts, then made as long as they are to be and
    multiplied by how much they count. Posts that lack the modality get a vector of
    their own, zero until posts without it are seen in training: the average post. Where asked
    for, a trained projection of the vector and of every token comes last.
    """

    def __init__(
        self,
        encoder: TextEncoder | ImageEncoder | None,
        dim: int,
        projection: int | None = None,
        token_dim: int | None = None,
        *,
        weight: float = 1.0,
        length: float | None = None,
    ) -> None:
        """dim: width D of what the encoder gives. projection: width P of a layer over it.

        token_dim: width E of a token, a multiple of D, where it is not D; then no projection.
        weight: how much it counts. length: of each vector before that; None: it stays as it is.
        """
        super().__init__()
        self.weight, self.length = weight, length
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

    def forward(self, modality: Read, *, is_standardized: bool = False) -> Embeddings:
        """is_standardized: the modality comes as `standardize` returns it."""
        encoded = self._encode(modality)
        given = self._fill_missing(encoded if is_standardized else self.standardize(encoded))
        tokens = None if given.tokens is None else self.project(given.tokens)
        return replace(given, pooled=self.project(given.pooled), tokens=tokens)

    def _encode(self, modality: Read) -> Embeddings:
        if isinstance(modality, Embeddings):
            return modality
        assert self.encoder is not None
        encoded: Embeddings = split_across_processes(self.encoder, *vars(modality).values())
        return encoded

    def standardize(self, modality: Embeddings) -> Embeddings:
        """Features scaled with the mean and deviation of the training posts, and weighed."""
        pooled = (modality.pooled - self.mean) / self.deviation
        if self.length is not None:
            pooled = functional.normalize(pooled, dim=1) * self.length
        pooled = pooled if self.weight == 1 else pooled * self.weight
        tokens = modality.tokens
        if tokens is not None:
            scale = self.weight / self.token_deviation  # tokens are many: one pass over them
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

    All inputs that are words, hint comments too, go through the branch for words, but blocks, which
    have one each. Without a branch token ids and pixels go to the fusion as they are: joint models
    encode them together. The fusion takes what is read in the order of `registry.inputs`.
    alignment and match_head are there if the image-text losses are asked for. They look at batches
    that ask for it, those of training, and never at comments: a comment retrieved for a
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
        aligned: Literal["inputs", "unimodal", "own"] | None = "inputs",
        blocks: Mapping[str, Branch] | None = None,
    ) -> None:
        """aligned: the vectors that alignment is given, as `registry.fusions` names them.

        blocks: the branches of inputs that are vectors beside words and picture, by name.
        """
        super().__init__()
        self.blocks = nn.ModuleDict(blocks or {})
        self.text, self.image, self.fusion, self.head = text, image, fusion, head
        self.alignment, self.match_head, self.aligned_vectors = alignment, match_head, aligned

    @property
    def encodes(self) -> bool:
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
        read = self._encoded(batch)
        comments = None if batch.comments is None else self._comments(batch.comments)
        joined = self._join(self.fusion, read, comments)
        return PostOutput(
            logits=self.head(joined.fused),
            fused=joined.fused,
            read={name: part for name, part in read.items() if isinstance(part, Embeddings)},
            comment_weights=joined.comment_weights,
            aligned=self._align(read, joined) if batch.aligns else None,
            match_logits=self._match(read, joined, batch.swaps),
        )

    def standardized(self, batch: PostBatch) -> PostBatch:
        """The batch for more than one pass: features are scaled only once."""
        if batch.is_standardized:
            return batch
        read = dict(batch.read)
        for name, part in read.items():
            branch = self._branch(name)
            if branch is not None and isinstance(part, Embeddings):
                read[name] = branch.standardize(part)
        return replace(batch, read=read, is_standardized=True)

    def aligned(self, batch: PostBatch) -> PostOutput:
        """The output for losses that read nothing of it but aligned.

        Where the fusion itself makes those vectors, it goes no further: fused is (B, 0), logits
        are (B, 0), and layers behind the vectors see no batch. Else everything is there.
        """
        if self.aligned_vectors != "own" or self.alignment is None or not batch.aligns:
            everything: PostOutput = self(batch)
            return everything
        read, fusion = self._encoded(batch), cast("Any", self._without_comments)
        text, image = fusion.vectors(read["text"], read["image"])
        nothing = text.new_zeros(len(text), 0)
        embedded = {name: part for name, part in read.items() if isinstance(part, Embeddings)}
        return PostOutput(nothing, nothing, embedded, aligned=self.alignment(text, image))

    def vectors(self, batch: PostBatch) -> Tensor:
        """What inputs give side by side, (B, F), before a kernel compares them with others."""
        fusion = self.fusion.fusion if isinstance(self.fusion, RadialKernel) else self.fusion
        return self._join(fusion, self._encoded(batch)).fused

    def _branch(self, name: str) -> Branch | None:
        if not INPUTS[name].has_column:
            return cast("Branch", self.blocks[name])
        return self.text if INPUTS[name].holds == "words" else self.image

    def _encoded(self, batch: PostBatch) -> dict[str, Read]:
        """What the fusion reads: embeddings, or what it encodes itself as it is."""
        read: dict[str, Read] = {}
        for name, part in batch.read.items():
            branch = self._branch(name)
            if branch is not None:
                scaled = batch.is_standardized and isinstance(part, Embeddings)
                read[name] = branch(part, is_standardized=scaled)
            elif not isinstance(part, Embeddings):
                read[name] = part
        return read

    def _comments(self, comments: Comments) -> CommentVectors | Comments:
        if self.text is None:
            return comments
        encoded: Embeddings = self.text(comments.texts)
        vectors = encoded.pooled.view(*comments.present.shape, -1)  # (B, C, D)
        return CommentVectors(vectors, comments.present & encoded.present.view_as(comments.present))

    def _join(
        self,
        fusion: nn.Module,
        read: Mapping[str, Read],
        comments: CommentVectors | Comments | None = None,
    ) -> Joined:
        """A joint model is the heavy part itself and reads comments as token ids."""
        joined: Joined
        inputs: list[Any] = list(read.values())
        if any(isinstance(part, EncoderNetwork) for part in fusion.modules()):
            joined = split_across_processes(
                fusion, *inputs, *([] if comments is None else [comments])
            )
        else:
            joined = fusion(*inputs) if comments is None else fusion(*inputs, comments=comments)
        return joined

    def _align(self, read: Mapping[str, Read], joined: Joined) -> Aligned | None:
        """Words and picture in one space, neither having seen the other."""
        if self.alignment is None:
            return None
        text, image = read["text"], read["image"]
        if self.aligned_vectors == "own":
            assert joined.text is not None and joined.image is not None
            vectors = joined.text, joined.image
        elif self.aligned_vectors == "unimodal":
            vectors = split_across_processes(
                cast("Any", self._without_comments).unimodal, text, image
            )
        else:
            assert isinstance(text, Embeddings) and isinstance(image, Embeddings)
            vectors = text.pooled, image.pooled
        aligned: Aligned = self.alignment(*vectors)
        return aligned

    def _match(
        self, read: Mapping[str, Read], joined: Joined, swaps: Tensor | None
    ) -> Tensor | None:
        """Logits (B, 2) of posts as they are and, where swapped, with another post's words.

        What the encoders gave is used again; only swapped posts are fused a second time.
        """
        if self.match_head is None or swaps is None:
            return None
        fused = joined.fused if joined.without_comments is None else joined.without_comments
        rows = (swaps != torch.arange(len(swaps), device=swaps.device)).nonzero().squeeze(1)
        if len(rows):
            exchanged = {
                name: part.take(rows if INPUTS[name].of_picture else swaps[rows])
                for name, part in read.items()
            }
            swapped = self._join(self._without_comments, exchanged).fused
            fused = fused.index_copy(0, rows, swapped.to(fused.dtype))
        logits: Tensor = self.match_head(fused)
        return logits

    @property
    def _without_comments(self) -> nn.Module:
        return self.fusion.fusion if isinstance(self.fusion, ReadsComments) else self.fusion
