"""The gate counts the pairs that its equations name, corrected and released."""

import math

import pytest
import torch
from torch import Tensor

from postsense.config.encoders import Fidelity
from postsense.losses.gate import consistency, needs_second_step, released_consistency
from tolerances import double_precision

FIDELITIES: tuple[Fidelity, ...] = ("corrected", "released")
TEXT = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
IMAGE = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
LABELS = torch.tensor([0, 0, 1])
# cosines       picture 0   1      2      dot products  0  1  2
#   text 0      1.000   0.707  0.000                    2  1  0
#   text 1      0.000   0.707  1.000                    0  2  2
#   text 2      0.707   1.000  0.707                    6  6  3
# own pairs: cosines 1, 0.707, 0.707, mean 0.805


def vectors(posts: int, seed: int, width: int = 8) -> Tensor:
    return torch.randn(posts, width, generator=torch.Generator().manual_seed(seed))


def naive_consistency(text: Tensor, image: Tensor, labels: list[int]) -> tuple[int, int]:
    cosine = [[float(t @ v / (t.norm() * v.norm())) for v in image] for t in text]
    own = sum(cosine[i][i] for i in range(len(text))) / len(text)
    pairs = [(i, j) for i in range(len(text)) for j in range(len(text)) if labels[i] != labels[j]]
    return sum(cosine[i][j] < own for i, j in pairs), len(pairs)


def naive_released(text: Tensor, image: Tensor, labels: list[int]) -> tuple[int, int]:
    alike = [[1 / (1 + math.exp(-float(t @ v))) for v in image] for t in text]
    own = sum(alike[i][i] for i in range(len(text))) / len(text)
    pairs = [(i, j) for i in range(len(text)) for j in range(len(text))]
    same = sum(labels[i] == labels[j] for i, j in pairs)
    return sum(alike[i][j] < own for i, j in pairs), same


def test_three_posts_have_the_consistency_worked_out_by_hand() -> None:
    counted = consistency(TEXT, IMAGE, LABELS)

    # different labels: (0, 2) 0.000, (1, 2) 1.000, (2, 0) 0.707, (2, 1) 1.000
    assert (counted.below, counted.of) == (2, 4)
    assert counted.score == 0.5


def test_three_posts_have_the_released_count_worked_out_by_hand() -> None:
    counted = released_consistency(TEXT, IMAGE, LABELS)

    # sigmoids of 2, 2 and 3 are 0.881, 0.881 and 0.953, mean 0.905: below are all but 3, 6 and 6
    assert (counted.below, counted.of) == (6, 5)
    assert counted.score == 6 / 5


@pytest.mark.parametrize("seed", range(4))
def test_the_counts_are_their_double_loops(seed: int) -> None:
    text, image = vectors(9, seed), vectors(9, seed + 10)
    labels = torch.arange(9) % 3

    ours, theirs = consistency(text, image, labels), released_consistency(text, image, labels)

    assert (ours.below, ours.of) == naive_consistency(text, image, labels.tolist())
    assert (theirs.below, theirs.of) == naive_released(text, image, labels.tolist())


@pytest.mark.parametrize(("threshold", "expected"), [(0.49, False), (0.5, False), (0.51, True)])
def test_the_second_step_comes_below_the_threshold(threshold: float, expected: bool) -> None:
    assert needs_second_step(TEXT, IMAGE, LABELS, threshold) is expected


@pytest.mark.parametrize(("threshold", "expected"), [(1.0, False), (1.39, False), (1.4, True)])
def test_the_released_gate_rounds_its_bound_down(threshold: float, expected: bool) -> None:
    # 6 of 5 pairs: skipped up to floor(threshold * 5) = 6
    assert needs_second_step(TEXT, IMAGE, LABELS, threshold, "released") is expected


def test_a_released_bound_below_one_pair_never_needs_a_second_step() -> None:
    text, labels = torch.zeros(1, 2), torch.tensor([0])

    assert not needs_second_step(text, text, labels, 2 / 3, "released")  # floor(2/3 * 1) = 0


@double_precision
def test_at_chance_half_of_the_pairs_are_below_while_the_released_count_is_above_the_bound() -> (
    None
):
    text, image, labels = vectors(200, 0), vectors(200, 1), torch.arange(200) % 3

    assert consistency(text, image, labels).score == pytest.approx(0.5, abs=0.06)
    assert released_consistency(text, image, labels).score > 1.2
    assert needs_second_step(text, image, labels, 2 / 3)
    assert not needs_second_step(text, image, labels, 2 / 3, "released")


def test_labels_that_lie_apart_need_no_second_step() -> None:
    text, labels = torch.eye(3)[[0, 0, 1, 1, 2]], torch.tensor([0, 0, 1, 1, 2])

    assert consistency(text, 4 * text, labels).score == 1.0
    assert not needs_second_step(text, 4 * text, labels, 1.0)


@pytest.mark.parametrize("posts", [3, 5, 7, 11])
def test_vectors_that_are_all_the_same_need_one_however_they_are_rounded(posts: int) -> None:
    text, image = vectors(1, 0).repeat(posts, 1), vectors(1, 1).repeat(posts, 1)
    labels = torch.arange(posts) % 2

    assert consistency(text, image, labels).score == 0.0
    assert needs_second_step(text, image, labels, 0.01)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("posts", [0, 1])
def test_a_batch_without_a_pair_needs_no_second_step(posts: int, fidelity: Fidelity) -> None:
    text, image, labels = vectors(posts, 0), vectors(posts, 1), torch.zeros(posts).long()

    assert consistency(text, image, labels).score == 1.0
    assert not needs_second_step(text, image, labels, 2 / 3, fidelity)


def test_posts_of_one_label_need_no_second_step() -> None:
    assert consistency(TEXT, IMAGE, torch.zeros(3).long()).of == 0
    assert not needs_second_step(TEXT, IMAGE, torch.zeros(3).long(), 1.0)


def test_norms_decide_with_the_released_arithmetic_alone() -> None:
    text, image, labels = vectors(30, 0), vectors(30, 1), torch.arange(30) % 3

    assert consistency(9 * text, image, labels) == consistency(text, image, labels)
    assert released_consistency(9 * text, image, labels) != released_consistency(
        text, image, labels
    )


def test_the_gate_sees_exact_vectors_under_half_precision() -> None:
    text, image, labels = vectors(300, 0), vectors(300, 1), torch.arange(300) % 3
    exact = [count(text, image, labels) for count in (consistency, released_consistency)]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert [
            count(text, image, labels) for count in (consistency, released_consistency)
        ] == exact
