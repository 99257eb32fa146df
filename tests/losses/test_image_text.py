"""The image-text losses are their equations, and a swap is always a true mismatch."""

import math

import pytest
import torch
from torch import Tensor

from postsense.losses.image_text import (
    draw_swaps,
    image_text_contrastive_loss,
    image_text_matching_loss,
    same_content,
)
from tolerances import double_precision

SCALE = torch.tensor(5.0)


def vectors(posts: int, seed: int, width: int = 4) -> Tensor:
    return torch.randn(posts, width, generator=torch.Generator().manual_seed(seed)).double()


def naive_contrastive(text: Tensor, image: Tensor, scale: float, same: Tensor) -> float:
    """ITC of arXiv 2309.07794 one pair at a time."""

    def exp_cosine(t: Tensor, v: Tensor) -> float:
        return math.exp(scale * float(t @ v) / (float(t.norm()) * float(v.norm())))

    total = 0.0
    for i in range(len(text)):
        others = [j for j in range(len(text)) if j == i or not same[i, j]]
        matched = exp_cosine(text[i], image[i])
        total += math.log(matched / sum(exp_cosine(text[i], image[j]) for j in others))
        total += math.log(matched / sum(exp_cosine(text[j], image[i]) for j in others))
    return -total / (2 * len(text))


@double_precision
@pytest.mark.parametrize("posts", [2, 3, 7])
@pytest.mark.parametrize("alike", [False, True])
def test_the_contrastive_loss_is_its_double_loop(posts: int, alike: bool) -> None:
    text, image = vectors(posts, 0), vectors(posts, 1)
    contents = torch.tensor([[row // 2, row] if alike else [row, row] for row in range(posts)])

    loss = image_text_contrastive_loss(text, image, SCALE.double(), same_content(contents))

    assert float(loss) == pytest.approx(
        naive_contrastive(text, image, float(SCALE), same_content(contents))
    )


@double_precision
def test_two_posts_that_point_apart_have_the_loss_worked_out_by_hand() -> None:
    loss = image_text_contrastive_loss(torch.eye(2), 7 * torch.eye(2), SCALE)

    assert float(loss) == pytest.approx(math.log(1 + math.exp(-5)))  # cosines 1 and 0


@double_precision
def test_a_perfect_match_at_a_high_scale_costs_nothing_and_a_wrong_one_much() -> None:
    right = image_text_contrastive_loss(torch.eye(3), torch.eye(3), torch.tensor(100.0))
    wrong = image_text_contrastive_loss(torch.eye(3), torch.eye(3).roll(1, 0), torch.tensor(100.0))

    assert float(right) == pytest.approx(0.0, abs=1e-6)
    assert float(wrong) == pytest.approx(100.0, abs=1e-3)


@double_precision
def test_the_contrastive_loss_does_not_care_for_side_norm_or_order() -> None:
    text, image = vectors(5, 0), vectors(5, 1)
    loss = float(image_text_contrastive_loss(text, image, SCALE))

    assert float(image_text_contrastive_loss(image, text, SCALE)) == pytest.approx(loss)
    assert float(image_text_contrastive_loss(3 * text, 0.1 * image, SCALE)) == pytest.approx(loss)
    order = torch.tensor([3, 1, 4, 0, 2])
    assert float(image_text_contrastive_loss(text[order], image[order], SCALE)) == pytest.approx(
        loss
    )


@pytest.mark.parametrize("posts", [0, 1])
def test_without_another_post_the_contrastive_loss_is_zero_and_has_a_gradient(posts: int) -> None:
    text, image = vectors(posts, 0).requires_grad_(), vectors(posts, 1).requires_grad_()

    loss = image_text_contrastive_loss(text, image, SCALE)
    loss.backward()

    assert float(loss.detach()) == 0.0
    assert text.grad is not None and torch.equal(text.grad, torch.zeros_like(text))


def test_half_precision_around_the_contrastive_loss_does_not_reach_into_it() -> None:
    text, image, scale = vectors(6, 0).float(), vectors(6, 1).float(), torch.tensor(100.0)
    exact = image_text_contrastive_loss(text, image, scale)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(image_text_contrastive_loss(text, image, scale)) == float(exact)


def test_posts_of_one_text_are_not_told_apart() -> None:
    text = vectors(1, 0).expand(4, -1).clone().requires_grad_()
    contents = torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3]])

    loss = image_text_contrastive_loss(text, vectors(4, 1), SCALE, same_content(contents))
    loss.backward()

    assert float(loss.detach()) == 0.0
    assert text.grad is not None and torch.isfinite(text.grad).all()


