"""Cross-modal fusion equals its equations, one post, one word, one region at a time."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_embeddings import cut, sequence
from torch import Tensor, nn

from postsense.config import FusionSettings
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.cross_modal import CrossModal, _Norm
from tolerances import double_precision

LENGTHS, REGIONS = (5, 2, 1, 4), (3, 6, 1, 2)  # the third post lacks words and picture: one token
LAYERS, TEXT_DIM, IMAGE_DIM = 2, 4, 5


@pytest.fixture
def text() -> Embeddings:
    return sequence(LENGTHS, LAYERS * TEXT_DIM, seed=1)


@pytest.fixture
def image() -> Embeddings:
    return sequence(REGIONS, IMAGE_DIM, seed=2)


def make_fusion(**settings: Any) -> CrossModal:
    """A fusion with all statistics and weights of its normalisations drawn, to be told apart."""
    given = {"hidden": 7, "reader_width": 6, "shared_width": 4, "input_dropout": 0.0} | settings
    torch.manual_seed(0)
    fusion = CrossModal(TEXT_DIM, LAYERS, IMAGE_DIM, FusionSettings(name="cross_modal", **given))
    for norm in fusion.modules():
        if isinstance(norm, nn.BatchNorm1d):
            for drawn in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                assert drawn is not None
                drawn.data.uniform_(0.5, 1.5)
    return fusion.eval()


def norm_of(norm: nn.Module, row: Tensor) -> Tensor:
    mean, variance, weight, bias = (
        getattr(norm, name) for name in ("running_mean", "running_var", "weight", "bias")
    )
    normed: Tensor = (row - mean) / torch.sqrt(variance + 1e-5) * weight + bias
    return normed


def naive_shared(layers: Any, vector: Tensor) -> Tensor:
    """Shared projection, then Align, of one vector (W,)."""
    inner = torch.relu(norm_of(layers[1], layers[0](vector)))
    contrasted = norm_of(layers[5], layers[4](inner))
    return torch.relu(norm_of(layers[7], layers[6](contrasted)))


def naive_states(
    fusion: CrossModal, text: Embeddings, image: Embeddings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of one post without padding: words (T, W), regions (R, W), T and I (P,)."""
    assert text.tokens is not None and image.tokens is not None
    words = fusion.words(text.tokens, text.mask)[0][0]  # has a test of its own
    layer, norm = fusion.regions.project, fusion.regions.norm
    regions = torch.stack([torch.relu(norm_of(norm, layer(r))) for r in image.tokens[0]])
    told = naive_shared(fusion.text, words.mean(dim=0))
    shown = naive_shared(fusion.image, regions.mean(dim=0))
    return words, regions, told, shown


def naive_attention(looks: Any, states: Tensor, guides: list[Tensor]) -> list[Tensor]:
    """softmax((g * q_s) . (g * k_t) / sqrt(P)) v_t, one state s at a time."""
    triples = [looks.project(state).chunk(3) for state in states]
    attended = []
    for guide, (query, _, _) in zip(guides, triples):
        scores = [
            (guide * query) @ (other * key) / math.sqrt(len(query))
            for other, (_, key, _) in zip(guides, triples)
        ]
        total = sum(score.exp() for score in scores)
        attended.append(sum(s.exp() / total * v for s, (_, _, v) in zip(scores, triples)))
    return attended


def naive_fused(fusion: CrossModal, parts: list[Tensor]) -> Tensor:
    return torch.relu(norm_of(fusion.norm, fusion.project(torch.cat(parts))))


def posts_of(text: Embeddings, image: Embeddings) -> list[tuple[Embeddings, Embeddings]]:
    return [
        (cut(text, post, LENGTHS[post]), cut(image, post, REGIONS[post]))
        for post in range(len(LENGTHS))
    ]


