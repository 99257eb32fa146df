"""Pooling reads what is real and nothing else."""

import pytest
import torch
from torch import Tensor

from postsense.config.encoders import Pooling
from postsense.encoders.embeddings import Embeddings, pool

LENGTHS = (4, 1, 0, 3)


def padded(filler: float, length: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.full((len(LENGTHS), length, 5), filler)
    tokens[:, :4] = torch.randn(len(LENGTHS), 4, 5, generator=generator)
    mask = torch.arange(length)[None, :] < torch.tensor(LENGTHS)[:, None]
    return torch.where(mask[..., None], tokens, filler), mask


def naive_pool(tokens: list[list[float]], pooling: Pooling) -> list[float]:
    if not tokens:
        return [0.0] * 5
    if pooling == "cls":
        return tokens[0]
    columns = list(zip(*tokens, strict=True))
    if pooling == "max":
        return [max(column) for column in columns]
    return [sum(column) / len(column) for column in columns]


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_it_equals_one_sequence_at_a_time(pooling: Pooling) -> None:
    tokens, mask = padded(filler=100.0)

    pooled = pool(tokens, mask, pooling)

    for vector, sequence, length in zip(pooled, tokens, LENGTHS, strict=True):
        expected = naive_pool(sequence[:length].tolist(), pooling)
        assert vector.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_more_padding_changes_nothing(pooling: Pooling) -> None:
    short, long = padded(filler=0.0), padded(filler=0.0, length=9)

    torch.testing.assert_close(pool(*long, pooling), pool(*short, pooling))


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_an_empty_sequence_has_a_finite_gradient(pooling: Pooling) -> None:
    tokens, mask = padded(filler=0.0)
    tokens.requires_grad_()

    pool(tokens, mask, pooling).sum().backward()

    assert tokens.grad is not None and tokens.grad.isfinite().all()
    assert not tokens.grad[~mask].any()


def test_the_maximum_of_negative_numbers_is_not_the_padding() -> None:
    tokens, mask = torch.tensor([[[-2.0], [-1.0], [0.0]]]), torch.tensor([[True, True, False]])

    assert pool(tokens, mask, "max").tolist() == [[-1.0]]


def test_moving_embeddings_moves_what_they_have() -> None:
    embeddings = Embeddings(torch.zeros(2, 3), torch.ones(2, dtype=torch.bool)).to("meta")

    assert embeddings.pooled.device.type == embeddings.present.device.type == "meta"
    assert embeddings.tokens is None
