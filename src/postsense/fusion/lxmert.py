"""LXMERT fusion: words and regions of the picture, each read alone, then by one another."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from postsense.config import FusionSettings
from postsense.encoders.embeddings import Embeddings, pool
from postsense.encoders.joint import JointBackbone, embedded_words
from postsense.encoders.regions import BOX
from postsense.errors import EncoderError
from postsense.fusion.attention import TokenProjection
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined
from postsense.inputs.batches import TokenIds


def build(given: Given, settings: FusionSettings) -> "Lxmert":
    """LXMERT over a joint checkpoint, for regions of a detector or of another encoder."""
    backbone, width = given.joint_backbone, given.widths["image"]
    hidden, dropout = settings.hidden, settings.input_dropout
    return Lxmert(backbone, width, hidden, dropout, with_boxes=given.with_boxes)


class Lxmert(nn.Module):
    """A two-stream model: layers for the words, layers for the regions, then layers across both.

    Source: Tan & Bansal 2019, LXMERT, arXiv 1908.07490; Sanchez Villegas et al. 2024, arXiv
    2309.07794, who classify posts with it.
        x = ReLU(W h_[CLS] + b), h_[CLS] the class token's state on the language side
    Deviation: dropout in front of W too, where theirs is behind the ReLU only, which is our head's.
    LXMERT was trained on what an object detector finds: a vector and a box for each of 36 regions.
    Regions of other encoders stand in for them: the cells of a grid with the boxes of its cells,
    and a trained layer where their width is not that of the detector's vectors.

    A post without picture has a learned vector as its only region, one without words a learned
    vector in place of [CLS]: LXMERT cannot bear a modality that is masked out as a whole.
    """

    text_query_dim: int | None = None
    image_query_dim: int | None = None

    def __init__(
        self,
        backbone: JointBackbone,
        image_dim: int,
        hidden: int,
        input_dropout: float,
        *,
        with_boxes: bool,
    ) -> None:
        """image_dim: width of a region, with its box as the last four features if with_boxes."""
        super().__init__()
        config: Any = backbone.model.config
        width = image_dim - BOX if with_boxes else image_dim
        wanted = int(config.visual_feat_dim)
        self.backbone, self.hidden, self.with_boxes = backbone, hidden, with_boxes
        self.stand_in = (
            nn.Identity() if width == wanted else TokenProjection(width, wanted, input_dropout)
        )
        self.dropout = nn.Dropout(input_dropout)
        self.missing_text = nn.Parameter(torch.zeros(backbone.dim))
        self.missing_image = nn.Parameter(torch.zeros(wanted))
        self.project = nn.Linear(backbone.dim, hidden)

    def forward(self, text: TokenIds, image: Embeddings) -> Joined:
        """Token ids, the class token first, and regions (B, T, image_dim) → fused (B, F).

        Raises: EncoderError: without boxes the regions are no square grid.
        """
        words, read = self._words(text)
        regions, boxes, mask = self._regions(image)
        output = self.backbone.model(
            inputs_embeds=words,
            attention_mask=read.long(),
            visual_feats=regions,
            visual_pos=boxes,
            visual_attention_mask=mask.long(),
        )
        class_token = self.dropout(output.language_output[:, 0])
        return Joined(torch.relu(self.project(class_token)), text=None, image=None)

    @property
    def unimodal_dims(self) -> tuple[int, int]:
        """Widths of the two vectors that `unimodal` gives."""
        return self.backbone.dim, self.backbone.dim

    def unimodal(self, text: TokenIds, image: Embeddings) -> tuple[Tensor, Tensor]:
        """The class token after the language layers and the mean region after its own, (B, D) each.

        Source: Sanchez Villegas et al. 2024, released code.
        Deviation: there the maximum of each side's last states, which have already seen the other
        modality, so that the contrastive loss can be met by copying; the words' side is detached.
        These are the states before the layers across, and both sides learn.

        A post's vector of a modality that it lacks is that of the learned vector.
        """
        model: Any = self.backbone.model
        words, read = self._words(text)
        segment = torch.zeros_like(text.ids)
        states = model.embeddings(None, segment, inputs_embeds=words)  # (B, L, D)
        for layer in model.encoder.layer:
            states = layer(states, _attention_mask(read, states.dtype))[0]
        regions, boxes, mask = self._regions(image)
        seen = model.encoder.visn_fc(regions, boxes)  # (B, T, D)
        for layer in model.encoder.r_layers:
            seen = layer(seen, _attention_mask(mask, seen.dtype))[0]
        return states[:, 0], pool(seen, mask, "mean")

    def _words(self, text: TokenIds) -> tuple[Tensor, Tensor]:
        """Word embeddings (B, L, D) and which are there, (B, L) bool."""
        return embedded_words(self.backbone.model, text.ids, text.mask, self.missing_text)

    def _regions(self, image: Embeddings) -> tuple[Tensor, Tensor, Tensor]:
        """Regions (B, T, V), their boxes (B, T, 4) and which are there, (B, T) bool."""
        assert image.tokens is not None and image.mask is not None
        if self.with_boxes:
            regions, boxes = image.tokens[..., :-BOX], image.tokens[..., -BOX:]
        else:
            regions = image.tokens
            boxes = grid_boxes(regions.shape[1]).to(regions).expand(len(regions), -1, -1)
        mask = image.mask & image.present[:, None]
        missing = torch.zeros_like(mask)
        missing[:, 0] = ~mask.any(dim=1)
        regions = torch.where(missing[..., None], self.missing_image, self.stand_in(regions))
        whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).to(boxes)
        return regions, torch.where(missing[..., None], whole, boxes), mask | missing


def grid_boxes(regions: int) -> Tensor:
    """Boxes (T, 4) of the cells of a square grid, row by row: left, top, right, bottom in [0, 1].

    regions: T, n * n cells, or n * n + 1 where a class token, which covers the picture, leads them.
    Raises: EncoderError: T is neither.
    """
    side = math.isqrt(regions)
    leading = regions - side * side
    if leading > 1 or side == 0:
        raise EncoderError(
            "encoders.image.name",
            "for fusion 'lxmert' a square grid of n * n regions, or one more for a class token",
            f"{regions} regions",
            "Name another checkpoint, or give the table a column of regions with boxes.",
        )
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    corners = torch.stack([column, row, column + 1, row + 1], dim=-1).reshape(-1, BOX) / side
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    return torch.cat([whole.expand(leading, -1), corners])


def _attention_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, T) bool → what LXMERT adds to its scores, (B, 1, 1, T)."""
    return (~mask)[:, None, None].to(dtype) * torch.finfo(dtype).min
