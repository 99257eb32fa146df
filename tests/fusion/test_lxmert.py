"""LXMERT reads words and regions as transformers' own model does, and each post by itself."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_tokens import (
    assert_comments_meet_the_picture,
    assert_each_teaches_its_own,
    token_ids,
)
from torch import Tensor, nn

from postsense.encoders.embeddings import Embeddings
from postsense.encoders.joint import load_joint_backbone
from postsense.errors import EncoderError
from postsense.fusion.lxmert import Lxmert, grid_boxes

CLS, SEP, HIDDEN, FEATURES = 2, 3, 16, 8
TEXTS: tuple[list[int], ...] = ([CLS, 5, 6, 7, SEP], [CLS, 8, SEP], [], [CLS, 4, 9, SEP], [])
REGIONS = (5, 0, 2, 1, 0)
# a layer of its own stands for the pooler, segment 0 is that of padding to transformers, and
# nobody asks for the regions' side of the last layer
UNUSED = (".pooler.", "token_type_embeddings", "x_layers.0.visn_")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture
def make_fusion(tiny_lxmert: Path) -> Callable[..., Lxmert]:
    def make(image_dim: int = FEATURES + 4, *, with_boxes: bool = True) -> Lxmert:
        torch.manual_seed(0)
        backbone = load_joint_backbone(tiny_lxmert, "lxmert", None)
        fusion = Lxmert(backbone, image_dim, HIDDEN, 0.3, with_boxes=with_boxes)
        nn.init.normal_(fusion.missing_text)
        nn.init.normal_(fusion.missing_image)
        return fusion.eval()

    return make


def pictures(lengths: tuple[int, ...] = REGIONS, width: int = FEATURES + 4) -> Embeddings:
    """Random regions, the last four features in [0, 1], and garbage behind them."""
    generator, longest = torch.Generator().manual_seed(1), max(1, *lengths)
    mask = torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
    tokens = torch.randn(len(lengths), longest, width, generator=generator)
    tokens[..., -4:] = tokens[..., -4:].sigmoid()
    tokens = torch.where(mask[..., None], tokens, 1e3)
    return Embeddings(tokens.mean(dim=1), mask.any(dim=1), tokens, mask)


def take(image: Embeddings, post: int, length: int) -> Embeddings:
    """One post of a batch, without padding."""
    assert image.tokens is not None and image.mask is not None
    alone = image.take(torch.tensor([post]))
    return replace(alone, tokens=image.tokens[[post], :length], mask=image.mask[[post], :length])


def own_output(fusion: Lxmert, text: list[int], features: Tensor, boxes: Tensor) -> Any:
    """transformers' own model on one post."""
    model: Any = fusion.backbone.model
    return model(
        torch.tensor([text]),
        visual_feats=features[None],
        visual_pos=boxes[None],
        output_hidden_states=True,
    )


def test_it_equals_the_model_of_transformers(make_fusion: Callable[..., Lxmert]) -> None:
    fusion, image = make_fusion(), pictures()
    assert image.tokens is not None

    fused = fusion(token_ids(TEXTS), image).fused

    assert fused.shape == (5, HIDDEN)
    for post in (0, 3):
        regions = image.tokens[post, : REGIONS[post]]
        output = own_output(fusion, TEXTS[post], regions[:, :-4], regions[:, -4:])
        expected = torch.relu(fusion.project(output.language_output[0, 0]))
        torch.testing.assert_close(fused[post], expected, **CLOSE)


def test_each_modality_alone_is_the_state_before_the_layers_across(
    make_fusion: Callable[..., Lxmert],
) -> None:
    fusion, image = make_fusion(), pictures()
    assert image.tokens is not None

    told, shown = fusion.unimodal(token_ids(TEXTS), image)

    for post in (0, 3):
        regions = image.tokens[post, : REGIONS[post]]
        output = own_output(fusion, TEXTS[post], regions[:, :-4], regions[:, -4:])
        words, seen = output.language_hidden_states[1], output.vision_hidden_states[0]
        torch.testing.assert_close(told[post], words[0, 0], **CLOSE)
        torch.testing.assert_close(shown[post], seen[0].mean(dim=0), **CLOSE)


def test_a_post_alone_gets_what_it_gets_among_longer_posts(
    make_fusion: Callable[..., Lxmert],
) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS, length=9), pictures()

    fused, told, shown = fusion(texts, image).fused, *fusion.unimodal(texts, image)

    for post in range(5):
        alone = token_ids([TEXTS[post]]), take(image, post, max(1, REGIONS[post]))
        torch.testing.assert_close(fused[post], fusion(*alone).fused[0], **CLOSE)
        for vectors, vector in zip((told, shown), fusion.unimodal(*alone)):
            torch.testing.assert_close(vectors[post], vector[0], **CLOSE)


def test_picture_and_words_both_matter_and_only_where_they_are(
    make_fusion: Callable[..., Lxmert],
) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS), pictures()
    assert image.tokens is not None
    nn.init.constant_(fusion.project.bias, 10.0)  # no feature rests below zero
    fused = fusion(texts, image).fused

    repainted = fusion(texts, replace(image, tokens=image.tokens + 1)).fused
    reworded = fusion(replace(texts, ids=texts.ids + 1), image).fused

    assert torch.equal((repainted != fused).any(dim=1), image.present)
    assert torch.equal((reworded != fused).any(dim=1), texts.mask.any(dim=1))
    assert fused.isfinite().all()


