"""Bitransformer fusion: a text encoder reads the picture as if it were some more words."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from postsense.config import FusionSettings
from postsense.encoders.backbone import TextBackbone
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.joint import embedded_words
from postsense.errors import EncoderError
from postsense.fusion.attention import TokenProjection, masked_softmax
from postsense.fusion.comments import ReadsComments
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined
from postsense.inputs.batches import Comments, Pixels, TokenIds


def build(given: Given, settings: FusionSettings) -> "Bitransformer":
    """The bitransformer over the text encoder."""
    backbone = given.text_backbone
    width, dropout = settings.hidden, settings.input_dropout
    return Bitransformer(backbone, given.widths["image"], width, dropout, settings.picture_tokens)


class Bitransformer(nn.Module):
    """Picture vectors, projected to the width of word embeddings, and words in one transformer.

    Source: Kiela et al. 2019, Supervised Multimodal Bitransformers (MMBT), arXiv 1909.02950.
        sequence   v_1 ... v_n  [CLS]  w_1  w_2 ...
        segment     0  ...  0     0     1    1  ...
        position    1  ...  n     0     1    2  ...   each modality counts its own
        x = tanh(W h_[CLS] + b)
    Where a picture has more than n regions, v_1 ... v_n are means of consecutive ones.
    Deviation: no [SEP] behind the picture, since segments part it from the words; the layer over
    the class token is new, since checkpoints often lack a pooler or lose layers below it; models
    with one segment get positions only; dropout on the picture vectors and on the class token.

    A post without picture has v masked out. A post without words has a learned vector in place of
    [CLS] and no w: the class token is always there to be attended.
    """

    text_query_dim: int | None = None
    image_query_dim: int | None = None

    def __init__(
        self,
        backbone: TextBackbone,
        image_dim: int,
        hidden: int,
        input_dropout: float,
        picture_tokens: int = 3,
    ) -> None:
        """picture_tokens: n, for pictures that come with regions; others are one vector.

        Raises: EncoderError: the text encoder does not read embeddings, or has no class token.
        """
        super().__init__()
        _refuse_unreadable(backbone)
        model: Any = backbone.model
        width = model.get_input_embeddings().embedding_dim
        self.backbone, self.hidden, self.picture_tokens = backbone, hidden, picture_tokens
        self.picture = TokenProjection(image_dim, width, input_dropout)
        self.dropout = nn.Dropout(input_dropout)
        self.missing_text = nn.Parameter(torch.zeros(width))
        self.project = nn.Linear(backbone.dim, hidden)

    def forward(self, text: TokenIds, image: Embeddings) -> Joined:
        """Token ids, the class token first, and picture embeddings → fused (B, F)."""
        class_token = self.dropout(self._class_state(text, *self._picture(image)))
        return Joined(torch.tanh(self.project(class_token)), text=None, image=None)

    @property
    def unimodal_dims(self) -> tuple[int, int]:
        """Widths of the two vectors that `unimodal` gives."""
        return self.backbone.dim, self.picture.project.in_features

    def unimodal(self, text: TokenIds, image: Embeddings) -> tuple[Tensor, Tensor]:
        """The class token of the words alone (B, D) and the picture's own vector (B, image_dim).

        Source: Sanchez Villegas et al. 2024, arXiv 2309.07794, released code of MMBT: a pass of
        the words alone, and the picture as its encoder gives it.
        Deviation: the words keep the segment that they have beside a picture. Of other joint
        models they contrast states that have already seen the other modality, which lets the loss
        be met by copying; of ours neither vector has.
        """
        nothing = image.pooled.new_zeros(len(text.ids), 0, self.missing_text.shape[0])
        return self._class_state(text, nothing, text.mask[:, :0]), image.pooled

    def _class_state(self, text: TokenIds, vectors: Tensor, seen: Tensor) -> Tensor:
        """What the last layer says of the class token, (B, D).

        vectors: (B, n, E), the picture's. seen: (B, n) bool.
        """
        model: Any = self.backbone.model
        words, read = embedded_words(model, text.ids, text.mask, self.missing_text)
        position, segment = self._places(vectors.shape[1], words.shape[1])
        segments = {"token_type_ids": segment.expand(len(words), -1)} if self._has_segments else {}
        output = model(
            inputs_embeds=torch.cat([vectors, words], dim=1),
            attention_mask=torch.cat([seen, read], dim=1).long(),
            position_ids=position.expand(len(words), -1),
            **segments,
        )
        state: Tensor = output.last_hidden_state[:, vectors.shape[1]]
        return state

    def _picture(self, image: Embeddings) -> tuple[Tensor, Tensor]:
        """The picture's vectors (B, n, E) and which of them are there, (B, n) bool."""
        vectors, seen = image.pooled[:, None], image.present[:, None]
        if image.tokens is not None and image.mask is not None:
            mask = image.mask & image.present[:, None]
            vectors, seen = _consecutive_means(image.tokens, mask, self.picture_tokens)
        return self.picture(vectors), seen

    def _places(self, pictures: int, words: int) -> tuple[Tensor, Tensor]:
        """Position and segment of every place in the sequence, each (1, n + T) int64."""
        device = self.missing_text.device
        picture = torch.arange(1, pictures + 1, device=device)
        word = torch.arange(words, device=device)
        position = torch.cat([picture, word]) + _first_position(self.backbone.model)
        segment = torch.cat([torch.zeros_like(picture), (word > 0).long()])
        return position[None], segment[None]

    @property
    def _has_segments(self) -> bool:
        config: Any = self.backbone.model.config
        return getattr(config, "type_vocab_size", 0) >= 2