@double_precision
def test_it_equals_the_equations_whatever_lies_beyond_the_masks(
    text: Embeddings, image: Embeddings
) -> None:
    fusion: Any = make_fusion()

    joined = fusion(text, image)

    for post, alone in enumerate(posts_of(text, image)):
        words, regions, told, shown = naive_states(fusion, *alone)
        looks, seen = fusion.interaction, len(regions)
        told_on = sum(naive_attention(looks.text, words, [shown] * len(words))) / len(words)
        shown_on = sum(naive_attention(looks.image, regions, [told] * seen)) / seen
        expected = naive_fused(fusion, [told_on, shown_on, shown, told])
        torch.testing.assert_close(joined.fused[post], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(joined.text[post], told, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(joined.image[post], shown, atol=1e-5, rtol=1e-5)


@double_precision
def test_more_vectors_stand_last(text: Embeddings, image: Embeddings) -> None:
    settings = FusionSettings(name="cross_modal", hidden=7, reader_width=6, shared_width=4)
    fusion: Any = CrossModal(TEXT_DIM, LAYERS, IMAGE_DIM, settings, [3]).eval()
    more, heard = sequence((1, 1, 1, 1), 3, seed=3), list[Tensor]()
    fusion.project.register_forward_hook(lambda layer, given, out: heard.append(given[0]))

    joined = fusion(text, image, more)

    last = [joined.image, joined.text, more.pooled]
    torch.testing.assert_close(heard[0][:, 2 * 4 :], torch.cat(last, dim=1))


@double_precision
def test_released_attends_across_the_posts_of_a_batch(text: Embeddings, image: Embeddings) -> None:
    fusion: Any = make_fusion(fidelity="released")

    joined = fusion(text, image)

    posts = [naive_states(fusion, *alone) for alone in posts_of(text, image)]
    told, shown = [post[2] for post in posts], [post[3] for post in posts]
    told_on = naive_attention(fusion.interaction.text, torch.stack(told), shown)
    shown_on = naive_attention(fusion.interaction.image, torch.stack(shown), told)
    for post, parts in enumerate(zip(told_on, shown_on, shown, told)):
        expected = naive_fused(fusion, list(parts))
        torch.testing.assert_close(joined.fused[post], expected, atol=1e-5, rtol=1e-5)


@double_precision
def test_without_interaction_the_two_vectors_are_all_that_joins(
    text: Embeddings, image: Embeddings
) -> None:
    fusion = make_fusion(interaction="none")

    fused = fusion(text, image).fused

    for post, alone in enumerate(posts_of(text, image)):
        _, _, told, shown = naive_states(fusion, *alone)
        expected = naive_fused(fusion, [shown, told])
        torch.testing.assert_close(fused[post], expected, atol=1e-5, rtol=1e-5)


@double_precision
@pytest.mark.parametrize("settings", [{}, {"interaction": "none"}])
def test_what_is_said_of_a_post_does_not_depend_on_its_batch(
    text: Embeddings, image: Embeddings, settings: dict[str, str]
) -> None:
    fusion, shuffled = make_fusion(**settings), torch.tensor([2, 0, 3, 1])

    fused = fusion(text, image).fused
    moved = fusion(text.take(shuffled), image.take(shuffled)).fused

    torch.testing.assert_close(moved, fused[shuffled], atol=1e-5, rtol=0)
    for post, alone in enumerate(posts_of(text, image)):
        torch.testing.assert_close(fusion(*alone).fused[0], fused[post], atol=1e-5, rtol=0)


def test_what_released_says_of_a_post_depends_on_its_batch(
    text: Embeddings, image: Embeddings
) -> None:
    fusion = make_fusion(fidelity="released")

    fused = fusion(text, image).fused

    alone = torch.cat([fusion(*post).fused for post in posts_of(text, image)])
    assert ((alone - fused).abs().amax(dim=1) > 1e-3).all()


@pytest.mark.parametrize("settings", [{}, {"fidelity": "released"}])
def test_masked_words_and_regions_change_nothing_in_training_either(
    text: Embeddings, image: Embeddings, settings: dict[str, str]
) -> None:
    fusions = [make_fusion(**settings).train() for _ in range(2)]
    assert text.tokens is not None and image.tokens is not None
    other = replace(text, tokens=torch.where(text.tokens == 1e3, -7.0, text.tokens))
    shown = replace(image, tokens=torch.where(image.tokens == 1e3, -7.0, image.tokens))

    fused = [
        fusion(*given).fused for fusion, given in zip(fusions, [(text, image), (other, shown)])
    ]

    torch.testing.assert_close(*fused)
    for buffers in zip(*(fusion.buffers() for fusion in fusions)):
        torch.testing.assert_close(*buffers)


def test_the_statistics_are_those_of_real_regions(text: Embeddings, image: Embeddings) -> None:
    fusion = make_fusion().train()
    assert image.tokens is not None and image.mask is not None
    norm = fusion.regions.norm
    assert norm.running_mean is not None
    before, real = norm.running_mean.clone(), fusion.regions.project(image.tokens[image.mask])

    fusion(text, image)

    torch.testing.assert_close(norm.running_mean, 0.9 * before + 0.1 * real.mean(dim=0))


@double_precision
@pytest.mark.parametrize("rows", [0, 1])
def test_a_norm_of_fewer_than_two_rows_takes_the_running_statistics(rows: int) -> None:
    norm = _Norm(3)
    norm(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)))
    given, count = torch.full((rows, 3), 2.0), int(norm.num_batches_tracked or 0)

    trained = norm(given)

    assert norm.num_batches_tracked == count
    torch.testing.assert_close(trained, norm.eval()(given))
    torch.testing.assert_close(trained, norm_of(norm, given))


