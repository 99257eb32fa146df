"""Cross-entropy equals its equation, term by term."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from postsense.losses.classification import balanced_class_weights, cross_entropy_loss
from tolerances import double_precision


def naive_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float
) -> float:
    """-1/B sum_i sum_c q_ic w_c log p_ic, where q_i is the label with some mass moved to all."""
    posts, classes = logits.shape
    total = 0.0
    for i in range(posts):
        normalizer = sum(math.exp(logits[i, c]) for c in range(classes))
        for c in range(classes):
            target = smoothing / classes + (1 - smoothing) * (c == labels[i])
            weight = 1.0 if weights is None else float(weights[c])
            total -= target * weight * math.log(math.exp(logits[i, c]) / normalizer)
    return total / posts


@pytest.fixture
def logits() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(9, 4, generator=generator)


LABELS = torch.tensor([0, 1, 2, 3, 0, 0, 1, 2, 0])
WEIGHTS = (0.5, 2.0, 1.0, 3.0)


@double_precision
@pytest.mark.parametrize("values", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_it_equals_the_double_loop(
    logits: Tensor, values: Sequence[float] | None, smoothing: float
) -> None:
    weights = None if values is None else torch.tensor(values)

    loss = cross_entropy_loss(logits, LABELS, weights, smoothing)

    assert loss.item() == pytest.approx(naive_cross_entropy(logits, LABELS, weights, smoothing))


@double_precision
def test_an_undecided_post_costs_the_logarithm_of_the_classes() -> None:
    loss = cross_entropy_loss(torch.zeros(1, 5), torch.tensor([3]))

    assert loss.item() == pytest.approx(math.log(5))


@double_precision
def test_a_hand_computed_batch() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    weights = torch.tensor([1.0, 3.0])

    loss = cross_entropy_loss(logits, torch.tensor([0, 1]), weights)

    assert loss.item() == pytest.approx((math.log(2) + 3 * math.log(4 / 3)) / 2)


def test_a_batch_of_a_heavy_class_weighs_more_than_one_of_a_light_class() -> None:
    heavy = cross_entropy_loss(torch.zeros(3, 2), torch.tensor([1, 1, 1]), torch.tensor([1.0, 4.0]))
    light = cross_entropy_loss(torch.zeros(3, 2), torch.tensor([0, 0, 0]), torch.tensor([1.0, 4.0]))

    assert heavy.item() == pytest.approx(4 * light.item())


def test_it_falls_to_zero_as_the_labels_become_certain() -> None:
    certain = torch.nn.functional.one_hot(LABELS).float()

    losses = [cross_entropy_loss(scale * certain, LABELS).item() for scale in (1.0, 10.0, 100.0)]

    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(0.0, abs=1e-7)


@double_precision
def test_neither_the_order_of_posts_nor_a_common_shift_matters(logits: Tensor) -> None:
    weights = torch.tensor(WEIGHTS)
    loss = cross_entropy_loss(logits, LABELS, weights, 0.1)

    turned = cross_entropy_loss(logits.flip(0), LABELS.flip(0), weights, 0.1)

    torch.testing.assert_close(turned, loss)
    torch.testing.assert_close(cross_entropy_loss(logits + 7.0, LABELS, weights, 0.1), loss)


def test_its_gradient_is_the_error_of_the_probabilities() -> None:
    logits = torch.tensor([[0.0, 1000.0]], requires_grad=True)

    cross_entropy_loss(logits, torch.tensor([0])).backward()

    assert logits.grad is not None
    assert logits.grad.tolist() == [[-1.0, 1.0]]


def test_balanced_weights_equal_those_of_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(4), y=LABELS.numpy())

    assert balanced_class_weights(LABELS, 4).numpy() == pytest.approx(expected)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    weights = balanced_class_weights(torch.tensor([0, 0, 0, 1, 2, 2]), 3)

    assert (weights * torch.tensor([3, 1, 2])).tolist() == pytest.approx([2.0, 2.0, 2.0])


def test_a_class_without_posts_weighs_nothing() -> None:
    assert balanced_class_weights(torch.tensor([0, 2]), 3).tolist() == pytest.approx(
        [2 / 3, 0, 2 / 3]
    )
