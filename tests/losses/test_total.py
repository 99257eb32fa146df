"""The objective is the weighted sum of its terms, and every part is told."""

import math

import pytest
import torch
from torch import Tensor

from postsense.batches import PostBatch
from postsense.config import LossSettings
from postsense.losses.classification import cross_entropy_loss
from postsense.losses.total import Weighted, classification_term, total_loss
from postsense.outputs import PostOutput

BATCH = PostBatch(text=None, image=None, labels=torch.tensor([0, 1]))


def output_of(logits: Tensor) -> PostOutput:
    return PostOutput(logits=logits, fused=logits, text=None, image=None)


def test_it_is_the_weighted_sum_and_reports_each_unweighted_part() -> None:
    terms = {
        "sum": Weighted(0.5, lambda output, batch: output.logits.sum()),
        "square": Weighted(2.0, lambda output, batch: output.logits.square().sum()),
    }

    loss = total_loss(terms, output_of(torch.tensor([[1.0, 3.0]])), BATCH)

    assert loss.total.item() == pytest.approx(0.5 * 4 + 2 * 10)
    assert loss.parts == {"sum": 4.0, "square": 10.0}


def test_its_gradient_is_the_weighted_sum_of_the_gradients() -> None:
    logits = torch.tensor([[1.0, 3.0]], requires_grad=True)
    terms = {
        "sum": Weighted(0.5, lambda output, batch: output.logits.sum()),
        "square": Weighted(2.0, lambda output, batch: output.logits.square().sum()),
    }

    total_loss(terms, output_of(logits), BATCH).total.backward()

    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.5 + 4 * 1.0, 0.5 + 4 * 3.0]]


def test_a_term_of_weight_zero_is_reported_and_teaches_nothing() -> None:
    logits = torch.ones(1, 2, requires_grad=True)
    terms = {"ignored": Weighted(0.0, lambda output, batch: output.logits.exp().sum())}

    loss = total_loss(terms, output_of(logits), BATCH)
    loss.total.backward()

    assert loss.parts["ignored"] == pytest.approx(2 * math.e)
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0, 0.0]]


def test_the_classification_term_follows_the_settings() -> None:
    logits, weights = torch.tensor([[1.0, 0.0], [2.0, -1.0]]), torch.tensor([1.0, 3.0])
    settings = LossSettings(classification=0.7, label_smoothing=0.1)

    term = classification_term(settings, weights)

    expected = cross_entropy_loss(logits, torch.tensor([0, 1]), weights, 0.1)
    assert term.weight == 0.7
    assert term.term(output_of(logits), BATCH).item() == pytest.approx(expected.item())


def test_the_classification_term_without_class_weights_is_plain_cross_entropy() -> None:
    term = classification_term(LossSettings(), None)

    loss = total_loss({"classification": term}, output_of(torch.zeros(2, 2)), BATCH)

    assert loss.total.item() == pytest.approx(math.log(2))
