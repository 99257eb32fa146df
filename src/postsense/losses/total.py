"""The objective: a weighted sum of named terms that reports every part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from postsense.batches import PostBatch
from postsense.config import LossSettings
from postsense.losses.classification import cross_entropy_loss
from postsense.losses.distillation import distillation_loss
from postsense.losses.image_text import (
    image_text_contrastive_loss,
    image_text_matching_loss,
    same_content,
)
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
    """Cross-entropy on the labels of the batch, with the weight that ITC and ITM leave it.

    class_weights: (K,) or None.
    """

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert batch.labels is not None
        weights = None if class_weights is None else class_weights.to(output.logits.device)
        return cross_entropy_loss(output.logits, batch.labels, weights, settings.label_smoothing)

    left = 1 - settings.itc - settings.itm
    return Weighted(settings.classification * left, term)


def contrastive_term(weight: float) -> Weighted:
    """ITC over the posts of the batch that have words and a picture."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        aligned, rows = output.aligned, batch.has_both
        assert aligned is not None and batch.contents is not None
        return image_text_contrastive_loss(
            aligned.text[rows],
            aligned.image[rows],
            aligned.scale,
            same_content(batch.contents[rows]),
        )

    return Weighted(weight, term)


def matching_term(weight: float) -> Weighted:
    """ITM over the posts of the batch that have words and a picture."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        logits, swaps, rows = output.match_logits, batch.swaps, batch.has_both
        assert logits is not None and swaps is not None
        matches = swaps == torch.arange(len(swaps), device=swaps.device)
        return image_text_matching_loss(logits[rows], matches[rows])

    return Weighted(weight, term)


def distillation_term(weight: float) -> Weighted:
    """Divergence from the soft labels of the batch, each by its weight."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert batch.targets is not None and batch.weights is not None
        return distillation_loss(output.logits, batch.targets, batch.weights)

    return Weighted(weight, term)
