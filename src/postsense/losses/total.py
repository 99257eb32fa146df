"""The objective: a weighted sum of named terms that reports every part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from postsense.inputs.batches import PostBatch
from postsense.model.outputs import PostOutput

LossTerm = Callable[[PostOutput, PostBatch], Tensor]


@dataclass(frozen=True)
class Weighted:
    """A loss term and its weight in the total."""

    weight: float
    term: LossTerm


@dataclass(frozen=True)
class TotalLoss:
    """total: scalar with a gradient. parts: each unweighted term, as a number in nats."""

    total: Tensor
    parts: Mapping[str, float]


def total_loss(terms: Mapping[str, Weighted], output: PostOutput, batch: PostBatch) -> TotalLoss:
    """The weighted sum of all terms on one batch."""
    values = {name: weighted.term(output, batch) for name, weighted in terms.items()}
    total = torch.stack([terms[name].weight * value for name, value in values.items()]).sum()
    return TotalLoss(total, {name: float(value.detach()) for name, value in values.items()})
