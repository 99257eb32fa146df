"""The supervised contrast is its equation, for one view and for two, corrected and released."""

import math

import pytest
import torch
from torch import Tensor

from postsense.config.encoders import Fidelity
from postsense.losses.contrastive import supervised_contrastive_loss
from postsense.losses.image_text import image_text_contrastive_loss
from tolerances import double_precision

TEMPERATURE = 0.2
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3])  # posts 3 and 6 are alone
FIDELITIES: tuple[Fidelity, ...] = ("corrected", "released")


def vectors(posts: int, seed: int, width: int = 4) -> Tensor:
    return torch.randn(posts, width, generator=torch.Generator().manual_seed(seed))


def exp_similarity(one: Tensor, other: Tensor) -> float:
    cosine = float(one.double() @ other.double()) / math.prod(
        map(float, (one.norm(), other.norm()))
    )
    return math.exp(cosine / TEMPERATURE)


def naive_one_view(z: Tensor, labels: list[int], fidelity: Fidelity) -> float:
    """Eq. 4 and 5 of arXiv 2602.20767 one pair at a time."""
    terms, posts = [], range(len(z))
    for i in posts:
        positives = [p for p in posts if p != i and labels[p] == labels[i]]
        compared = sum(exp_similarity(z[i], z[a]) for a in posts if a != i)
        compared += 1 if fidelity == "released" else 0
        if positives:
            logs = [math.log(exp_similarity(z[i], z[p]) / compared) for p in positives]
            terms.append(-sum(logs) / len(positives))
        elif fidelity == "released":
            terms.append(0.0)
    return sum(terms) / len(terms) if terms else 0.0


def naive_two_views(anchors: Tensor, others: Tensor, labels: list[int]) -> float:
    """Eq. 6 of arXiv 2602.20767 one pair at a time."""
    total, posts = 0.0, range(len(anchors))
    for i in posts:
        positives = [p for p in posts if labels[p] == labels[i]]
        compared = sum(exp_similarity(anchors[i], others[j]) for j in posts)
        logs = [math.log(exp_similarity(anchors[i], others[p]) / compared) for p in positives]
        total -= sum(logs) / len(positives)
    return total / len(anchors)


def one_view(z: Tensor, labels: Tensor, fidelity: Fidelity = "corrected") -> Tensor:
    return supervised_contrastive_loss(z, z, labels, TEMPERATURE, same_view=True, fidelity=fidelity)


def two_views(
    image: Tensor, text: Tensor, labels: Tensor, fidelity: Fidelity = "corrected"
) -> Tensor:
    return supervised_contrastive_loss(
        image, text, labels, TEMPERATURE, same_view=False, fidelity=fidelity
    )


@double_precision
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("posts", [1, 2, 3, 7])
def test_one_view_is_its_double_loop(posts: int, fidelity: Fidelity) -> None:
    z, labels = vectors(posts, 0), LABELS[:posts]

    expected = naive_one_view(z, labels.tolist(), fidelity)

    assert float(one_view(z, labels, fidelity)) == pytest.approx(expected, rel=1e-5)


@double_precision
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("posts", [1, 2, 3, 7])
def test_two_views_are_their_double_loop(posts: int, fidelity: Fidelity) -> None:
    image, text, labels = vectors(posts, 0), vectors(posts, 1), LABELS[:posts]

    expected = naive_two_views(image, text, labels.tolist())

    assert float(two_views(image, text, labels, fidelity)) == pytest.approx(
        expected, rel=1e-5, abs=1e-6
    )


@double_precision
def test_two_posts_of_a_label_and_one_of_another_have_the_loss_worked_out_by_hand() -> None:
    z, labels = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0, 1])
    found = math.exp(1 / TEMPERATURE)  # the other anchor; the third post is at cosine 0

    corrected = -math.log(found / (found + 1))
    released = -2 / 3 * math.log(found / (found + 2))

    assert float(one_view(z, labels)) == pytest.approx(corrected, rel=1e-4)
    assert float(one_view(z, labels, "released")) == pytest.approx(released, rel=1e-4)


@double_precision
def test_with_a_label_for_each_post_two_views_are_half_of_the_image_text_loss() -> None:
    image, text, labels = vectors(6, 0), vectors(6, 1), torch.arange(6)

    halves = two_views(image, text, labels), two_views(text, image, labels)

    scale = torch.tensor(1 / TEMPERATURE)
    both = float(image_text_contrastive_loss(text, image, scale))
    assert float(torch.stack(halves).mean()) == pytest.approx(both, rel=1e-5)
    assert float(halves[0]) != pytest.approx(both, rel=1e-3)  # one direction alone is another loss


@double_precision
def test_two_views_look_for_others_from_the_anchors() -> None:
    image, text = vectors(7, 0), vectors(7, 1)

    there, back = two_views(image, text, LABELS), two_views(text, image, LABELS)

    assert float(there) != pytest.approx(float(back), rel=1e-3)


