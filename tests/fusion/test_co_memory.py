"""Co-memory equals its equations, one post, one hop, one token at a time."""

from dataclasses import replace

import pytest
import torch
from made_embeddings import cut, sequence
from torch import Tensor

from postsense.encoders.embeddings import Embeddings
from postsense.fusion.attention import AdditiveAttention, masked_softmax
from postsense.fusion.co_memory import CoMemory
from tolerances import double_precision

LENGTHS, REGIONS = (5, 2, 1, 4), (3, 6, 1, 2)
TEXT_DIM, IMAGE_DIM, HIDDEN = 7, 5, 6


@pytest.fixture
def text() -> Embeddings:
    return sequence(LENGTHS, TEXT_DIM, seed=1)


@pytest.fixture
def image() -> Embeddings:
    return sequence(REGIONS, IMAGE_DIM, seed=2)


def make_fusion(hops: int = 5, input_dropout: float = 0.3) -> CoMemory:
    torch.manual_seed(0)
    return CoMemory(TEXT_DIM, IMAGE_DIM, HIDDEN, input_dropout, hops).eval()


def naive_attention(attention: AdditiveAttention, query: Tensor, states: Tensor) -> Tensor:
    """score = w . tanh(W_h h + W_f F_t) for one query and the T states that it may see."""
    w, scores = attention.score.weight[0], []
    for state in states:
        scores.append(w @ torch.tanh(attention.query(query) + attention.key(state)))
    total = sum(score.exp() for score in scores)
    seen = torch.zeros_like(query)
    for score, state in zip(scores, states):
        seen = seen + score.exp() / total * state
    return seen


def naive_co_memory(fusion: CoMemory, text: Embeddings, image: Embeddings) -> Tensor:
    """The released CoMN-BERT for one post without padding: five hops, written out."""
    assert text.tokens is not None and image.tokens is not None
    a1, a3, a4 = (getattr(fusion.image_chain, name) for name in ("first", "other", "own"))
    a2, a5, a6 = (getattr(fusion.text_chain, name) for name in ("first", "other", "own"))
    t_att, v_att = fusion.tokens.project(text.tokens[0]), fusion.regions.project(image.tokens[0])
    i1 = naive_attention(a1, fusion.image(image.pooled[0]), v_att)
    i2 = naive_attention(a3, i1, t_att)
    i3 = naive_attention(a4, i2, v_att)
    i4 = naive_attention(a3, i3, t_att)
    i5 = naive_attention(a4, i4, v_att)
    s1 = naive_attention(a2, fusion.text(text.pooled[0]), t_att)
    s2 = naive_attention(a5, s1, v_att)
    s3 = naive_attention(a6, s2, t_att)
    s4 = naive_attention(a5, s3, v_att)
    s5 = naive_attention(a6, s4, t_att)
    fused: Tensor = fusion.project(torch.cat([i5, s5]))
    return fused


@double_precision
def test_masked_softmax_is_softmax_then_mask_then_renormalise() -> None:
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 5, [True, False, True, False, False], [False] * 4 + [True]])

    weights = masked_softmax(scores, mask)

    kept = torch.softmax(scores, dim=1) * mask
    torch.testing.assert_close(weights, kept / kept.sum(dim=1, keepdim=True))


@double_precision
def test_attention_equals_the_equation(text: Embeddings) -> None:
    torch.manual_seed(0)
    attention = AdditiveAttention(TEXT_DIM)
    assert text.tokens is not None and text.mask is not None

    attended, weights = attention(text.pooled, text.tokens, text.mask)

    for post, length in enumerate(LENGTHS):
        expected = naive_attention(attention, text.pooled[post], text.tokens[post, :length])
        torch.testing.assert_close(attended[post], expected)
        assert (weights[post, length:] == 0).all()
        torch.testing.assert_close(weights[post].sum(), torch.tensor(1.0))


def test_attention_to_nothing_is_zero_and_sends_no_gradient_back() -> None:
    attention = AdditiveAttention(3)
    query, states = torch.randn(2, 3, requires_grad=True), torch.randn(2, 4, 3, requires_grad=True)
    mask = torch.tensor([[False] * 4, [True, True, False, False]])

    attended, weights = attention(query, states, mask)
    attended.sum().backward()

    assert (attended[0] == 0).all() and (weights[0] == 0).all()
    assert query.grad is not None and states.grad is not None
    assert (query.grad[0] == 0).all() and (states.grad[0] == 0).all()
    assert query.grad.isfinite().all() and states.grad[1, :2].abs().sum() > 0


