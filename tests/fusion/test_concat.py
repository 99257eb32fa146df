"""Concat fusion is one layer over the joined vectors."""

import pytest
import torch
from torch import Tensor

from postsense.encoders.embeddings import Embeddings
from postsense.fusion.concat import Concat
from tolerances import double_precision

PRESENT = torch.ones(4, dtype=torch.bool)


@pytest.fixture
def modalities() -> tuple[Embeddings, Embeddings]:
    generator = torch.Generator().manual_seed(0)
    text, image = torch.randn(4, 3, generator=generator), torch.randn(4, 5, generator=generator)
    return Embeddings(text, PRESENT), Embeddings(image, PRESENT)


def naive_concat(fusion: Concat, vectors: list[Tensor]) -> Tensor:
    """x = ReLU(W [text; image] + b), one number at a time."""
    assert fusion.project is not None
    weight, bias = fusion.project.weight, fusion.project.bias
    joined = [value for vector in vectors for value in vector]
    return torch.stack(
        [
            max(sum(w * x for w, x in zip(row, joined, strict=True)) + b, torch.tensor(0.0))
            for row, b in zip(weight, bias, strict=True)
        ]
    )


@double_precision
def test_it_equals_the_equation(modalities: tuple[Embeddings, Embeddings]) -> None:
    text, image = modalities
    fusion = Concat(3, 5, hidden=6, input_dropout=0.5).eval()

    joined = fusion(text, image)
    fused = joined.fused

    for post in range(4):
        expected = naive_concat(fusion, [text.pooled[post], image.pooled[post]])
        torch.testing.assert_close(fused[post], expected)


@double_precision
def test_with_one_modality_it_is_that_one_alone(modalities: tuple[Embeddings, Embeddings]) -> None:
    _, image = modalities
    fusion = Concat(None, 5, hidden=6, input_dropout=0.5).eval()

    torch.testing.assert_close(fusion(image).fused[2], naive_concat(fusion, [image.pooled[2]]))


def test_dropout_acts_in_training_only(modalities: tuple[Embeddings, Embeddings]) -> None:
    fusion = Concat(3, 5, hidden=64, input_dropout=0.5)
    torch.manual_seed(0)

    assert not torch.equal(fusion.train()(*modalities).fused, fusion(*modalities).fused)
    assert torch.equal(fusion.eval()(*modalities).fused, fusion(*modalities).fused)


def test_without_a_layer_it_is_the_vectors_side_by_side(
    modalities: tuple[Embeddings, Embeddings],
) -> None:
    text, image = modalities
    fusion = Concat(3, 5, hidden=0, input_dropout=0.5).eval()
    joined = fusion(text, image)
    assert torch.equal(joined.fused, torch.cat([text.pooled, image.pooled], dim=1))
    assert fusion.width == 8
    assert not list(fusion.parameters())


def test_without_a_layer_one_modality_stays_as_it_is(
    modalities: tuple[Embeddings, Embeddings],
) -> None:
    fusion = Concat(None, 5, hidden=0, input_dropout=0.5).eval()
    assert torch.equal(fusion(modalities[1]).fused, modalities[1].pooled)
    assert fusion.width == 5
