"""Hint comments beside any fusion: each modality looks for the comments that concern it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from postsense.config.encoders import Fidelity
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.attention import AdditiveAttention, BilinearAttention, PairAttention
from postsense.fusion.joined import Joined


@dataclass(frozen=True)
class CommentVectors:
    """Encoded hint comments. vectors: (B, C, D). present: (B, C) bool."""

    vectors: Tensor
    present: Tensor


class ReadsComments(nn.Module):
    """A fusion that reads hint comments, over one that does not, which is its `fusion`."""

    fusion: nn.Module


class WithComments(ReadsComments):
    """Late fusion of hint comments with any fusion of picture and words.

    Source: Xu & Li 2022, Comment-Aware Self-Training, section 3.2, late fusion.
        c_n = W_c comment_n;  att_h = sum_n softmax_n(score(h, c_n)) c_n  for h in {text, image}
        x = fused + W [att_text; att_image]
    The score is that of the base classifier: bilinear, of CoMN additive, of MMSD a pair's.
    Deviation: the released code has x = W_f fused + W [att_text; att_image] + b; without W_f and b
    a post without hints is judged as without this module. W starts at zero, so that training
    starts from the base classifier. Dropout on the comments.
    """

    def __init__(
        self,
        fusion: nn.Module,
        attentions: nn.ModuleDict,
        comment_dim: int,
        hidden: int,
        dropout: float,
    ) -> None:
        """attentions: 'text' and 'image', those that the fusion reads."""
        super().__init__()
        self.fusion, self.attentions = fusion, attentions
        self.dropout = nn.Dropout(dropout)
        self.comment = nn.Linear(comment_dim, hidden)
        self.project = nn.Linear(hidden * len(attentions), hidden, bias=False)
        nn.init.zeros_(self.project.weight)

    def forward(self, *modalities: Embeddings, comments: CommentVectors) -> Joined:
        """Embeddings of the modalities and the comments → fused (B, F) and attention weights."""
        joined: Joined = self.fusion(*modalities)
        kept = self.dropout(torch.ones_like(comments.vectors[:, :1]))  # (B, 1, D), alike for all C
        vectors = self.comment(comments.vectors * kept)
        parts, weights = [], []
        for modality, attention in self.attentions.items():
            attended, weight = attention(getattr(joined, modality), vectors, comments.present)
            parts.append(attended)
            weights.append(weight)
        fused = joined.fused + self.project(torch.cat(parts, dim=1))
        attention_paid = torch.stack(weights).mean(dim=0)
        return Joined(fused, joined.text, joined.image, attention_paid, joined.fused)


def comment_attentions(
    kind: Literal["bilinear", "additive", "pair"],
    fusion: nn.Module,
    hidden: int,
    fidelity: Fidelity = "corrected",
) -> nn.ModuleDict:
    """The attentions of a fusion, of its kind, one for each modality that it reads."""
    attentions = nn.ModuleDict()
    for modality in ("text", "image"):
        width = getattr(fusion, f"{modality}_query_dim")
        if width is None:
            continue
        if kind == "additive":
            attentions[modality] = AdditiveAttention(hidden)
        elif kind == "pair":
            attentions[modality] = PairAttention(hidden, fidelity)
        else:
            attentions[modality] = BilinearAttention(width, hidden)
    return attentions