@double_precision
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_neither_norm_nor_order_of_the_posts_matters(fidelity: Fidelity) -> None:
    z, order = vectors(7, 0), torch.tensor([3, 1, 6, 4, 0, 5, 2])
    lengths = torch.tensor([1.0, 5.0, 0.1, 2.0, 3.0, 0.5, 7.0])[:, None]
    loss = float(one_view(z, LABELS, fidelity))

    assert float(one_view(z * lengths, LABELS, fidelity)) == pytest.approx(loss, rel=1e-5)
    assert float(one_view(z[order], LABELS[order], fidelity)) == pytest.approx(loss, rel=1e-5)


@double_precision
def test_labels_that_lie_apart_cost_what_is_left_within_them() -> None:
    z, labels = torch.eye(2)[[0, 0, 0, 1, 1, 1]], torch.tensor([0, 0, 0, 1, 1, 1])

    apart = supervised_contrastive_loss(z, z, labels, 0.01, same_view=True)
    mixed = supervised_contrastive_loss(z, z, labels[[0, 3, 1, 4, 2, 5]], 0.01, same_view=True)

    assert float(apart) == pytest.approx(math.log(2), rel=1e-5)  # two positives, equally near
    assert float(mixed) > 50


def check_finite(loss: Tensor, *given: Tensor) -> None:
    loss.backward()
    assert torch.isfinite(loss)
    for tensor in given:
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all()


BATCHES = {
    "empty": (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    "one post": (vectors(1, 0), torch.zeros(1, dtype=torch.int64)),
    "no positive pair": (vectors(4, 0), torch.arange(4)),
    "one class": (vectors(4, 0), torch.zeros(4, dtype=torch.int64)),
    "all the same": (vectors(1, 0).repeat(4, 1), torch.tensor([0, 0, 1, 2])),
    "all zero": (torch.zeros(4, 4), torch.tensor([0, 0, 1, 1])),
    "one zero": (vectors(4, 0) * torch.tensor([[0.0], [1], [1], [1]]), torch.tensor([0, 0, 1, 1])),
}


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("batch", BATCHES)
def test_every_batch_has_a_finite_loss_and_gradient(batch: str, fidelity: Fidelity) -> None:
    given, labels = BATCHES[batch]
    z, image = given.clone().requires_grad_(), given.clone().requires_grad_()

    check_finite(one_view(z, labels, fidelity), z)
    check_finite(two_views(image, z, labels, fidelity), image, z)


@pytest.mark.parametrize("batch", ["empty", "one post", "no positive pair"])
def test_without_a_positive_pair_one_view_costs_nothing(batch: str) -> None:
    assert float(one_view(*BATCHES[batch])) == 0.0


def test_a_zero_vector_is_sent_no_gradient_and_the_others_are() -> None:
    given, labels = BATCHES["one zero"]
    z = given.clone().requires_grad_()

    one_view(z, labels).backward()

    assert z.grad is not None and z.grad[0].tolist() == [0.0] * 4
    assert z.grad[1:].abs().sum(dim=1).min() > 1e-3


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_the_gradient_is_the_slope_of_the_loss(fidelity: Fidelity) -> None:
    z, step = vectors(7, 0).requires_grad_(), 1e-2
    one_view(z, LABELS, fidelity).backward()
    assert z.grad is not None
    labels = LABELS.tolist()

    for post, place in ((0, 1), (3, 2), (6, 0)):
        moved = torch.zeros_like(z)
        moved[post, place] = step
        slope = naive_one_view(z.detach() + moved, labels, fidelity)
        slope -= naive_one_view(z.detach() - moved, labels, fidelity)
        assert float(z.grad[post, place]) == pytest.approx(slope / (2 * step), rel=2e-2, abs=1e-4)


def test_descent_pulls_a_label_together_and_others_away() -> None:
    z, labels = vectors(6, 0).requires_grad_(), torch.tensor([0, 0, 0, 1, 1, 1])
    optimizer = torch.optim.SGD([z], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        one_view(z, labels).backward()
        optimizer.step()

    cosine = torch.nn.functional.normalize(z.detach(), dim=1)
    cosine = cosine @ cosine.T
    same = labels[:, None] == labels[None, :]
    assert cosine[same].min() > 0.8 > 0.0 > cosine[~same].max()


@pytest.mark.parametrize("same_view", [False, True])
def test_half_precision_around_the_supervised_contrast_does_not_reach_into_it(
    same_view: bool,
) -> None:
    z = vectors(7, 0)
    exact = supervised_contrastive_loss(z, z, LABELS, 0.01, same_view=same_view)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supervised_contrastive_loss(z, z, LABELS, 0.01, same_view=same_view)

    assert float(loss) == float(exact)
