"""A query looks at states: the attentions that fusions and hint comments are made of."""

import torch
from torch import Tensor, nn

from postsense.config.encoders import Fidelity


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis of what the mask allows; zeros in a row that allows nothing.

    scores: (B, T) float; mask: (B, T) bool. It is what softmax over everything, multiplied with the
    mask and divided by the sum that is left, comes to.
    """
    lowest = torch.finfo(scores.dtype).min  # not -inf, which makes a row that allows nothing NaN
    return torch.softmax(scores.masked_fill(~mask, lowest), dim=-1) * mask


class AdditiveAttention(nn.Module):
    """A query looks at states: score_t = w . tanh(W_h h + W_f F_t + b), softmax over t.

    Source: Bahdanau et al. 2015, arXiv 1409.0473, appendix A.1.2.
    Deviation: none; one bias b stands for those of W_h and W_f.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)  # softmax does not see a constant

    def forward(self, query: Tensor, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """query (B, F), states (B, T, F), mask (B, T) → attended (B, F), weights (B, T).

        Both are zero, and send no gradient back, where a mask is all False.
        """
        weights = masked_softmax(self.scores(query, states), mask)
        return torch.einsum("bt,btf->bf", weights, states), weights

    def scores(self, query: Tensor, states: Tensor) -> Tensor:
        """What each state scores, (B, T), before the softmax."""
        scores: Tensor = self.score(torch.tanh(self.pairs(query, states)))
        return scores.squeeze(-1)

    def pairs(self, query: Tensor, states: Tensor) -> Tensor:
        """One layer over each pair [h; F_t], (B, T, F)."""
        pairs: Tensor = self.query(query)[:, None] + self.key(states)
        return pairs


class TokenProjection(nn.Module):
    """A layer over each token; its dropout takes a feature from all tokens of a post alike."""

    def __init__(self, dim: int, hidden: int, input_dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout1d(input_dropout)
        self.project = nn.Linear(dim, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) → (B, T, F)."""
        kept = self.dropout(tokens.transpose(1, 2)).transpose(1, 2)
        projected: Tensor = self.project(kept)
        return projected


class PairAttention(AdditiveAttention):
    """a(h, F): e_j = Lin(tanh(Lin([h; F_j]))), softmax over j.

    Source: Cai et al. 2019, Multi-Modal Sarcasm Detection in Twitter, representation fusion. With
    Lin([h; F_j]) = W_h h + W_f F_j + b it is additive attention.
    Deviation: none. fidelity "released" moves the tanh behind the last layer,
    e_j = tanh(Lin(Lin([h; F_j]))), as the code of Xu & Li 2022 has it.
    """

    def __init__(self, hidden: int, fidelity: Fidelity = "corrected") -> None:
        super().__init__(hidden)
        self.fidelity: Fidelity = fidelity
        if fidelity == "released":
            self.score = nn.Linear(hidden, 1)  # in front of a tanh a constant counts

    def scores(self, query: Tensor, states: Tensor) -> Tensor:
        """What each state scores, (B, T), before the softmax."""
        if self.fidelity == "corrected":
            return super().scores(query, states)
        return torch.tanh(self.score(self.pairs(query, states))).squeeze(-1)


class BilinearAttention(nn.Module):
    """Scores (W_q h) . (W_k c_n) / sqrt(F), softmax over the comments that are there.

    Source: Xu & Li 2022, Comment-Aware Self-Training, released code of BERT-CNN.
    Deviation: divided by sqrt(F); unscaled, softmax is saturated before training starts.
    """

    def __init__(self, query_dim: int, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_dim, hidden)
        self.key = nn.Linear(hidden, hidden, bias=False)  # softmax does not see a constant

    def forward(self, query: Tensor, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """query (B, Q), states (B, C, F), mask (B, C) → attended (B, F) and weights (B, C)."""
        asked = self.query(query) @ self.key.weight  # (W_k^T W_q h) . c_n, once a post
        scores = torch.einsum("bf,bcf->bc", asked, states) / states.shape[-1] ** 0.5
        weights = masked_softmax(scores, mask)
        return torch.einsum("bc,bcf->bf", weights, states), weights