@double_precision
def test_it_equals_the_equations_whatever_lies_beyond_the_masks(
    text: Embeddings, image: Embeddings
) -> None:
    fusion = make_fusion()

    joined = fusion(text, image)

    for post in range(4):
        alone = cut(text, post, LENGTHS[post]), cut(image, post, REGIONS[post])
        torch.testing.assert_close(joined.fused[post], naive_co_memory(fusion, *alone))


@double_precision
@pytest.mark.parametrize("hops", [1, 2, 3, 6])
def test_hops_end_where_the_chain_of_five_passes(
    text: Embeddings, image: Embeddings, hops: int
) -> None:
    fusion, words, regions = make_fusion(hops), cut(text, 0, 5), cut(image, 0, 3)
    assert words.tokens is not None and regions.tokens is not None
    memory = [fusion.regions.project(regions.tokens[0]), fusion.tokens.project(words.tokens[0])]
    glimpse = naive_attention(fusion.image_chain.first, fusion.image(regions.pooled[0]), memory[0])
    for hop in range(1, hops):
        attention = [fusion.image_chain.own, fusion.image_chain.other][hop % 2]
        glimpse = naive_attention(attention, glimpse, memory[hop % 2])
    fusion.project = torch.nn.Identity()  # type: ignore[assignment]

    fused = fusion(words, regions).fused[0]

    torch.testing.assert_close(fused[:HIDDEN], glimpse)


@double_precision
def test_comments_are_attended_with_the_projected_vectors(
    text: Embeddings, image: Embeddings
) -> None:
    fusion = make_fusion()

    joined = fusion(text, image)

    assert (fusion.text_query_dim, fusion.image_query_dim) == (HIDDEN, HIDDEN)
    torch.testing.assert_close(joined.text, fusion.text(text.pooled))
    torch.testing.assert_close(joined.image, fusion.image(image.pooled))


@double_precision
def test_a_post_alone_gets_what_it_gets_among_longer_posts(
    text: Embeddings, image: Embeddings
) -> None:
    fusion = make_fusion()

    joined = fusion(text, image)

    for post in range(4):
        alone = fusion(cut(text, post, LENGTHS[post]), cut(image, post, REGIONS[post]))
        torch.testing.assert_close(joined.fused[post : post + 1], alone.fused)


def test_more_vectors_stand_behind_the_last_glimpses(text: Embeddings, image: Embeddings) -> None:
    torch.manual_seed(0)
    fusion = CoMemory(TEXT_DIM, IMAGE_DIM, HIDDEN, 0.3, more_dims=[3, 2]).eval()
    more = [sequence((1, 1, 1, 1), dim, seed=dim) for dim in (3, 2)]
    nothing = [replace(part, pooled=torch.zeros_like(part.pooled)) for part in more]

    difference = fusion(text, image, *more).fused - fusion(text, image, *nothing).fused

    joined = torch.cat([part.pooled for part in more], dim=1)
    torch.testing.assert_close(difference, joined @ fusion.project.weight[:, 2 * HIDDEN :].T)


def test_a_post_without_any_token_stays_finite(text: Embeddings, image: Embeddings) -> None:
    assert text.mask is not None
    mask = text.mask & (torch.arange(4) != 2)[:, None]
    fusion = make_fusion()

    fused = fusion(replace(text, mask=mask), image).fused
    fused.sum().backward()

    assert fused.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())


def test_every_weight_learns_from_a_batch_of_one(text: Embeddings, image: Embeddings) -> None:
    fusion = make_fusion().train()

    fusion(cut(text, 0, 5), cut(image, 0, 3)).fused.square().sum().backward()

    for name, weight in fusion.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_dropout_takes_a_feature_from_all_tokens_of_a_post() -> None:
    fusion = make_fusion(input_dropout=0.5).train()
    fusion.regions.project = torch.nn.Identity()  # type: ignore[assignment]

    kept = fusion.regions(torch.ones(20, 3, IMAGE_DIM))

    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