@pytest.mark.parametrize("settings", [{}, {"fidelity": "released"}, {"interaction": "none"}])
def test_one_post_can_be_trained_on(
    text: Embeddings, image: Embeddings, settings: dict[str, str]
) -> None:
    for words, regions in posts_of(text, image):
        fusion = make_fusion(input_dropout=0.2, **settings).train()
        fusion(words, regions).fused.sum().backward()
        for name, weight in fusion.named_parameters():
            assert weight.grad is not None and weight.grad.isfinite().all(), name


@pytest.mark.parametrize("settings", [{}, {"fidelity": "released"}, {"interaction": "none"}])
def test_every_weight_learns(text: Embeddings, image: Embeddings, settings: dict[str, str]) -> None:
    fusion = make_fusion(**settings).train()

    joined = fusion(text, image)
    (joined.fused * torch.randn(4, 7, generator=torch.Generator().manual_seed(3))).sum().backward()

    for name, weight in fusion.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_a_missing_modality_learns_its_vector_and_nothing_else_does(
    text: Embeddings, image: Embeddings
) -> None:
    assert text.tokens is not None and image.tokens is not None
    words, regions = text.tokens.requires_grad_(), image.tokens.requires_grad_()

    joined = make_fusion()(replace(text, tokens=words), replace(image, tokens=regions))
    joined.fused[2].square().sum().backward()

    for given in (words, regions):
        assert given.grad is not None and given.grad[2, 0].any()
        given.grad[2, 0] = 0
        assert not given.grad.any()


def test_posts_with_nothing_at_all_stay_finite(text: Embeddings, image: Embeddings) -> None:
    assert text.mask is not None and image.mask is not None
    fusion = make_fusion().train()
    unread = replace(text, mask=torch.zeros_like(text.mask))
    unseen = replace(image, mask=torch.zeros_like(image.mask))

    for given in ((unread, image), (text, unseen), (unread, unseen)):
        fused = fusion(*given).fused
        fused.sum().backward()
        assert fused.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in fusion.parameters())


def test_dropout_is_what_makes_two_passes_differ(text: Embeddings, image: Embeddings) -> None:
    still, random = make_fusion().train(), make_fusion(input_dropout=0.5).train()

    assert torch.equal(still(text, image).fused, still(text, image).fused)
    assert not torch.equal(random(text, image).fused, random(text, image).fused)


@pytest.mark.parametrize("settings", [{}, {"fidelity": "released"}, {"interaction": "none"}])
def test_the_vectors_alone_are_those_of_the_whole(
    text: Embeddings, image: Embeddings, settings: dict[str, str]
) -> None:
    fusion = make_fusion(**settings)

    told, shown = fusion.vectors(text, image)

    joined = fusion(text, image)
    assert joined.text is not None and joined.image is not None
    assert torch.equal(told, joined.text) and torch.equal(shown, joined.image)


def test_regions_that_are_all_there_are_read_like_others(image: Embeddings) -> None:
    regions = make_fusion().train().regions
    assert image.tokens is not None
    tokens, whole = image.tokens[:, :1], torch.ones(4, 1, dtype=torch.bool)

    padded = regions(image.tokens[:, :2], torch.tensor([[True, False]] * 4))

    torch.testing.assert_close(regions(tokens, whole), padded[:, :1])


def test_the_vectors_of_the_shared_space_ask_for_comments(
    text: Embeddings, image: Embeddings
) -> None:
    fusion = make_fusion()

    joined = fusion(text, image)

    assert (fusion.text_query_dim, fusion.image_query_dim) == (4, 4)
    assert joined.text is not None and joined.image is not None
    for vectors in (joined.text, joined.image):
        assert vectors.shape == (4, 4) and (vectors >= 0).all()
