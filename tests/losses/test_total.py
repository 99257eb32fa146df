"""The objective is the weighted sum of its terms, and every part is told."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from postsense.config import LossSettings
from postsense.encoders.embeddings import Embeddings
from postsense.inputs.batches import PostBatch
from postsense.losses.classification import classification_term, cross_entropy_loss
from postsense.losses.contrastive import (
    inter_modal_term,
    intra_image_term,
    intra_text_term,
    supervised_contrastive_loss,
)
from postsense.losses.gate import consistency, released_consistency, second_step_needed
from postsense.losses.total import Weighted, total_loss
from postsense.model.outputs import Aligned, PostOutput
from tolerances import double_precision

BATCH = PostBatch({}, labels=torch.tensor([0, 1]))


def output_of(logits: Tensor) -> PostOutput:
    return PostOutput(logits=logits, fused=logits, read={})


@double_precision
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


@double_precision
def test_the_classification_term_follows_the_settings() -> None:
    logits, weights = torch.tensor([[1.0, 0.0], [2.0, -1.0]]), torch.tensor([1.0, 3.0])
    settings = LossSettings(classification=0.7, label_smoothing=0.1)

    term = classification_term(settings, weights)

    expected = cross_entropy_loss(logits, torch.tensor([0, 1]), weights, 0.1)
    assert term.weight == 0.7
    assert term.term(output_of(logits), BATCH).item() == pytest.approx(expected.item())


@double_precision
def test_the_classification_term_without_class_weights_is_plain_cross_entropy() -> None:
    term = classification_term(LossSettings(), None)

    loss = total_loss({"classification": term}, output_of(torch.zeros(2, 2)), BATCH)

    assert loss.total.item() == pytest.approx(math.log(2))


POSTS = 8
HAS_TEXT = torch.tensor([1, 1, 0, 1, 1, 1, 1, 0], dtype=torch.bool)
HAS_IMAGE = torch.tensor([1, 0, 1, 1, 1, 0, 1, 1], dtype=torch.bool)
LABELS = torch.tensor([0, 1, 0, 1, 0, 1, 1, 0])
CONTRAST = LossSettings(
    intra_text=0.3, intra_image=0.5, inter_modal=0.7, contrast_temperature=0.1, fidelity="released"
)


def vectors(seed: int) -> Tensor:
    return torch.randn(POSTS, 4, generator=torch.Generator().manual_seed(seed))


ALIGNED = Aligned(vectors(1), vectors(2), torch.tensor(1.0))
OUTPUT = PostOutput(vectors(0), vectors(0), {}, aligned=ALIGNED)
PAIRS = PostBatch(
    {"text": Embeddings(vectors(3), HAS_TEXT), "image": Embeddings(vectors(4), HAS_IMAGE)},
    labels=LABELS,
)


def contrast(anchors: Tensor, others: Tensor, rows: Tensor, *, same_view: bool) -> float:
    given = anchors[rows], others[rows], LABELS[rows], 0.1
    return float(supervised_contrastive_loss(*given, same_view=same_view, fidelity="released"))


@double_precision
def test_the_contrast_of_texts_is_over_the_posts_that_have_words() -> None:
    term = intra_text_term(CONTRAST)

    expected = contrast(ALIGNED.text, ALIGNED.text, HAS_TEXT, same_view=True)
    assert term.weight == 0.3
    assert float(term.term(OUTPUT, PAIRS)) == pytest.approx(expected)


@double_precision
def test_the_contrast_of_pictures_is_over_the_posts_that_have_one() -> None:
    term = intra_image_term(CONTRAST)

    expected = contrast(ALIGNED.image, ALIGNED.image, HAS_IMAGE, same_view=True)
    assert term.weight == 0.5
    assert float(term.term(OUTPUT, PAIRS)) == pytest.approx(expected)


@double_precision
def test_the_contrast_of_pictures_with_texts_is_over_the_posts_that_have_both() -> None:
    term = inter_modal_term(CONTRAST)

    expected = contrast(ALIGNED.image, ALIGNED.text, HAS_TEXT & HAS_IMAGE, same_view=False)
    assert term.weight == 0.7
    assert float(term.term(OUTPUT, PAIRS)) == pytest.approx(expected)


@double_precision
@pytest.mark.parametrize("make", [intra_text_term, intra_image_term])
def test_the_contrast_within_a_modality_follows_the_fidelity(make: Any) -> None:
    corrected = CONTRAST.model_copy(update={"fidelity": "corrected"})

    values = [float(make(settings).term(OUTPUT, PAIRS)) for settings in (CONTRAST, corrected)]

    assert values[0] != pytest.approx(values[1], rel=1e-4)


@pytest.mark.parametrize("make", [intra_text_term, intra_image_term, inter_modal_term])
def test_a_batch_that_lacks_the_modality_costs_nothing(make: Any) -> None:
    nothing = torch.zeros(POSTS, dtype=torch.bool)
    lacking = Embeddings(vectors(3), nothing)

    loss = make(CONTRAST).term(OUTPUT, replace(PAIRS, read={"text": lacking, "image": lacking}))

    assert float(loss) == 0.0


@pytest.mark.parametrize("fidelity", ["corrected", "released"])
def test_the_gate_looks_at_the_posts_that_have_both(fidelity: str) -> None:
    rows = HAS_TEXT & HAS_IMAGE
    count = consistency if fidelity == "corrected" else released_consistency
    score = count(ALIGNED.text[rows], ALIGNED.image[rows], LABELS[rows]).score
    assert 0.1 < score < 0.9
    assert score != count(ALIGNED.text, ALIGNED.image, LABELS).score

    settings = CONTRAST.model_copy(update={"fidelity": fidelity, "gate_threshold": score - 0.01})
    above = settings.model_copy(update={"gate_threshold": min(1.0, score + 0.3)})
    assert not second_step_needed(OUTPUT, PAIRS, settings)
    assert second_step_needed(OUTPUT, PAIRS, above)
