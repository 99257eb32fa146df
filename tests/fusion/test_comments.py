"""Late fusion of comments equals the paper's equations, one post and one comment at a time."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from postsense.encoders.embeddings import Embeddings
from postsense.fusion.attention import BilinearAttention
from postsense.fusion.co_memory import CoMemory
from postsense.fusion.comments import CommentVectors, WithComments, comment_attentions
from postsense.fusion.concat import Concat
from postsense.fusion.hierarchical import Hierarchical
from postsense.registry.fusions import FUSIONS
from tolerances import rounding

POSTS, COMMENTS, TEXT_DIM, IMAGE_DIM, HIDDEN = 4, 3, 5, 6, 8
NEAR = rounding(HIDDEN, scale=4, steps=4)  # scores, their softmax, what they weigh, its projection


def modality(dim: int, seed: int) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(POSTS, 4, dim, generator=generator)
    present = torch.ones(POSTS, dtype=torch.bool)
    return Embeddings(tokens.mean(dim=1), present, tokens, torch.ones(POSTS, 4, dtype=torch.bool))


TEXT, IMAGE, WORDS = modality(TEXT_DIM, 1), modality(IMAGE_DIM, 2), modality(TEXT_DIM, 3)
PRESENT = torch.tensor([[True, True, True], [True, True, False], [True, False, False], [False] * 3])


def some_comments() -> CommentVectors:
    generator = torch.Generator().manual_seed(4)
    return CommentVectors(torch.randn(POSTS, COMMENTS, TEXT_DIM, generator=generator), PRESENT)


def attended(name: str) -> Any:
    """How a fusion of this name attends to comments."""
    return FUSIONS[name].comments


def make(name: str = "concat") -> Any:
    torch.manual_seed(0)
    fusion: torch.nn.Module = {
        "concat": lambda: Concat(TEXT_DIM, IMAGE_DIM, HIDDEN, 0.0),
        "text_only": lambda: Concat(TEXT_DIM, None, HIDDEN, 0.0),
        "co_memory": lambda: CoMemory(TEXT_DIM, IMAGE_DIM, HIDDEN, 0.0),
        "hierarchical": lambda: Hierarchical(TEXT_DIM, IMAGE_DIM, TEXT_DIM, HIDDEN, 0.0),
    }[name]()
    attentions = comment_attentions(attended(name), fusion, HIDDEN)
    module = WithComments(fusion, attentions, TEXT_DIM, HIDDEN, 0.0).eval()
    torch.nn.init.normal_(module.project.weight)  # which starts at zero
    return module


def read_by(name: str) -> tuple[Embeddings, ...]:
    return {"text_only": (TEXT,), "hierarchical": (TEXT, IMAGE, WORDS)}.get(name, (TEXT, IMAGE))


def naive_late_fusion(module: WithComments, post: int, comments: CommentVectors) -> Tensor:
    """Xu & Li 2022, section 3.2, for BERT-CNN: bilinear scores, softmax over the comments."""
    joined = module.fusion(TEXT, IMAGE)
    vectors = [
        module.comment(c) for c, there in zip(comments.vectors[post], PRESENT[post]) if there
    ]
    parts = []
    for modality, query in (("text", TEXT.pooled[post]), ("image", IMAGE.pooled[post])):
        attention = module.attentions[modality]
        assert isinstance(attention, BilinearAttention)
        scores = [
            float(attention.query(query) @ attention.key(c)) / math.sqrt(HIDDEN) for c in vectors
        ]
        total = sum(math.exp(score) for score in scores)
        attended = torch.zeros(HIDDEN)
        for score, vector in zip(scores, vectors):
            attended = attended + math.exp(score) / total * vector
        parts.append(attended)
    return joined.fused[post] + module.project(torch.cat(parts))


@torch.no_grad()
def test_it_equals_the_equations() -> None:
    module, comments = make(), some_comments()
    fused = module(TEXT, IMAGE, comments=comments).fused
    for post in range(POSTS):
        expected = naive_late_fusion(module, post, comments)
        torch.testing.assert_close(fused[post], expected, rtol=0, atol=NEAR)


@pytest.mark.parametrize("name", ["concat", "text_only", "co_memory", "hierarchical"])
def test_weights_are_shares_of_the_comments_that_are_there(name: str) -> None:
    weights = make(name)(*read_by(name), comments=some_comments()).comment_weights
    assert weights.shape == (POSTS, COMMENTS)
    assert (weights[~PRESENT] == 0).all()
    assert weights.sum(dim=1).tolist() == pytest.approx([1, 1, 1, 0], abs=NEAR)


@pytest.mark.parametrize("name", ["concat", "co_memory", "hierarchical"])
def test_what_stands_in_the_place_of_a_missing_comment_does_not_matter(name: str) -> None:
    module, comments = make(name), some_comments()
    garbage = comments.vectors.masked_fill(~PRESENT[..., None], 1e4)
    torch.testing.assert_close(
        module(*read_by(name), comments=comments).fused,
        module(*read_by(name), comments=replace(comments, vectors=garbage)).fused,
    )


@pytest.mark.parametrize("name", ["concat", "co_memory", "hierarchical"])
def test_the_order_of_comments_does_not_matter(name: str) -> None:
    module, comments = make(name), some_comments()
    order = torch.tensor([2, 0, 1])
    turned = CommentVectors(comments.vectors[:, order], PRESENT[:, order])
    torch.testing.assert_close(
        module(*read_by(name), comments=comments).fused,
        module(*read_by(name), comments=turned).fused,
        rtol=0,
        atol=NEAR,
    )


@pytest.mark.parametrize("name", ["concat", "co_memory", "hierarchical"])
def test_gradients_are_finite_without_any_comment(name: str) -> None:
    module = make(name).train()
    nothing = CommentVectors(some_comments().vectors, torch.zeros_like(PRESENT))
    module(*read_by(name), comments=nothing).fused.sum().backward()
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


def test_comments_change_what_is_said_of_a_post_that_has_them() -> None:
    module, comments = make(), some_comments()
    other = replace(comments, vectors=comments.vectors + 1)
    same = (
        module(TEXT, IMAGE, comments=comments).fused == module(TEXT, IMAGE, comments=other).fused
    ).all(dim=1)
    assert same.tolist() == [False, False, False, True]


def test_it_starts_as_the_base_classifier_and_stays_it_without_comments() -> None:
    torch.manual_seed(0)
    fusion = Concat(TEXT_DIM, IMAGE_DIM, HIDDEN, 0.0)
    attentions = comment_attentions("bilinear", fusion, HIDDEN)
    module = WithComments(fusion, attentions, TEXT_DIM, HIDDEN, 0.0)
    base = fusion(TEXT, IMAGE).fused
    assert torch.equal(module(TEXT, IMAGE, comments=some_comments()).fused, base)
    torch.nn.init.normal_(module.project.weight)
    changed = (module(TEXT, IMAGE, comments=some_comments()).fused != base).any(dim=1)
    assert changed.tolist() == [True, True, True, False]