def test_the_scale_learns() -> None:
    scale = torch.tensor(1.0, requires_grad=True)

    image_text_contrastive_loss(torch.eye(3), torch.eye(3), scale).backward()

    assert scale.grad is not None and float(scale.grad) < 0  # matched pairs ask for a higher one


@double_precision
def test_the_matching_loss_is_the_mean_of_what_each_post_costs() -> None:
    logits, matches = vectors(6, 3, width=2), torch.tensor([1, 0, 0, 1, 1, 0], dtype=torch.bool)

    total = 0.0
    for (other, own), match in zip(logits.tolist(), matches.tolist()):
        right = own if match else other
        total -= math.log(math.exp(right) / (math.exp(own) + math.exp(other)))

    assert float(image_text_matching_loss(logits, matches)) == pytest.approx(total / 6)


@double_precision
def test_a_matching_head_that_knows_nothing_costs_log_two_and_none_nothing() -> None:
    undecided = image_text_matching_loss(torch.zeros(3, 2), torch.tensor([True, False, True]))
    nothing = image_text_matching_loss(torch.zeros(0, 2, requires_grad=True), torch.zeros(0) > 0)

    assert float(undecided) == pytest.approx(math.log(2))
    assert float(nothing.detach()) == 0.0 and nothing.requires_grad


CONTENTS = torch.tensor([[0, 0], [0, 1], [1, 1], [2, 2], [3, -1], [4, 4]])
HAS_BOTH = torch.tensor([True, True, True, True, False, True])
PARTNERS = {0: {2, 3, 5}, 1: {3, 5}, 2: {0, 3, 5}, 3: {0, 1, 2, 5}, 4: set[int](), 5: {0, 1, 2, 3}}


def test_a_post_is_shown_the_words_of_every_post_that_does_not_match_and_of_no_other() -> None:
    drawn: dict[int, set[int]] = {post: set() for post in range(6)}
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        swaps = draw_swaps(CONTENTS, HAS_BOTH, 0.5, generator).tolist()
        for post, partner in enumerate(swaps):
            drawn[post] |= {partner} - {post}

    assert drawn == PARTNERS


@double_precision
def test_posts_are_swapped_as_often_as_asked_and_with_each_other_alike() -> None:
    contents = torch.arange(400).repeat(2, 1).T
    generator = torch.Generator().manual_seed(0)

    swaps = draw_swaps(contents, torch.ones(400, dtype=torch.bool), 0.3, generator)

    swapped = swaps != torch.arange(400)
    assert float(swapped.float().mean()) == pytest.approx(0.3, abs=0.07)  # 3 sd
    assert len(swaps[swapped].unique()) > 0.75 * int(swapped.sum())  # spread over the batch


@pytest.mark.parametrize("contents", [[[0, 0]], [[0, 0], [0, 1], [0, 2]], [[0, 0], [1, 0]]])
def test_a_batch_without_a_true_mismatch_is_left_as_it_is(contents: list[list[int]]) -> None:
    given = torch.tensor(contents)
    whole = torch.ones(len(given), dtype=torch.bool)

    swaps = draw_swaps(given, whole, 0.99, torch.Generator().manual_seed(0))

    assert swaps.tolist() == list(range(len(given)))


def test_swaps_come_from_the_generator_alone() -> None:
    draws = [
        draw_swaps(CONTENTS, HAS_BOTH, 0.5, torch.Generator().manual_seed(seed)).tolist()
        for seed in (1, 1, 2)
    ]

    assert draws[0] == draws[1] != draws[2]
