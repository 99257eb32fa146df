"""Frozen layers neither learn nor drift, and training in less memory learns the same."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from postsense.config.loading import parse_config
from postsense.encoders.backbone import Backbone, load_text_backbone
from postsense.encoders.builtin import load_efficientnet
from postsense.encoders.freezing import freeze_layers
from postsense.encoders.gradient_checkpointing import checkpoint_gradients
from postsense.encoders.word_networks import CnnNetwork
from postsense.errors import EncoderError
from postsense.model.build import load_encoders

WHERE = "encoders.image.frozen_layers"
LAYERS = {
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}
WORDS = LAYERS | {"vocab_size": 12}
PICTURE = LAYERS | {"image_size": 32, "patch_size": 16}
CLIP_TEXT = WORDS | {"bos_token_id": 2, "eos_token_id": 3}
IDS = torch.tensor([[2, 4, 5, 3], [2, 7, 3, 0]])
PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
READ_WORDS = {"input_ids": IDS, "attention_mask": (IDS != 0).long()}
READ_PICTURE = {"pixel_values": PIXELS}
TEXT = ("bert", "roberta", "distilbert", "mpnet", "clip_text")
TRANSFORMERS = ("vit", "deit", "beit", "clip_vision", "vilt")
BELOW = (
    "embed",
    "_conv_stem",
    "network._bn0",
    "pre_layrnorm",
    "shared_position",
    "relative_attention",
)
CONVOLUTIONAL = ("resnet", "efficientnet", "builtin")


def model_of(name: str) -> nn.Module:
    import transformers as tf

    torch.manual_seed(0)
    makers: dict[str, Callable[[], nn.Module]] = {
        "bert": lambda: tf.BertModel(tf.BertConfig(**WORDS)),
        "roberta": lambda: tf.RobertaModel(tf.RobertaConfig(**WORDS)),
        "distilbert": lambda: tf.DistilBertModel(
            tf.DistilBertConfig(vocab_size=12, dim=8, n_layers=3, n_heads=2, hidden_dim=8)
        ),
        "mpnet": lambda: tf.MPNetModel(tf.MPNetConfig(**WORDS)),
        "clip_text": lambda: tf.CLIPTextModel(tf.CLIPTextConfig(**CLIP_TEXT)),
        "clip_vision": lambda: tf.CLIPVisionModel(tf.CLIPVisionConfig(**PICTURE)),
        "vit": lambda: tf.ViTModel(tf.ViTConfig(**PICTURE)),
        "deit": lambda: tf.DeiTModel(tf.DeiTConfig(**PICTURE)),
        "beit": lambda: tf.BeitModel(
            tf.BeitConfig(**PICTURE, use_shared_relative_position_bias=True)
        ),
        "vilt": lambda: tf.ViltModel(tf.ViltConfig(**PICTURE, vocab_size=12)),
        "lxmert": lambda: tf.LxmertModel(
            tf.LxmertConfig(vocab_size=12, hidden_size=8, num_attention_heads=2, l_layers=2)
        ),
        "resnet": lambda: tf.ResNetModel(
            tf.ResNetConfig(embedding_size=4, hidden_sizes=[4, 4, 8], depths=[1, 1, 1])
        ),
        "efficientnet": lambda: tf.EfficientNetModel(
            tf.EfficientNetConfig(width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128)
        ),
        "builtin": load_efficientnet,
    }
    return makers[name]()


def states_of(backbone: Backbone, name: str) -> Tensor:
    if name == "builtin":
        features: Tensor = backbone.model(PIXELS)
        return features
    words = READ_WORDS if name in (*TEXT, "vilt") else {}
    picture = READ_PICTURE if name not in TEXT else {}
    states: Tensor = backbone.model(**words, **picture).last_hidden_state
    return states


def step(backbone: Backbone, name: str) -> dict[str, Tensor]:
    """All weights and statistics from before one step of AdamW."""
    before = copy.deepcopy(backbone.state_dict())
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=0.1, weight_decay=0.1)
    states_of(backbone.train(), name).square().sum().backward()
    optimizer.step()
    return before


def layers_of(backbone: Backbone) -> nn.ModuleList:
    return next(part for part in backbone.modules() if isinstance(part, nn.ModuleList))


@pytest.mark.parametrize("name", [*TEXT, *TRANSFORMERS, *CONVOLUTIONAL])
def test_frozen_layers_and_what_is_below_them_do_not_move(name: str) -> None:
    backbone = Backbone(model_of(name))
    freeze_layers(backbone, 2, WHERE)
    before = step(backbone, name)

    for number, layer in enumerate(layers_of(backbone)):
        moved = [not value.equal(old) for value, old in zip_states(backbone, layer, before)]
        assert any(moved) is (number >= 2)
    below = [key for key in before if any(part in key for part in BELOW)]
    assert below and all(torch.equal(backbone.state_dict()[key], before[key]) for key in below)


def zip_states(
    backbone: Backbone, part: nn.Module, before: dict[str, Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Each weight and statistic of a part, with what it was before."""
    [prefix] = [name for name, module in backbone.named_modules() if module is part]
    return [(value, before[f"{prefix}.{name}"]) for name, value in part.state_dict().items()]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_running_statistics_of_frozen_stages_do_not_drift(name: str) -> None:
    backbone = Backbone(model_of(name))
    freeze_layers(backbone, 1, WHERE)
    before = step(backbone, name)
    first, second, *_ = layers_of(backbone)

    assert all(torch.equal(value, old) for value, old in zip_states(backbone, first, before))
    drifted = [
        not torch.equal(value, old)
        for value, old in zip_states(backbone, second, before)
        if value.ndim == 1
    ]
    assert any(drifted)