class EarlyComments(ReadsComments):
    """Hint comments, each read with the picture by the joint model that reads the post.

    Source: Xu & Li 2022, Comment-Aware Self-Training, eq. 7, early fusion (no code was released).
        z_n = FFN([h; c_n]);  beta = softmax_n(z);  u = sum_n beta_n c_n;  x = W [u; h] + b
    h = fusion(words, picture), c_n = fusion(comment_n, picture); theirs is the bitransformer.
    Deviation: eq. 7 mixes its indices up; this is the reading under which the weights belong to
    the comments. The FFN has one hidden layer with a ReLU. u is zero for a post without comments.
    """

    text_query_dim: int | None = None
    image_query_dim: int | None = None

    def __init__(self, fusion: nn.Module, hidden: int) -> None:
        """fusion: one that reads token ids and has `hidden`, the width of what it gives."""
        super().__init__()
        width: Any = fusion.hidden
        pair = 2 * width
        self.fusion = fusion
        self.score = nn.Sequential(
            nn.Linear(pair, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False)
        )
        self.project = nn.Linear(pair, hidden)

    def forward(self, text: TokenIds, image: Embeddings | Pixels, comments: Comments) -> Joined:
        """The post and its comments as token ids → fused (B, F), comment_weights (B, C)."""
        assert isinstance(comments.texts, TokenIds)
        post: Tensor = self.fusion(text, image).fused  # (B, F)
        present = comments.present & comments.texts.mask.any(dim=1).view_as(comments.present)
        encoded = self._encode(comments.texts, image, present)  # (B, C, F)
        pairs = torch.cat([post[:, None].expand_as(encoded), encoded], dim=-1)
        weights = masked_softmax(self.score(pairs).squeeze(-1), present)
        hint = torch.einsum("bc,bcf->bf", weights, encoded)
        fused = self.project(torch.cat([hint, post], dim=1))
        return Joined(fused, None, None, comment_weights=weights, without_comments=post)

    def _encode(self, texts: TokenIds, image: Embeddings | Pixels, present: Tensor) -> Tensor:
        """The comments that are there, each with its post's picture; zeros for the others."""
        encoded = self.project.weight.new_zeros(*present.shape, self.project.in_features // 2)
        if not present.any():
            return encoded
        rows = present.flatten().nonzero().squeeze(1)
        pictures = image.take(rows // present.shape[1])
        fused: Tensor = self.fusion(texts.take(rows), pictures).fused
        return encoded.to(fused.dtype).masked_scatter(present[..., None], fused)


def _consecutive_means(tokens: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """At most `count` means of consecutive tokens a row, and which are there.

    tokens: (B, T, D), mask: (B, T) → (B, count, D), (B, count) bool. A row of fewer tokens keeps
    them; nothing depends on how far the rows are padded.
    """
    length = mask.sum(dim=1, keepdim=True)  # (B, 1)
    rank = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (B, T)
    group = torch.where(length > count, rank * count // length.clamp(min=1), rank)
    member = F.one_hot(group.clamp(max=count - 1), count) * mask[..., None]  # (B, T, count)
    size = member.sum(dim=1)  # (B, count)
    total = torch.einsum("btc,btd->bcd", member.to(tokens.dtype), tokens)
    return total / size.clamp(min=1)[..., None], size > 0


def _first_position(model: nn.Module) -> int:
    """Where positions start: behind that of padding in RoBERTa and its kin, elsewhere at 0."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def _refuse_unreadable(backbone: TextBackbone) -> None:
    accepted = inspect.signature(backbone.model.forward).parameters
    placed = {"inputs_embeds", "attention_mask", "position_ids"} <= set(accepted)
    if placed and not backbone.pooled_output and backbone.bears_padding:
        return
    raise EncoderError(
        "encoders.text.name",
        "for fusion 'bitransformer' a model like BERT, which reads embeddings and positions and"
        " leaves out what is masked",
        f"'{type(backbone.model).__name__}', which does not",
        "Name another checkpoint, or choose another fusion.name.",
    )
