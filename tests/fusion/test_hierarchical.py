"""Hierarchical fusion equals its equations; what is released differs where it says."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_embeddings import cut, sequence
from torch import Tensor

from postsense.config.encoders import Fidelity
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.attention import PairAttention
from postsense.fusion.hierarchical import Hierarchical
from tolerances import double_precision

LENGTHS = ((5, 2, 1, 4), (3, 6, 1, 2), (2, 5, 1, 1))  # words, regions, attributes of four posts
DIMS, HIDDEN = (7, 5, 4), 6
Three = tuple[Embeddings, Embeddings, Embeddings]
FIDELITIES = pytest.mark.parametrize("fidelity", ["corrected", "released"])


def alone(posts: Three, post: int) -> list[Embeddings]:
    return [cut(part, post, lengths[post]) for part, lengths in zip(posts, LENGTHS)]


@pytest.fixture
def posts() -> Three:
    text, image, attributes = (
        sequence(lengths, dim, seed) for seed, (lengths, dim) in enumerate(zip(LENGTHS, DIMS))
    )
    return text, image, attributes


def make_fusion(fidelity: Fidelity = "corrected") -> Hierarchical:
    torch.manual_seed(0)
    return Hierarchical(*DIMS, HIDDEN, input_dropout=0.3, fidelity=fidelity).eval()


def naive_weights(attention: PairAttention, guide: Tensor, states: Tensor) -> Tensor:
    """softmax_j(Lin(tanh(Lin([h; F_j])))), or with the tanh last; one layer over the pair."""
    layer = torch.cat([attention.query.weight, attention.key.weight], dim=1)  # (F, 2 F)
    scores = []
    for state in states:
        pair = layer @ torch.cat([guide, state]) + attention.query.bias
        if attention.fidelity == "released":
            scores.append(torch.tanh(attention.score(pair)))
        else:
            scores.append(attention.score(torch.tanh(pair)))
    exponents = [score.exp() for score in scores]
    return torch.cat([exponent / sum(exponents) for exponent in exponents])


def naive_hierarchical(fusion: Any, three: Sequence[Embeddings]) -> list[Tensor]:
    """Cai et al. 2019 for one post: x, u_text and u_image; released: as Xu & Li 2022 have it."""
    tokens = [part.tokens[0] for part in three if part.tokens is not None]
    states = [project.project(rows) for project, rows in zip(fusion.sequences, tokens)]
    guides = [
        fusion.text_vector(three[0].pooled[0]),
        sum(states[1]) / len(states[1]),
        fusion.attribute_vector(three[2].pooled[0]),
    ]
    views, exponents = [], []
    for m in range(3):
        r, transform = torch.zeros(HIDDEN), fusion.views[m][0]
        seen = [
            naive_weights(attention, guide, states[m])
            for attention, guide in zip(fusion.summaries[m].attentions, guides)
        ]
        for j, state in enumerate(states[m]):
            r = r + (seen[0][j] + seen[1][j] + seen[2][j]) / 3 * state
        if fusion.fidelity == "released":
            r = r / len(states[m])
            views.append(transform(r))
        else:
            views.append(torch.tanh(transform(r)))
        exponents.append(fusion.scores[m](r).exp())
    total = exponents[0] + exponents[1] + exponents[2]
    shares = [exponent / total for exponent in exponents]
    return [sum(share * u for share, u in zip(shares, views)), views[0], views[1]]


@double_precision
@FIDELITIES
def test_attention_equals_the_equation(posts: Three, fidelity: Fidelity) -> None:
    torch.manual_seed(0)
    attention, text = PairAttention(DIMS[0], fidelity), posts[0]
    assert text.tokens is not None and text.mask is not None

    attended, weights = attention(text.pooled, text.tokens, text.mask)

    for post, length in enumerate(LENGTHS[0]):
        states = text.tokens[post, :length]
        expected = naive_weights(attention, text.pooled[post], states)
        torch.testing.assert_close(weights[post, :length], expected)
        torch.testing.assert_close(attended[post], expected @ states)
        assert (weights[post, length:] == 0).all()


@FIDELITIES
def test_attention_to_nothing_is_zero_and_sends_no_gradient_back(fidelity: Fidelity) -> None:
    attention = PairAttention(3, fidelity)
    query, states = torch.randn(1, 3, requires_grad=True), torch.randn(1, 4, 3, requires_grad=True)

    attended, _ = attention(query, states, torch.zeros(1, 4, dtype=torch.bool))
    attended.sum().backward()

    assert (attended == 0).all()
    assert query.grad is not None and (query.grad == 0).all()
    assert states.grad is not None and (states.grad == 0).all()


@double_precision
def test_it_equals_the_equations_whatever_lies_beyond_the_masks(posts: Three) -> None:
    fusion = make_fusion()

    joined = fusion(*posts)

    for post in range(4):
        fused, text, image = naive_hierarchical(fusion, alone(posts, post))
        torch.testing.assert_close(joined.fused[post], fused)
        torch.testing.assert_close(joined.text[post], text)
        torch.testing.assert_close(joined.image[post], image)


@double_precision
def test_released_equals_its_code_with_the_padding_that_it_reads(posts: Three) -> None:
    fusion = make_fusion("released")

    joined = fusion(*posts)

    for post in range(4):
        padded = [cut(part, post, max(lengths)) for part, lengths in zip(posts, LENGTHS)]
        fused, text, image = naive_hierarchical(fusion, padded)
        torch.testing.assert_close(joined.fused[post], fused)
        torch.testing.assert_close(joined.text[post], text)
        torch.testing.assert_close(joined.image[post], image)


@double_precision
def test_released_depends_on_padding_and_corrected_does_not(posts: Three) -> None:
    corrected, released = make_fusion("corrected"), make_fusion("released")

    for post in range(4):
        only = slice(post, post + 1)
        one = alone(posts, post)
        torch.testing.assert_close(corrected(*posts).fused[only], corrected(*one).fused)
        padded = any(max(lengths) > lengths[post] for lengths in LENGTHS)
        same = torch.allclose(released(*posts).fused[only], released(*one).fused)
        assert same != padded


@double_precision
def test_on_one_token_each_released_lacks_nothing_but_the_tanh_of_u() -> None:
    """Weights are then 1 and the mean is the sum."""
    corrected, released = make_fusion("corrected"), make_fusion("released")
    with torch.no_grad():
        for theirs, ours in zip(released.parameters(), released_order(corrected, released)):
            theirs.copy_(ours)
    single = [sequence((1, 1), dim, seed) for seed, dim in enumerate(DIMS)]

    theirs, ours = released(*single), corrected(*single)

    torch.testing.assert_close(ours.text, torch.tanh(theirs.text))
    torch.testing.assert_close(ours.image, torch.tanh(theirs.image))


def released_order(corrected: Hierarchical, released: Hierarchical) -> list[Tensor]:
    """The weights of `corrected` in the order of `released`, zeros for what it lacks."""
    known = dict(corrected.named_parameters())
    return [known.get(n, torch.zeros_like(p)) for n, p in released.named_parameters()]


@double_precision
def test_all_three_modalities_matter(posts: Three) -> None:
    fusion = make_fusion()
    fused = fusion(*posts).fused

    for changed in range(3):
        others = list(posts)
        tokens, mask = posts[changed].tokens, posts[changed].mask
        assert tokens is not None and mask is not None
        others[changed] = replace(posts[changed], tokens=tokens + mask[..., None])
        assert not torch.allclose(fusion(*others).fused, fused)


@FIDELITIES
def test_a_post_without_any_token_stays_finite(posts: Three, fidelity: Fidelity) -> None:
    text, image, attributes = posts
    nothing = replace(attributes, mask=torch.zeros(4, 5, dtype=torch.bool))
    fusion = make_fusion(fidelity)

    fused = fusion(text, image, nothing).fused
    fused.sum().backward()

    assert fused.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())


@FIDELITIES
def test_every_weight_learns_from_a_batch_of_one(posts: Three, fidelity: Fidelity) -> None:
    fusion = make_fusion(fidelity)

    fusion(*alone(posts, 1)).fused.square().sum().backward()

    for name, weight in fusion.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name
