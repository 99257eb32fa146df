"""Distillation equals the paper's sum, one post and one class at a time."""

import math

import pytest
import torch
from torch import Tensor

from postsense.losses.distillation import distillation_loss
from tolerances import double_precision


def naive_distillation(logits: Tensor, targets: Tensor, weights: Tensor) -> float:
    """Xu & Li 2022, released code: 1/B sum_i w_i sum_k t_ik (log t_ik - log s_ik)."""
    total = 0.0
    for row, target, weight in zip(logits.tolist(), targets.tolist(), weights.tolist()):
        scale = math.log(sum(math.exp(value) for value in row))
        for value, t in zip(row, target):
            if t > 0:
                total += weight * t * (math.log(t) - (value - scale))
    return total / len(logits)


def example(posts: int = 5, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(posts, classes, generator=generator)
    targets = torch.softmax(torch.randn(posts, classes, generator=generator), dim=1)
    return logits, targets, torch.rand(posts, generator=generator)


@double_precision
def test_it_equals_the_equation() -> None:
    logits, targets, weights = example()
    expected = naive_distillation(logits, targets, weights)
    assert float(distillation_loss(logits, targets, weights)) == pytest.approx(expected, abs=1e-6)


@double_precision
def test_a_student_that_agrees_with_its_teacher_has_none() -> None:
    logits, _, weights = example()
    same = torch.softmax(logits, dim=1)
    assert float(distillation_loss(logits, same, weights)) == pytest.approx(0.0, abs=1e-6)


@double_precision
def test_a_sure_teacher_and_an_undecided_student_differ_by_log_k() -> None:
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    loss = distillation_loss(torch.zeros(1, 3), targets, torch.ones(1))
    assert float(loss) == pytest.approx(math.log(3))


def test_a_target_without_weight_pulls_at_nothing() -> None:
    logits, targets, _ = example()
    logits.requires_grad_()
    distillation_loss(logits, targets, torch.tensor([0.0, 1, 1, 1, 1])).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0
    assert torch.isfinite(logits.grad).all() and (logits.grad[1].abs().max() > 0)