def test_frozen_parts_stay_in_eval_mode_and_the_others_do_not() -> None:
    backbone = Backbone(model_of("bert"))
    freeze_layers(backbone, 2, WHERE)
    first, second, third = layers_of(backbone)

    nn.Sequential(backbone).train()

    frozen = [backbone.model.embeddings, first, second]
    assert not any(part.training for layer in frozen for part in layer.modules())  # type: ignore[union-attr]
    assert all(part.training for part in third.modules())
    assert not any(part.training for part in backbone.eval().modules())


def test_a_copy_keeps_its_own_frozen_parts_in_eval_mode() -> None:
    backbone = Backbone(model_of("bert"))
    freeze_layers(backbone, 2, WHERE)

    twin = copy.deepcopy(backbone).train()

    assert [layer.training for layer in layers_of(twin)] == [False, False, True]


@pytest.mark.parametrize("name", ["bert", "clip_text", "vit", "beit", "resnet", "vilt"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_no_gradient_is_computed_below_the_first_trained_layer(
    name: str, checkpointed: bool
) -> None:
    backbone = Backbone(model_of(name))
    freeze_layers(backbone, 2, WHERE)
    if checkpointed and name != "resnet":
        checkpoint_gradients(backbone)
    needs_gradient = []
    layers_of(backbone)[1].register_forward_hook(
        lambda *seen: needs_gradient.append(first_of(seen[2]).requires_grad)
    )

    assert states_of(backbone.train(), name).requires_grad
    assert needs_gradient == [False]


def first_of(output: Any) -> Tensor:
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def test_without_frozen_layers_all_of_it_trains() -> None:
    backbone = Backbone(model_of("bert"))

    freeze_layers(backbone, 0, WHERE)

    assert backbone.frozen == ()
    assert all(weight.requires_grad for weight in backbone.parameters())
    assert all(part.training for part in backbone.train().modules())


def test_with_all_layers_frozen_only_what_is_above_them_trains() -> None:
    backbone = Backbone(model_of("clip_vision"))

    freeze_layers(backbone, 3, WHERE)

    trained = {name for name, weight in backbone.named_parameters() if weight.requires_grad}
    assert trained == {"model.post_layernorm.weight", "model.post_layernorm.bias"}


@pytest.mark.parametrize(("name", "layers"), [("bert", 3), ("resnet", 3), ("builtin", 16)])
def test_more_frozen_layers_than_there_are_is_refused(name: str, layers: int) -> None:
    message = rf"^{WHERE}: expected at most {layers}, .* found {layers + 1}\. Set {WHERE}={layers}"
    with pytest.raises(EncoderError, match=message):
        freeze_layers(Backbone(model_of(name)), layers + 1, WHERE)


def test_a_cut_model_has_as_many_layers_to_freeze_as_are_left(tiny_bert: Path) -> None:
    freeze_layers(load_text_backbone(tiny_bert, 1), 1, WHERE)
    with pytest.raises(EncoderError, match="expected at most 1, the layers of the encoder"):
        freeze_layers(load_text_backbone(tiny_bert, 1), 2, WHERE)


def test_a_model_with_several_stacks_of_layers_is_refused() -> None:
    message = "expected a network with one stack of layers, found 'LxmertModel' with 3"
    with pytest.raises(EncoderError, match=message):
        freeze_layers(Backbone(model_of("lxmert")), 1, WHERE)


def without_dropout(backbone: Backbone) -> Backbone:
    for part in backbone.modules():
        for name, value in vars(part).items():
            if ("drop" in name and isinstance(value, float)) or name == "p":
                setattr(part, name, 0.0)
    return backbone


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", *TRANSFORMERS])
@pytest.mark.parametrize("frozen", [0, 1])
def test_checkpointing_computes_layers_twice_and_the_same_gradients(name: str, frozen: int) -> None:
    gradients, runs = list[list[Tensor | None]](), list[int]()
    for checkpointed in (False, True):
        backbone, calls = without_dropout(Backbone(model_of(name))), list[int]()
        freeze_layers(backbone, frozen, WHERE)
        if checkpointed:
            checkpoint_gradients(backbone)
        norm = next(
            part for part in layers_of(backbone)[2].modules() if isinstance(part, nn.Linear)
        )
        norm.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        states_of(backbone.train(), name).square().sum().backward()
        gradients.append([weight.grad for weight in backbone.parameters()])
        runs.append(len(calls))

    assert runs == [1, 2]
    for plain, again in zip(*gradients, strict=True):
        assert (plain is None) is (again is None)
        if plain is not None and again is not None:
            torch.testing.assert_close(plain, again)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_convolutional_network_cannot_be_checkpointed(name: str) -> None:
    message = r"^training\.gradient_checkpointing: expected trained encoders that can compute"
    with pytest.raises(EncoderError, match=message):
        checkpoint_gradients(Backbone(model_of(name)))


def test_a_word_network_cannot_be_checkpointed() -> None:
    with pytest.raises(EncoderError, match="found 'CnnNetwork', which cannot"):
        checkpoint_gradients(CnnNetwork(nn.Embedding(4, 2)))


def test_the_settings_freeze_and_checkpoint_the_encoders(tiny_bert: Path, tiny_vit: Path) -> None:
    text = {"name": str(tiny_bert), "max_length": 16, "trainable": True, "frozen_layers": 1}
    image = {"name": str(tiny_vit), "trainable": True, "frozen_layers": 2}
    training = {"gradient_checkpointing": True}
    config = parse_config({"encoders": {"text": text, "image": image}, "training": training})

    encoders = load_encoders(config, None, None)

    assert encoders.text is not None and encoders.image is not None
    for encoder, trained in ((encoders.text, 1), (encoders.image, 0)):
        layers = layers_of(encoder.train().backbone)  # type: ignore[arg-type]
        assert [layer.training for layer in layers] == [False] * (2 - trained) + [True] * trained
        assert all(layer.gradient_checkpointing for layer in layers)


@pytest.mark.parametrize("part", ["text", "image"])
def test_the_setting_that_freezes_too_much_is_named(
    part: str, tiny_bert: Path, tiny_vit: Path
) -> None:
    folder = {"text": tiny_bert, "image": tiny_vit}[part]
    chosen = {"name": str(folder), "trainable": True, "frozen_layers": 3}

    with pytest.raises(
        EncoderError, match=rf"^encoders\.{part}\.frozen_layers: expected at most 2"
    ):
        load_encoders(parse_config({"encoders": {part: chosen}}), 5, 7)
