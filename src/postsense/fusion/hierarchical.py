"""Hierarchical fusion of words, picture and attributes, the words for what a picture shows."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from postsense.config import FusionSettings
from postsense.config.encoders import Fidelity
from postsense.encoders.embeddings import Embeddings, pool
from postsense.fusion.attention import PairAttention, TokenProjection
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined


def build(given: Given, settings: FusionSettings) -> "Hierarchical":
    """The fusion of words, picture and attributes."""
    text, image, attributes = (given.widths[name] for name in ("text", "image", "attributes"))
    hidden, dropout = settings.hidden, settings.input_dropout
    return Hierarchical(text, image, attributes, hidden, dropout, settings.fidelity)


class Hierarchical(nn.Module):
    """Each modality is summed up under the eyes of all three, then the three are weighed.

    Source: Cai et al. 2019, Multi-Modal Sarcasm Detection in Twitter, representation fusion and
    modality fusion, with the layers of MMSD-BERT in the released code of Xu & Li 2022.
        w = 1/3 sum_g a_mg(h_g, F_m);  r_m = sum_j w_j F_mj          for each modality m, guide g
        s = softmax_m(Lin(tanh(Lin(r_m))));  u_m = tanh(Lin(r_m));  x = sum_m s_m u_m
    h: the mean of the picture's regions, the pooled vectors of words and attributes.
    Deviation: dropout on the inputs. fidelity "released" follows Xu & Li's code where it departs
    from Cai et al.: r_m is the mean over j, not the sum; padding is attended and counted, so that
    what a post gets depends on its batch; the tanh of a is last; u_m has none.
    """

    def __init__(
        self,
        text_dim: int,
        image_dim: int,
        attribute_dim: int,
        hidden: int,
        input_dropout: float,
        fidelity: Fidelity = "corrected",
    ) -> None:
        super().__init__()
        self.text_query_dim, self.image_query_dim = hidden, hidden
        self.fidelity: Fidelity = fidelity
        self.text_vector = nn.Linear(text_dim, hidden)
        self.attribute_vector = nn.Linear(attribute_dim, hidden)
        self.dropout = nn.Dropout(input_dropout)
        last = nn.Identity() if fidelity == "released" else nn.Tanh()
        self.sequences = nn.ModuleList(
            TokenProjection(dim, hidden, input_dropout)
            for dim in (text_dim, image_dim, attribute_dim)
        )
        self.summaries = nn.ModuleList(_Summary(hidden, fidelity) for _ in range(3))
        self.scores = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))
            for _ in range(3)
        )
        self.views = nn.ModuleList(nn.Sequential(nn.Linear(hidden, hidden), last) for _ in range(3))

    def forward(self, text: Embeddings, image: Embeddings, attributes: Embeddings) -> Joined:
        """Embeddings with tokens and masks → fused (B, F); text and image are u_m, (B, F)."""
        given = (text, image, attributes)
        masks = [self._mask(part) for part in given]
        sequences = [
            project(part.tokens) for project, part in zip(self.sequences, given, strict=True)
        ]
        guides = [
            self.text_vector(self.dropout(text.pooled)),
            pool(sequences[1], masks[1], "mean"),
            self.attribute_vector(self.dropout(attributes.pooled)),
        ]
        summaries = [
            summarize(sequence, mask, guides)
            for summarize, sequence, mask in zip(self.summaries, sequences, masks, strict=True)
        ]
        views = [view(r) for view, r in zip(self.views, summaries, strict=True)]
        scores = [score(r) for score, r in zip(self.scores, summaries, strict=True)]
        shares = torch.softmax(torch.cat(scores, dim=1), dim=1)  # (B, 3)
        fused = torch.einsum("bm,bmf->bf", shares, torch.stack(views, dim=1))
        return Joined(fused, text=views[0], image=views[1])

    def _mask(self, part: Embeddings) -> Tensor:
        assert part.mask is not None
        return torch.ones_like(part.mask) if self.fidelity == "released" else part.mask


class _Summary(nn.Module):
    """Representation fusion of one modality: what all guides see in it."""

    def __init__(self, hidden: int, fidelity: Fidelity) -> None:
        super().__init__()
        self.fidelity: Fidelity = fidelity
        self.attentions = nn.ModuleList(PairAttention(hidden, fidelity) for _ in range(3))

    def forward(self, sequence: Tensor, mask: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """sequence (B, T, F), mask (B, T), three guides (B, F) → r (B, F)."""
        seen = [
            attention(guide, sequence, mask)[0]
            for attention, guide in zip(self.attentions, guides, strict=True)
        ]
        summary = torch.stack(seen).mean(dim=0)  # the same as with the mean of the weights
        return summary / sequence.shape[1] if self.fidelity == "released" else summary
