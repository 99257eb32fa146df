"""The objective: a weighted sum of named terms that reports every part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from postsense.batches import PostBatch
from postsense.config import LossSettings
from postsense.losses.classification import cross_entropy_loss
from postsense.losses.distillation import distillation_loss
from postsense.outputs import PostOutput

LossTerm = Callable[[PostOutput, PostBatch], Tensor]


@dataclass(frozen=True)
class Weighted:
    """A loss term and its weight in the total."""

    weight: float
    term: LossTerm


@dataclass(frozen=True)
class Loss:
    """total: scalar with a gradient. parts: each unweighted term, as a number in nats."""

    total: Tensor
    parts: Mapping[str, float]


def total_loss(terms: Mapping[str, Weighted], output: PostOutput, batch: PostBatch) -> Loss:
    """The weighted sum of all terms on one batch."""
    values = {name: weighted.term(output, batch) for name, weighted in terms.items()}
    total = torch.stack([terms[name].weight * value for name, value in values.items()]).sum()
    return Loss(total, {name: float(value.detach()) for name, value in values.items()})


def classification_term(settings: LossSettings, class_weights: Tensor | None) -> Weighted:
    """Cross-entropy on the labels of the batch. class_weights: (K,) or None."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert batch.labels is not None
        weights = None if class_weights is None else class_weights.to(output.logits.device)
        return cross_entropy_loss(output.logits, batch.labels, weights, settings.label_smoothing)

    return Weighted(settings.classification, term)


def distillation_term(weight: float) -> Weighted:
    """Divergence from the soft labels of the batch, each by its weight."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert batch.targets is not None and batch.weights is not None
        return distillation_loss(output.logits, batch.targets, batch.weights)

    return Weighted(weight, term)
