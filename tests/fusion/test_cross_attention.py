"""Cross-attention equals the paper's equation, one post, one word, one region at a time."""

import math
from dataclasses import replace

import pytest
import torch
from made_embeddings import cut, sequence
from torch import Tensor

from postsense.config.encoders import Pooling
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.cross_attention import CrossAttention
from tolerances import double_precision

LENGTHS, REGIONS = (5, 2, 1, 4), (3, 6, 1, 2)
TEXT_DIM, IMAGE_DIM, HIDDEN = 7, 5, 6


@pytest.fixture
def text() -> Embeddings:
    return sequence(LENGTHS, TEXT_DIM, seed=1)


@pytest.fixture
def image() -> Embeddings:
    return sequence(REGIONS, IMAGE_DIM, seed=2)


def make_fusion(pooling: Pooling = "mean", input_dropout: float = 0.3) -> CrossAttention:
    torch.manual_seed(0)
    return CrossAttention(TEXT_DIM, IMAGE_DIM, HIDDEN, input_dropout, pooling).eval()


def naive_attention(
    fusion: CrossAttention, words: Tensor, regions: Tensor, pooled: Tensor
) -> Tensor:
    """Sanchez Villegas et al. 2024, the Att models: softmax(Q K^T / sqrt(F)) V for one post."""
    attended = []
    for word in words:
        query = fusion.query(word)
        scores = [query @ fusion.key(region) / math.sqrt(HIDDEN) for region in regions]
        total = sum(score.exp() for score in scores)
        values = [fusion.value(region) for region in regions]
        attended.append(sum(s.exp() / total * v for s, v in zip(scores, values, strict=True)))
    seen = {
        "mean": torch.stack(attended).mean(dim=0),
        "max": torch.stack(attended).amax(dim=0),
        "cls": attended[0],
    }[fusion.pooling]
    return torch.relu(fusion.project(torch.cat([pooled, seen])))


@double_precision
@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_it_equals_the_equation_whatever_lies_beyond_the_masks(
    text: Embeddings, image: Embeddings, pooling: Pooling
) -> None:
    fusion = make_fusion(pooling)

    fused = fusion(text, image).fused

    assert text.tokens is not None and image.tokens is not None
    for post, (words, regions) in enumerate(zip(LENGTHS, REGIONS, strict=True)):
        expected = naive_attention(
            fusion, text.tokens[post, :words], image.tokens[post, :regions], text.pooled[post]
        )
        torch.testing.assert_close(fused[post], expected)


@double_precision
@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_a_post_alone_gets_what_it_gets_among_longer_posts(
    text: Embeddings, image: Embeddings, pooling: Pooling
) -> None:
    fusion = make_fusion(pooling)

    fused = fusion(text, image).fused

    for post in range(4):
        alone = fusion(cut(text, post, LENGTHS[post]), cut(image, post, REGIONS[post])).fused
        torch.testing.assert_close(alone[0], fused[post])


@double_precision
def test_the_order_of_regions_does_not_matter(text: Embeddings, image: Embeddings) -> None:
    fusion = make_fusion()
    assert image.tokens is not None and image.mask is not None

    flipped = replace(image, tokens=image.tokens.flip(1), mask=image.mask.flip(1))

    torch.testing.assert_close(fusion(text, flipped).fused, fusion(text, image).fused)


@double_precision
def test_a_picture_of_one_region_gives_that_regions_value(text: Embeddings) -> None:
    fusion, image = make_fusion(), sequence((1, 1, 1, 1), IMAGE_DIM, seed=3)
    assert image.tokens is not None

    expected = torch.relu(
        fusion.project(torch.cat([text.pooled, fusion.value(image.tokens[:, 0])], dim=1))
    )

    torch.testing.assert_close(fusion(text, image).fused, expected)


def test_dropout_drops_a_feature_of_a_post_in_all_of_its_tokens(
    text: Embeddings, image: Embeddings
) -> None:
    fusion, seen = make_fusion(input_dropout=0.5).train(), list[Tensor]()
    fusion.key.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))

    fusion(text, image)

    dropped = seen[0] == 0  # (B, T, D)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert 0 < dropped[:, 0].sum() < dropped[:, 0].numel()
    assert not torch.equal(dropped[0], dropped[1, : len(dropped[0])])


def test_gradients_reach_all_weights_and_stay_finite(text: Embeddings, image: Embeddings) -> None:
    fusion = make_fusion().train()

    fusion(text, image).fused.sum().backward()

    for name, weight in fusion.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert name == "key.bias" or weight.grad.abs().sum() > 0, name
