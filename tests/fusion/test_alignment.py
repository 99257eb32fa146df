"""Words and picture come into one space, with a scale that is learnt and bounded."""

import pytest
import torch
from torch import nn

from postsense.model.alignment import MAX_SCALE, Alignment


def test_each_side_is_projected_without_a_constant() -> None:
    torch.manual_seed(0)
    alignment = Alignment(3, 5, 4, 0.07)
    text, image = torch.randn(2, 3), torch.randn(2, 5)

    aligned = alignment(text, image)

    assert isinstance(alignment.text, nn.Linear) and isinstance(alignment.image, nn.Linear)
    torch.testing.assert_close(aligned.text, text @ alignment.text.weight.T)
    torch.testing.assert_close(aligned.image, image @ alignment.image.weight.T)


def test_vectors_of_one_space_are_taken_as_they_are() -> None:
    alignment = Alignment(4, 4, None, 0.07)
    text, image = torch.randn(2, 4), torch.randn(2, 4)

    aligned = alignment(text, image)

    assert torch.equal(aligned.text, text) and torch.equal(aligned.image, image)
    assert [name for name, _ in alignment.named_parameters()] == ["log_scale"]


def test_the_scale_starts_at_one_over_the_temperature_and_stays_below_its_bound() -> None:
    alignment, vectors = Alignment(4, 4, None, 0.07), torch.ones(1, 4)
    assert alignment(vectors, vectors).scale.item() == pytest.approx(1 / 0.07)

    nn.init.constant_(alignment.log_scale, 9.0)
    scale = alignment(vectors, vectors).scale
    scale.backward()

    assert scale.item() == pytest.approx(MAX_SCALE)
    assert alignment.log_scale.grad is not None  # from the bound it can come down again
    assert alignment.log_scale.grad.item() == pytest.approx(MAX_SCALE)
