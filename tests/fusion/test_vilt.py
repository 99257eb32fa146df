"""ViLT reads words and patches as transformers' own model does, and each post by itself."""

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

from postsense.encoders.joint import load_joint_backbone
from postsense.fusion.vilt import Vilt
from postsense.inputs.batches import Pixels

CLS, SEP, HIDDEN = 2, 3, 16
TEXTS: tuple[list[int], ...] = ([CLS, 5, 6, 7, SEP], [CLS, 8, SEP], [], [CLS, 4, 9, SEP], [])
SHOWN = [True, False, True, True, False]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture
def make_fusion(tiny_vilt: Path) -> Callable[..., Vilt]:
    def make(input_dropout: float = 0.3) -> Vilt:
        torch.manual_seed(0)
        fusion = Vilt(load_joint_backbone(tiny_vilt, "vilt", None), HIDDEN, input_dropout)
        model: Any = fusion.backbone.model
        for weight in (
            fusion.missing_text,
            model.embeddings.cls_token,
            model.embeddings.position_embeddings,
        ):
            nn.init.normal_(weight)  # new ones are zero, which would hide where they belong
        return fusion.eval()

    return make


def pixels(present: list[bool] = SHOWN, size: tuple[int, int] = (32, 32)) -> Pixels:
    shown, generator = torch.tensor(present), torch.Generator().manual_seed(1)
    noise = torch.randn(len(present), 3, *size, generator=generator)
    return Pixels(noise * shown[:, None, None, None], shown)


def class_state(fusion: Vilt, text: list[int], picture: Tensor) -> Tensor:
    """transformers' own model on one post; it shuffles the patches, which changes nothing."""
    model: Any = fusion.backbone.model
    ids, mask = torch.tensor([text]), torch.ones(1, *picture.shape[1:])
    states: Tensor = model(ids, pixel_values=picture[None], pixel_mask=mask).last_hidden_state
    return states[0, 0]


@pytest.mark.parametrize("size", [(32, 32), (48, 24)])
def test_it_equals_the_model_of_transformers(
    make_fusion: Callable[..., Vilt], size: tuple[int, int]
) -> None:
    fusion, image = make_fusion(), pixels(SHOWN, size)

    fused = fusion(token_ids(TEXTS), image).fused

    assert fused.shape == (5, HIDDEN)
    for post in (0, 3):
        state = class_state(fusion, TEXTS[post], image.pixels[post])
        expected = torch.tanh(fusion.project(state))
        torch.testing.assert_close(fused[post], expected, **CLOSE)


def test_a_post_alone_gets_what_it_gets_among_longer_posts(
    make_fusion: Callable[..., Vilt],
) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS, length=9), pixels()

    fused, told, shown = fusion(texts, image).fused, *fusion.unimodal(texts, image)

    for post in range(5):
        alone = token_ids([TEXTS[post]]), image.take(torch.tensor([post]))
        torch.testing.assert_close(fused[post], fusion(*alone).fused[0], **CLOSE)
        for vectors, vector in zip((told, shown), fusion.unimodal(*alone)):
            torch.testing.assert_close(vectors[post], vector[0], **CLOSE)


def test_no_patch_is_left_out_by_chance(make_fusion: Callable[..., Vilt]) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS), pixels()
    whole = fusion(texts, image).fused
    model: Any = fusion.backbone.model
    model.config.max_image_length = 4  # of 16 patches, which transformers draws anew each time

    assert torch.equal(fusion(texts, image).fused, whole)


def test_picture_and_words_both_matter_and_only_where_they_are(
    make_fusion: Callable[..., Vilt],
) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS), pixels()
    fused = fusion(texts, image).fused

    repainted = fusion(texts, replace(image, pixels=image.pixels + 1)).fused
    reworded = fusion(replace(texts, ids=texts.ids + 1), image).fused

    assert torch.equal((repainted != fused).any(dim=1), image.present)
    assert torch.equal((reworded != fused).any(dim=1), texts.mask.any(dim=1))
    assert fused.isfinite().all()


def test_every_weight_it_uses_learns_with_finite_gradients(
    make_fusion: Callable[..., Vilt],
) -> None:
    fusion = make_fusion().train()

    fusion(token_ids(TEXTS), pixels()).fused.square().sum().backward()

    for name, weight in fusion.named_parameters():
        if ".pooler." in name:
            continue  # the class token has a layer of its own
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0 or name.endswith("key.bias"), name


def test_it_learns_eight_posts_by_heart(make_fusion: Callable[..., Vilt]) -> None:
    fusion, head = make_fusion(input_dropout=0.0), nn.Linear(HIDDEN, 3)
    texts = token_ids([[CLS, 5 + number % 4, 10 + number // 4, SEP] for number in range(8)])
    image, labels = pixels([True] * 8), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    weights = [*fusion.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, fused=True)

    for _ in range(70):
        loss = nn.functional.cross_entropy(head(fusion(texts, image).fused), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    assert loss.item() < 0.1


def test_each_modality_alone_knows_nothing_of_the_other(make_fusion: Callable[..., Vilt]) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS), pixels()

    told, shown = fusion.unimodal(texts, image)
    told_again, repainted = fusion.unimodal(texts, replace(image, pixels=image.pixels + 1))
    reworded, shown_again = fusion.unimodal(replace(texts, ids=texts.ids + 1), image)

    assert torch.equal(told_again, told) and torch.equal(shown_again, shown)
    assert (repainted != shown).any(dim=1)[image.present].all()
    assert torch.equal((reworded != told).any(dim=1), texts.mask.any(dim=1))
    assert (told.shape[1], shown.shape[1]) == fusion.unimodal_dims
    assert told.isfinite().all() and shown.isfinite().all()


def test_words_alone_are_read_as_in_a_post_without_picture(
    make_fusion: Callable[..., Vilt],
) -> None:
    fusion, texts = make_fusion(), token_ids(TEXTS)

    told, _ = fusion.unimodal(texts, pixels())

    expected = fusion(texts, pixels([False] * 5)).fused
    torch.testing.assert_close(torch.tanh(fusion.project(told)), expected, **CLOSE)


def test_each_modality_alone_teaches_its_part_of_the_encoder(
    make_fusion: Callable[..., Vilt],
) -> None:
    fusion = make_fusion()
    model: Any = fusion.backbone.model
    words = model.get_input_embeddings().weight
    patches = model.embeddings.patch_embeddings.projection.weight

    told, shown = fusion.unimodal(token_ids(TEXTS), pixels())

    assert_each_teaches_its_own((told, shown), (words, patches))


def test_comments_are_read_with_the_posts_picture(make_fusion: Callable[..., Vilt]) -> None:
    assert_comments_meet_the_picture(make_fusion(), token_ids(TEXTS), pixels(), [CLS, 5, SEP])
