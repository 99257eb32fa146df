"""Words as several layers of an encoder tell them → one state a word, through a BiLSTM."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence


class LayerAttention(nn.Module):
    """The class tokens weigh the layers; a BiLSTM reads the words of the weighted sum.

    Source: SPP-SCL, AAAI 2026, eq. 2 (hierarchical attention), with the layers of its released
    code.
        a = sigmoid(W_2 ReLU(W_1 mean_D([CLS])));  x_t = sum_l a_l h_lt;  H = BiLSTM(x_1 ... x_T)
    t counts the tokens after the class token. The paper speaks of one layer for W_1, W_2, of a
    mean over tokens in front of the LSTM and of one direction; the code has it as here.
    Deviation: padding, which the released BiLSTM reads, is not seen at all. A text without a token
    beyond the first is read as that token, so that a post lacking words has a state too.
    """

    def __init__(self, layers: int, dim: int, width: int) -> None:
        """layers: L. dim: width D of a token in one layer. width: even, of a state."""
        super().__init__()
        self.layers, self.dim, self.width = layers, dim, width
        self.weigh = nn.Sequential(
            nn.Linear(layers, layers, bias=False),
            nn.ReLU(),
            nn.Linear(layers, layers, bias=False),
            nn.Sigmoid(),
        )
        self.lstm = nn.LSTM(dim, width // 2, bias=False, bidirectional=True)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of all layers → states (B, T', width) and which of them are there, (B, T') bool.

        tokens: (B, T, L * D) float, a token's layers side by side, the earliest first; the class
        token first of all. mask: (B, T) bool. T' is the most tokens that a post has after the
        first, at least 1. States stand in the order of the tokens; beyond the last they are zero.
        """
        posts, length = mask.shape
        weights = self.weigh(self._class_tokens(tokens).mean(dim=2))  # (B, L)
        if not mask.any():
            return tokens.new_zeros(posts, 1, self.width), mask.new_zeros(posts, 1)
        order = _order_of(mask)
        places = order.rows * length + order.columns
        read = tokens.flatten(0, 1).index_select(0, places).view(-1, self.layers, self.dim)
        words = torch.bmm(weights[order.rows, None], read).squeeze(1)  # (R, D)
        states, longest = self._states(words, order), len(order.posts_at)
        flat = states.new_zeros(posts * longest, self.width)
        flat = flat.index_copy(0, order.rows * longest + order.steps, states)
        there = torch.arange(longest, device=mask.device) < order.lengths[:, None]
        return flat.view(posts, longest, self.width), there

    def _class_tokens(self, tokens: Tensor) -> Tensor:
        """(B, L, D)."""
        return tokens[:, 0].reshape(-1, self.layers, self.dim)

    def _states(self, words: Tensor, order: "_Order") -> Tensor:
        """What the LSTM says of each word. words: (R, D) in the given order → (R, width)."""
        if words.is_cuda:
            packed = PackedSequence(words, torch.tensor(order.posts_at))
            states: Tensor = self.lstm(packed)[0].data
            return states
        return bidirectional_states(self.lstm, words, order.posts_at, order.mirrored)


@dataclass(frozen=True)
class _Order:
    """The R tokens that are read: by their number in the post, and the longest post first.

    rows, columns: (R,) int64, where a token stands in (B, T). steps: (R,) its number in the post.
    mirrored: (R,) which of the R is as far from the post's last token as this is from the first.
    posts_at: how many posts have a token of each number. lengths: (B,) tokens of a post.
    """

    rows: Tensor
    columns: Tensor
    steps: Tensor
    mirrored: Tensor
    posts_at: list[int]
    lengths: Tensor


def _order_of(mask: Tensor) -> _Order:
    """The order of the real tokens after the first; of the first, where there is no other."""
    kept = mask.clone()
    kept[:, 0] &= ~mask[:, 1:].any(dim=1)
    lengths = kept.sum(dim=1)
    by_length = lengths.argsort(descending=True, stable=True)
    columns = (~kept).byte().argsort(dim=1, stable=True)  # of the tokens kept first
    numbers = torch.arange(int(lengths.max()), device=mask.device)
    steps, ranks = (numbers[:, None] < lengths[by_length]).nonzero(as_tuple=True)
    rows, posts_at = by_length[ranks], (numbers[:, None] < lengths).sum(dim=1)
    starts = posts_at.cumsum(0) - posts_at
    mirrored = starts[lengths[rows] - 1 - steps] + ranks
    return _Order(rows, columns[rows, steps], steps, mirrored, posts_at.tolist(), lengths)


