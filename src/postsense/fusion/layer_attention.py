"""Words as several layers of an encoder tell them → one state a word, through a BiLSTM."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
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
            with torch.autocast("cuda", enabled=False):  # which would make it float16, unscaled
                packed = PackedSequence(words.float(), torch.tensor(order.posts_at))
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
    with torch.autocast(words.device.type, enabled=False):  # steps too small for half precision
        forward, backward = _recurrence(given.to(onward.dtype), onward, posts_at)
    return torch.cat([forward, backward.index_select(0, mirrored)], dim=1)


def _recurrence(given: Tensor, onward: Tensor, posts_at: list[int]) -> Tensor:
    """given: (2, R, 4 * H), what words say to the gates; onward: (2, H, 4 * H) → (2, R, H)."""
    state = cell = given.new_zeros(2, posts_at[0], onward.shape[1])
    states = []
    for posts, step in zip(posts_at, torch.split(given, posts_at, dim=1), strict=True):
        gates = torch.baddbmm(step, state[:, :posts], onward)
        admit, keep, new, show = gates.chunk(4, dim=2)
        cell = torch.addcmul(admit.sigmoid() * new.tanh(), keep.sigmoid(), cell[:, :posts])
        state = show.sigmoid() * cell.tanh()
        states.append(state)
    return torch.cat(states, dim=1)
