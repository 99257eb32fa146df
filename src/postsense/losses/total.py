"""The objective: a weighted sum of named terms that reports every part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from postsense.batches import PostBatch
from postsense.config import LossSettings
from postsense.losses.classification import cross_entropy_loss
from postsense.losses.contrastive import supervised_contrastive_loss
from postsense.losses.distillation import distillation_loss
from postsense.losses.gate import needs_second_step
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


def intra_text_term(settings: LossSettings) -> Weighted:
    """Supervised contrast among the texts of the batch (L_clt)."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert output.aligned is not None and batch.text is not None
        texts, rows = output.aligned.text, batch.text.present
        return _contrast(texts, texts, batch, rows, settings)

    return Weighted(settings.intra_text, term)


def intra_image_term(settings: LossSettings) -> Weighted:
    """Supervised contrast among the pictures of the batch (L_cli)."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert output.aligned is not None and batch.image is not None
        pictures, rows = output.aligned.image, batch.image.present
        return _contrast(pictures, pictures, batch, rows, settings)

    return Weighted(settings.intra_image, term)


def inter_modal_term(settings: LossSettings) -> Weighted:
    """Supervised contrast of pictures with the texts of posts that have both (L_clm)."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        aligned = output.aligned
        assert aligned is not None
        return _contrast(aligned.image, aligned.text, batch, batch.has_both, settings)

    return Weighted(settings.inter_modal, term)


def second_step_needed(output: PostOutput, batch: PostBatch, settings: LossSettings) -> bool:
    """Whether words and pictures of the batch are matched too badly to leave out inter_modal."""
    aligned, rows = output.aligned, batch.has_both
    assert aligned is not None and batch.labels is not None
    threshold, fidelity = settings.gate_threshold, settings.fidelity
    text, image, labels = aligned.text[rows], aligned.image[rows], batch.labels[rows]
    return needs_second_step(text, image, labels, threshold, fidelity)


def _contrast(
    anchors: Tensor, others: Tensor, batch: PostBatch, rows: Tensor, settings: LossSettings
) -> Tensor:
    """Vectors given twice are one view. rows: (B,) bool, the posts to compare."""
    assert batch.labels is not None
    return supervised_contrastive_loss(
        anchors[rows],
        others[rows],
        batch.labels[rows],
        settings.contrast_temperature,
        same_view=anchors is others,
        fidelity=settings.fidelity,
    )


def distillation_term(weight: float) -> Weighted:
    """Divergence from the soft labels of the batch, each by its weight."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert batch.targets is not None and batch.weights is not None
        return distillation_loss(output.logits, batch.targets, batch.weights)

    return Weighted(weight, term)
