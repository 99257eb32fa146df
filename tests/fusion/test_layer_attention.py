"""Layers weighed by class tokens and read by a BiLSTM, one layer, one token at a time."""

import pytest
import torch
from torch import Tensor

from postsense.fusion.layer_attention import LayerAttention, bidirectional_states
from tolerances import double_precision

LAYERS, DIM, WIDTH = 3, 5, 8
LENGTHS = (4, 2, 7, 1, 5)  # class token included: the fourth post has no other


@pytest.fixture
def reader() -> LayerAttention:
    torch.manual_seed(0)
    return LayerAttention(LAYERS, DIM, WIDTH)


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


@pytest.fixture
def tokens(mask: Tensor) -> Tensor:
    drawn = torch.randn(*mask.shape, LAYERS * DIM, generator=torch.Generator().manual_seed(1))
    return torch.where(mask[..., None], drawn, 1e3)


def naive_weights(reader: LayerAttention, post: Tensor) -> list[Tensor]:
    """Eq. 2: sigmoid(W_2 ReLU(W_1 mean_D([CLS]_l))) of one post, (T, L * D)."""
    means = [post[0, layer * DIM : (layer + 1) * DIM].mean() for layer in range(LAYERS)]
    first, second = reader.weigh[0].weight, reader.weigh[2].weight
    inner = [torch.relu(sum(w * m for w, m in zip(row, means))) for row in first]
    return [1 / (1 + torch.exp(-sum(w * m for w, m in zip(row, inner)))) for row in second]


def naive_lstm(words: list[Tensor], inward: Tensor, onward: Tensor) -> list[Tensor]:
    """One direction, step by step, without biases."""
    state, cell, states = torch.zeros(WIDTH // 2), torch.zeros(WIDTH // 2), []
    for word in words:
        admit, keep, new, show = (inward @ word + onward @ state).chunk(4)
        cell = keep.sigmoid() * cell + admit.sigmoid() * new.tanh()
        state = show.sigmoid() * cell.tanh()
        states.append(state)
    return states


def naive_states(reader: LayerAttention, post: Tensor) -> Tensor:
    """States (T', width) of one post without padding."""
    weights, lstm = naive_weights(reader, post), reader.lstm
    words = [
        sum(w * token[layer * DIM : (layer + 1) * DIM] for layer, w in enumerate(weights))
        for token in (post[1:] if len(post) > 1 else post)
    ]
    ahead = naive_lstm(words, lstm.weight_ih_l0, lstm.weight_hh_l0)
    back = naive_lstm(words[::-1], lstm.weight_ih_l0_reverse, lstm.weight_hh_l0_reverse)[::-1]
    return torch.stack([torch.cat(pair) for pair in zip(ahead, back)])


@double_precision
def test_it_equals_the_equation_whatever_lies_beyond_the_mask(
    reader: LayerAttention, tokens: Tensor, mask: Tensor
) -> None:
    states, there = reader(tokens, mask)

    for post, length in enumerate(LENGTHS):
        expected = naive_states(reader, tokens[post, :length])
        torch.testing.assert_close(states[post, : len(expected)], expected, atol=1e-6, rtol=1e-5)
        assert there[post].tolist() == [True] * len(expected) + [False] * (6 - len(expected))
        assert (states[post, len(expected) :] == 0).all()


@double_precision
def test_a_post_with_its_first_token_alone_is_read_as_that_token(
    reader: LayerAttention, tokens: Tensor, mask: Tensor
) -> None:
    states, there = reader(tokens, mask)

    assert there.sum(dim=1).tolist() == [3, 1, 6, 1, 4]
    torch.testing.assert_close(states[3, :1], naive_states(reader, tokens[3, :1]))


@double_precision
def test_gradients_equal_those_of_the_equation(
    reader: LayerAttention, tokens: Tensor, mask: Tensor
) -> None:
    given = tokens.clone().requires_grad_()
    learned = [given, *reader.parameters()]
    expected = sum(naive_states(reader, given[p, :n]).square().sum() for p, n in enumerate(LENGTHS))

    grads = torch.autograd.grad(reader(given, mask)[0].square().sum(), learned)

    for grad, slow in zip(grads, torch.autograd.grad(expected, learned)):
        torch.testing.assert_close(grad, slow, atol=1e-5, rtol=1e-4)
        assert slow.abs().sum() > 0


@double_precision
def test_the_fast_steps_equal_the_lstm_of_torch(reader: LayerAttention) -> None:
    words = torch.randn(9, DIM, generator=torch.Generator().manual_seed(2))
    packed = torch.nn.utils.rnn.pack_sequence([words[:5], words[5:8], words[8:]])
    mirrored = torch.tensor([8, 6, 2, 7, 4, 5, 1, 3, 0])  # of lengths 5, 3, 1

    states = bidirectional_states(reader.lstm, packed.data, packed.batch_sizes.tolist(), mirrored)

    torch.testing.assert_close(states, reader.lstm(packed)[0].data)


@double_precision
def test_tokens_may_be_missing_between_others(reader: LayerAttention, tokens: Tensor) -> None:
    mask = torch.tensor([[True, False, True, True, False, False, True]])

    states, there = reader(tokens[2:3], mask)

    assert there.tolist() == [[True, True, True]]
    torch.testing.assert_close(states[0], naive_states(reader, tokens[2][mask[0]]))


@double_precision
def test_posts_without_any_token_have_no_states(
    reader: LayerAttention, tokens: Tensor, mask: Tensor
) -> None:
    none, nowhere = reader(tokens, torch.zeros_like(mask))
    some, there = reader(tokens, mask & (torch.arange(5) != 2)[:, None])

    assert none.shape == (5, 1, WIDTH) and not none.any() and not nowhere.any()
    assert not some[2].any() and not there[2].any()
    torch.testing.assert_close(some[4, :4], naive_states(reader, tokens[4, :5]))