def test_a_missing_picture_is_one_learned_region_that_covers_it(
    make_fusion: Callable[..., Lxmert],
) -> None:
    fusion, image = make_fusion(), pictures()

    fused = fusion(token_ids(TEXTS), image).fused

    features, box = fusion.missing_image[None], torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    state = own_output(fusion, TEXTS[1], features, box).language_output[0, 0]
    torch.testing.assert_close(fused[1], torch.relu(fusion.project(state)), **CLOSE)
    filled = replace(image, mask=torch.ones(5, 5, dtype=torch.bool))  # as branches fill them in
    torch.testing.assert_close(fusion(token_ids(TEXTS), filled).fused[1], fused[1], **CLOSE)


@pytest.mark.parametrize(("image_dim", "with_boxes"), [(12, True), (9, True), (5, False)])
def test_every_weight_it_uses_learns_with_finite_gradients(
    make_fusion: Callable[..., Lxmert], image_dim: int, with_boxes: bool
) -> None:
    fusion = make_fusion(image_dim, with_boxes=with_boxes).train()
    texts, image = token_ids(TEXTS), pictures((4, 0, 4, 4, 0), image_dim)

    fusion(texts, image).fused.square().sum().backward()

    for name, weight in fusion.named_parameters():
        if any(part in name for part in UNUSED):
            continue
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0 or name.endswith("key.bias"), name


def test_regions_of_another_width_get_a_trained_layer(make_fusion: Callable[..., Lxmert]) -> None:
    same, other = make_fusion(12), make_fusion(9)
    texts, image = token_ids(TEXTS), pictures(REGIONS, 9)
    assert image.tokens is not None

    fused = other(texts, image).fused

    assert not list(same.stand_in.parameters())
    mapped = other.stand_in.project(image.tokens[..., :-4])
    as_wide = replace(image, tokens=torch.cat([mapped, image.tokens[..., -4:]], dim=-1))
    same.load_state_dict(other.state_dict(), strict=False)
    torch.testing.assert_close(fused, same(texts, as_wide).fused, **CLOSE)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9, 10, 49, 50, 197])
def test_boxes_of_a_grid_are_those_of_its_cells_row_by_row(count: int) -> None:
    side = int(count**0.5)
    expected = [[0.0, 0.0, 1.0, 1.0]] if count > side * side else []
    for row in range(side):
        for column in range(side):
            expected.append([edge / side for edge in (column, row, column + 1, row + 1)])

    torch.testing.assert_close(grid_boxes(count), torch.tensor(expected))


@pytest.mark.parametrize("count", [0, 3, 6, 8, 198])
def test_regions_that_are_no_grid_are_refused(count: int) -> None:
    with pytest.raises(EncoderError, match=f"a square grid .*, found {count} regions"):
        grid_boxes(count)


def test_cells_of_a_grid_are_read_with_the_boxes_of_the_grid(
    make_fusion: Callable[..., Lxmert],
) -> None:
    gridded, boxed = make_fusion(FEATURES, with_boxes=False), make_fusion()
    image = pictures((5, 0, 5, 5, 0))
    assert image.tokens is not None
    boxes = grid_boxes(5).expand(5, -1, -1)
    told = replace(image, tokens=torch.cat([image.tokens[..., :-4], boxes], dim=-1))

    fused = gridded(token_ids(TEXTS), replace(image, tokens=image.tokens[..., :-4])).fused

    torch.testing.assert_close(fused, boxed(token_ids(TEXTS), told).fused, **CLOSE)


def test_it_learns_eight_posts_by_heart(make_fusion: Callable[..., Lxmert]) -> None:
    fusion, head = make_fusion(), nn.Linear(HIDDEN, 3)
    texts = token_ids([[CLS, 5 + number % 4, 10 + number // 4, SEP] for number in range(8)])
    image, labels = pictures((4,) * 8), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    weights = [*fusion.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, fused=True)

    for _ in range(70):
        loss = nn.functional.cross_entropy(head(fusion(texts, image).fused), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    assert loss.item() < 0.1


def test_each_modality_alone_knows_nothing_of_the_other(
    make_fusion: Callable[..., Lxmert],
) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS), pictures()
    assert image.tokens is not None
    told, shown = fusion.unimodal(texts, image)

    told_again, repainted = fusion.unimodal(texts, replace(image, tokens=image.tokens + 1))
    reworded, shown_again = fusion.unimodal(replace(texts, ids=texts.ids + 1), image)

    assert torch.equal(told_again, told) and torch.equal(shown_again, shown)
    assert torch.equal((repainted != shown).any(dim=1), image.present)
    assert torch.equal((reworded != told).any(dim=1), texts.mask.any(dim=1))
    assert (told.shape[1], shown.shape[1]) == fusion.unimodal_dims
    assert told.isfinite().all() and shown.isfinite().all()


def test_each_modality_alone_teaches_its_part_of_the_encoder(
    make_fusion: Callable[..., Lxmert],
) -> None:
    fusion = make_fusion()
    model: Any = fusion.backbone.model
    words, regions = model.get_input_embeddings().weight, model.encoder.visn_fc.visn_fc.weight

    told, shown = fusion.unimodal(token_ids(TEXTS), pictures())

    assert_each_teaches_its_own((told, shown), (words, regions))


def test_comments_are_read_with_the_posts_picture(make_fusion: Callable[..., Lxmert]) -> None:
    assert_comments_meet_the_picture(make_fusion(), token_ids(TEXTS), pictures(), [CLS, 5, SEP])