def bidirectional_states(
    lstm: nn.LSTM, words: Tensor, posts_at: list[int], mirrored: Tensor
) -> Tensor:
    """What an LSTM without biases says of packed sequences, both directions at once.

    Source: ours: equal to lstm(PackedSequence(words, posts_at)), which on a CPU spends most of its
    backward pass on filling a gradient of all words with zeros, once for each step.

    Args:
        lstm: one layer, two directions of width H, no bias.
        words: (R, D) float, those of all sequences at step 0, at step 1, and so on.
        posts_at: sequences, the longest first, that reach each step; R in sum.
        mirrored: (R,) int64, each word's counterpart, counted from its sequence's end.
    Returns: (R, 2 * H), forward states beside backward ones, in the order of words.
    """
    ahead_in, ahead_on, back_in, back_on = lstm.parameters()
    forward, backward = (words @ torch.cat([ahead_in, back_in]).T).chunk(2, dim=1)
    given = torch.stack([forward, backward.index_select(0, mirrored)])  # (2, R, 4 H)
    onward = torch.stack([ahead_on, back_on]).transpose(1, 2)  # (2, H, 4 H)
    states: Tensor = _Recurrence.apply(given.to(onward.dtype), onward, posts_at)  # type: ignore[no-untyped-call]
    forward, backward = states
    return torch.cat([forward, backward.index_select(0, mirrored)], dim=1)


class _Recurrence(torch.autograd.Function):
    """The steps of both directions, and all their gradients in one pass back.

    Source: ours; autograd would keep and walk some forty small operations a step.
        c_t = f_t c_{t-1} + i_t g_t;  h_t = o_t tanh(c_t);  i, f, o = sigmoid, g = tanh of
        the gates [i, f, g, o] = given_t + h_{t-1} W
    """

    @staticmethod
    def forward(ctx: Any, given: Tensor, onward: Tensor, posts_at: list[int]) -> Tensor:
        """given: (2, R, 4 * H), onward: (2, H, 4 * H) → h, (2, R, H)."""
        gates, width = given.clone(), onward.shape[1]
        cells, shown, states = (gates.new_empty(*gates.shape[:2], width) for _ in range(3))
        state = cell = gates.new_zeros(2, posts_at[0], width)
        parts = [torch.split(part, posts_at, dim=1) for part in (gates, cells, shown, states)]
        for posts, gate, into, bounded, out in zip(posts_at, *parts, strict=True):
            gate.baddbmm_(state[:, :posts], onward)
            admit, keep, new, show = gate.chunk(4, dim=2)
            gate[..., : 2 * width].sigmoid_()
            new.tanh_()
            show.sigmoid_()
            torch.mul(cell[:, :posts], keep, out=into).addcmul_(admit, new)
            torch.tanh(into, out=bounded)
            torch.mul(show, bounded, out=out)
            state, cell = out, into
        ctx.posts_at = posts_at
        ctx.save_for_backward(gates, cells, shown, states, onward)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """grad: (2, R, H), of h."""
        gates, cells, shown, states, onward = ctx.saved_tensors
        posts_at, grad = ctx.posts_at, grad.clone(memory_format=torch.contiguous_format)
        earlier = _step_before(posts_at, grad.device)
        of_cell, of_gates = _slopes(gates, cells, shown, earlier)
        keeps = torch.split(gates.chunk(4, dim=2)[1], posts_at, dim=1)
        steps = [torch.split(part, posts_at, dim=1) for part in (grad, of_cell, of_gates)]
        back, after = onward.transpose(1, 2), 0  # after: posts that reach the step after this one
        for step in reversed(range(len(posts_at))):
            of_state, cell, gate = (part[step] for part in steps)
            if after:
                of_state[:, :after].baddbmm_(steps[2][step + 1], back)
            cell.mul_(of_state)
            if after:
                cell[:, :after].addcmul_(steps[1][step + 1], keeps[step + 1])
            inner, show = torch.split(gate.view(*gate.shape[:2], 4, -1), [3, 1], dim=2)
            inner.mul_(cell.unsqueeze(2))
            show.mul_(of_state.unsqueeze(2))
            after = posts_at[step]
        before = states.index_select(1, earlier).transpose(1, 2)
        return of_gates, before @ of_gates[:, posts_at[0] :], None


def _step_before(posts_at: list[int], device: torch.device) -> Tensor:
    """For each word but the first ones, where that of the same sequence stands one step before."""
    rows, start = [torch.empty(0, dtype=torch.long)], 0
    for posts, later in pairwise(posts_at):
        rows.append(torch.arange(start, start + later))
        start += posts
    return torch.cat(rows).to(device)


def _slopes(gates: Tensor, cells: Tensor, shown: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
    """How c_t moves h_t, (2, R, H), and the gates move c_t, the last of them h_t, (2, R, 4 H)."""
    admit, keep, new, show = gates.chunk(4, dim=2)
    first = cells.shape[1] - len(earlier)
    slopes = torch.empty_like(gates)
    of_admit, of_keep, of_new, of_show = slopes.chunk(4, dim=2)
    torch.mul(new, admit * (1 - admit), out=of_admit)
    of_keep[:, :first] = 0
    torch.mul(
        cells.index_select(1, earlier), (keep * (1 - keep))[:, first:], out=of_keep[:, first:]
    )
    torch.mul(admit, 1 - new * new, out=of_new)
    torch.mul(shown, show * (1 - show), out=of_show)
    return show * (1 - shown * shown), slopes
