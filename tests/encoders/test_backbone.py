"""Backbones give what transformers gives, cut and pooled as asked, and refuse the wrong model."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from postsense.config.encoders import Pooling
from postsense.encoders.backbone import (
    ImageEncoder,
    TextEncoder,
    load_image_backbone,
    load_text_backbone,
)
from postsense.encoders.embeddings import pool
from postsense.encoders.processors import load_tokenizer
from postsense.errors import EncoderError

IDS = torch.tensor([[2, 4, 5, 6, 3], [2, 7, 3, 0, 0], [0, 0, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def reference(folder: Path) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval()


def test_a_text_backbone_gives_the_states_and_the_class_token(tiny_bert: Path) -> None:
    expected = reference(tiny_bert)(input_ids=IDS[:1]).last_hidden_state

    tokens, cls = load_text_backbone(tiny_bert, None)(IDS[:1], MASK[:1].long())

    torch.testing.assert_close(tokens, expected)
    torch.testing.assert_close(cls, expected[:, 0])


def test_a_cut_text_model_gives_the_states_of_its_last_layer(tiny_bert: Path) -> None:
    states = reference(tiny_bert)(input_ids=IDS[:1], output_hidden_states=True).hidden_states

    tokens, _ = load_text_backbone(tiny_bert, 1)(IDS[:1], MASK[:1].long())

    torch.testing.assert_close(tokens, states[1])


def test_a_cut_vision_model_gives_the_normalised_states_of_its_last_layer(
    tiny_vit: Path, pixels: Tensor
) -> None:
    model = reference(tiny_vit)
    states = model(pixels, output_hidden_states=True).hidden_states

    regions, cls = load_image_backbone(tiny_vit, 1, "cls")(pixels)

    torch.testing.assert_close(regions, model.layernorm(states[1]))
    torch.testing.assert_close(cls, regions[:, 0])


def test_a_dual_model_can_be_cut_too(tiny_clip: Path, pixels: Tensor) -> None:
    whole, _ = load_image_backbone(tiny_clip, 2, "mean")(pixels)
    cut, _ = load_image_backbone(tiny_clip, 1, "mean")(pixels)
    states = reference(tiny_clip).vision_model(pixels, output_hidden_states=True).hidden_states

    torch.testing.assert_close(whole, states[2])
    torch.testing.assert_close(cut, states[1])


def test_the_text_of_a_dual_model_is_pooled_as_the_model_does(tiny_clip: Path) -> None:
    ids = IDS.where(MASK, 1)[:2]
    expected = reference(tiny_clip).text_model(input_ids=ids, attention_mask=MASK[:2].long())

    tokens, cls = load_text_backbone(tiny_clip, None)(ids, MASK[:2].long())

    torch.testing.assert_close(tokens, expected.last_hidden_state)
    torch.testing.assert_close(cls, expected.pooler_output)


def test_a_siglip_text_is_read_padded_to_the_end_by_the_tokenizers_padding(
    tiny_siglip: Path,
) -> None:
    """Its own padding_idx is another, as in checkpoints of SigLIP 2, and nothing is masked."""
    model, tokenizer = reference(tiny_siglip), load_tokenizer(tiny_siglip, 24)
    padded = F.pad(IDS[:2] * MASK[:2], (0, 24 - IDS.shape[1]))
    expected = model.text_model(input_ids=padded)
    backbone = load_text_backbone(tiny_siglip, None, trial=lambda: tokenizer.trial("cls"))

    tokens, cls = backbone(IDS[:2], MASK[:2].long())
    alone, alone_cls = backbone(IDS[1:2, :3], MASK[1:2, :3].long())

    assert tokenizer.pad_id == 0 != model.config.text_config.pad_token_id
    torch.testing.assert_close(cls, expected.pooler_output)
    torch.testing.assert_close(tokens, expected.last_hidden_state[:, :5])
    torch.testing.assert_close(alone_cls, cls[1:])
    torch.testing.assert_close(alone, tokens[1:, :3])


def test_the_class_vector_of_a_siglip_picture_is_that_of_its_head(
    tiny_siglip: Path, pixels: Tensor
) -> None:
    expected = reference(tiny_siglip).vision_model(pixels)

    regions, cls = load_image_backbone(tiny_siglip, None, "cls")(pixels)

    torch.testing.assert_close(regions, expected.last_hidden_state)
    torch.testing.assert_close(cls, expected.pooler_output)


def test_the_regions_of_a_convolutional_network_are_the_cells_of_its_map(
    tiny_resnet: Path, pixels: Tensor
) -> None:
    map_ = reference(tiny_resnet)(torch.cat([pixels, pixels], dim=3)).last_hidden_state

    regions, cls = load_image_backbone(tiny_resnet, None, "mean")(
        torch.cat([pixels, pixels], dim=3)
    )

    height, width = map_.shape[2:]
    for row in range(height):
        for column in range(width):
            torch.testing.assert_close(regions[:, row * width + column], map_[:, :, row, column])
    torch.testing.assert_close(cls, map_.mean(dim=(2, 3)))


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_a_text_gets_the_same_alone_and_among_longer_and_empty_texts(
    tiny_bert: Path, pooling: Pooling
) -> None:
    encoder = TextEncoder(load_text_backbone(tiny_bert, None), pooling)

    together = encoder(IDS, MASK)
    alone = encoder(IDS[1:2, :3], MASK[1:2, :3])

    torch.testing.assert_close(together.pooled[1], alone.pooled[0], rtol=1e-4, atol=1e-5)
    assert alone.tokens is not None
    torch.testing.assert_close(pool(alone.tokens, MASK[1:2, :3], pooling), alone.pooled)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_an_empty_text_is_absent_and_zero_with_a_finite_gradient(
    tiny_bert: Path, pooling: Pooling
) -> None:
    encoder = TextEncoder(load_text_backbone(tiny_bert, None), pooling)

    embeddings = encoder(IDS, MASK)
    embeddings.pooled.sum().backward()

    assert embeddings.present.tolist() == [True, True, False]
    assert embeddings.tokens is not None
    assert not embeddings.pooled[2].any() and not embeddings.tokens[~MASK].any()
    gradients = [weight.grad for weight in encoder.parameters() if weight.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_an_absent_picture_is_zero_and_does_not_touch_the_others(
    tiny_vit: Path, pixels: Tensor, pooling: Pooling
) -> None:
    encoder = ImageEncoder(load_image_backbone(tiny_vit, None, pooling), pooling)

    both = encoder(pixels, torch.tensor([True, True]))
    one = encoder(
        pixels * torch.tensor([1.0, 0.0])[:, None, None, None], torch.tensor([True, False])
    )

    torch.testing.assert_close(one.pooled[0], both.pooled[0])
    assert one.tokens is not None and one.mask is not None
    assert not one.pooled[1].any() and not one.tokens[1].any()
    assert not one.mask[1].any()


def test_loaded_backbones_are_in_eval_mode_and_can_be_trained(
    tiny_bert: Path, tiny_resnet: Path
) -> None:
    for backbone in (
        load_text_backbone(tiny_bert, None),
        load_image_backbone(tiny_resnet, None, "mean"),
    ):
        assert not any(module.training for module in backbone.modules())
        assert all(weight.requires_grad for weight in backbone.parameters())


def test_only_frozen_parts_ignore_the_training_mode(tiny_bert: Path) -> None:
    backbone = load_text_backbone(tiny_bert, None)
    frozen = backbone.model.get_submodule("encoder.layer.0")
    backbone.frozen = (frozen,)

    assert backbone.train() is backbone
    inside = set(frozen.modules())
    assert all(part.training is (part not in inside) for part in backbone.modules())


def test_without_pretraining_the_weights_are_others(tiny_bert: Path) -> None:
    trained = load_text_backbone(tiny_bert, 1).state_dict()
    random = load_text_backbone(tiny_bert, 1, pretrained=False).state_dict()

    name = "model.encoder.layer.0.output.dense.weight"
    assert trained.keys() == random.keys()
    assert not torch.equal(trained[name], random[name])


def test_a_vision_model_is_refused_as_text_encoder(tiny_vit: Path) -> None:
    message = "encoders.text.name: expected a model that reads text, found 'ViTModel'"
    with pytest.raises(EncoderError, match=message):
        load_text_backbone(tiny_vit, None)


def test_a_text_model_is_refused_as_picture_encoder(tiny_bert: Path) -> None:
    message = "encoders.image.name: expected a model that reads pictures, found 'BertModel'"
    with pytest.raises(EncoderError, match=message):
        load_image_backbone(tiny_bert, None, "mean")


def test_more_layers_than_there_are_is_refused(tiny_bert: Path) -> None:
    message = "encoders.text.layers: expected layers <= 2, found 3."
    with pytest.raises(EncoderError, match=re.escape(message)):
        load_text_backbone(tiny_bert, 3)


@pytest.mark.parametrize(
    ("layers", "pooling", "where"),
    [(3, "mean", "encoders.image.layers"), (None, "cls", "encoders.image.pooling")],
)
def test_a_convolutional_network_has_neither_layers_nor_a_class_token(
    tiny_resnet: Path, layers: int | None, pooling: Pooling, where: str
) -> None:
    for folder in (None, tiny_resnet):
        with pytest.raises(EncoderError, match=f"^{re.escape(where)}: expected"):
            load_image_backbone(folder, layers, pooling)
