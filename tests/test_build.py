"""The settings describe the model that is built."""

from pathlib import Path
from typing import Any

import pytest
import torch

from postsense.config import Config, FusionSettings, LossSettings
from postsense.config.loading import load_config, parse_config, preset_names
from postsense.errors import EncoderError
from postsense.fusion.concat import Concat
from postsense.fusion.cross_attention import CrossAttention
from postsense.model.build import build_model, load_encoders
from postsense.model.post_model import PostModel


def build(config: Config, seed: int = 0, *, pretrained: bool = True) -> PostModel:
    text_dim, image_dim = (5, 7) if pretrained else (16, 16)  # of all encoders, to be loaded over
    encoders = load_encoders(config, text_dim, image_dim, pretrained=pretrained)
    torch.manual_seed(seed)
    return build_model(config, encoders, classes=3)


def fusion_of(name: str, **changes: Any) -> Config:
    return parse_config({"fusion": {"name": name, "hidden": 8, **changes}})


def branches_of(model: PostModel) -> tuple[int | None, int | None]:
    text, image = model.text, model.image
    return text.dim if text is not None else None, image.dim if image is not None else None


@pytest.mark.parametrize(
    ("name", "branches", "inputs"),
    [
        ("concat", (5, 7), 12),
        ("text_only", (5, None), 5),
        ("image_only", (None, 7), 7),
        ("cross_attention", (5, 7), 5 + 8),
    ],
)
def test_the_fusion_joins_the_modalities_it_reads(
    name: str, branches: tuple[int | None, int | None], inputs: int
) -> None:
    model = build(fusion_of(name))

    assert branches_of(model) == branches
    assert isinstance(model.fusion, CrossAttention if name == "cross_attention" else Concat)
    assert (model.fusion.project.in_features, model.fusion.project.out_features) == (inputs, 8)


def test_dropout_and_classes_are_those_of_the_settings() -> None:
    model = build(fusion_of("concat", input_dropout=0.12, dropout=0.34))

    assert isinstance(model.fusion, Concat)
    assert model.fusion.dropout.p == 0.12
    dropout, linear = model.head
    assert (dropout.p, linear.in_features, linear.out_features) == (0.34, 8, 3)


def test_attended_tokens_are_pooled_as_the_text_is() -> None:
    settings = {"fusion": {"name": "cross_attention"}, "encoders": {"text": {"pooling": "max"}}}

    model = build(parse_config(settings))

    assert isinstance(model.fusion, CrossAttention)
    assert model.fusion.pooling == "max"


def test_the_same_seed_builds_the_same_model() -> None:
    first, same, other = (build(fusion_of("concat"), seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["fusion.project.weight"], other["fusion.project.weight"])


def has_encoders_inside(config: Config) -> bool:
    return config.encoders.text.runs_inside or config.encoders.image.runs_inside


@pytest.mark.parametrize(
    "name", [n for n in preset_names() if not has_encoders_inside(load_config(n))]
)
def test_every_preset_of_frozen_encoders_has_nothing_of_them_in_the_model(name: str) -> None:
    model = build(load_config(name))

    assert not any("encoder" in key for key in model.state_dict())


@pytest.fixture
def trainable(tiny_bert: Path, tiny_resnet: Path) -> Config:
    text = {"name": str(tiny_bert), "max_length": 16, "layers": 1, "trainable": True}
    image = {"name": str(tiny_resnet), "trainable": True}
    return parse_config({"encoders": {"text": text, "image": image}})


def test_trained_encoders_are_part_of_the_model_with_their_own_width(trainable: Config) -> None:
    model = build(trainable)

    assert branches_of(model) == (16, 16)
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert any(name.startswith("text.encoder.backbone.model.encoder.layer.0") for name in names)
    assert not any(name.startswith("text.encoder.backbone.model.encoder.layer.1") for name in names)
    assert any(name.startswith("image.encoder.backbone.model.embedder") for name in names)


def test_an_encoder_that_is_not_read_is_not_loaded(trainable: Config) -> None:
    config = trainable.model_copy(update={"fusion": fusion_of("image_only").fusion})

    encoders = load_encoders(config, None, None)

    assert encoders.text is None
    assert encoders.image is not None


@pytest.mark.parametrize(("pretrained", "same"), [(True, True), (False, False)])
def test_trained_encoders_start_from_their_checkpoint_unless_loaded_over(
    trainable: Config, tiny_bert: Path, pretrained: bool, same: bool
) -> None:
    from transformers import AutoModel

    weights = build(trainable, pretrained=pretrained).state_dict()

    expected = AutoModel.from_pretrained(tiny_bert).state_dict()
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(weights[f"text.encoder.backbone.model.{name}"], expected[name]) is same


def test_the_running_statistics_of_a_trained_encoder_are_saved_with_it(trainable: Config) -> None:
    trained, fresh = build(trainable), build(trainable, seed=1, pretrained=False)
    assert trained.image is not None and trained.image.encoder is not None
    trained.train().image.encoder(torch.randn(2, 3, 32, 32), torch.ones(2, dtype=torch.bool))

    fresh.load_state_dict(trained.state_dict())

    statistics = [name for name in fresh.state_dict() if name.endswith("running_mean")]
    assert statistics
    assert any(fresh.state_dict()[name].any() for name in statistics)


@pytest.mark.parametrize("part", ["text", "image"])
def test_swapped_checkpoints_are_refused(tiny_bert: Path, tiny_vit: Path, part: str) -> None:
    wrong = {"text": tiny_vit, "image": tiny_bert}[part]
    config = parse_config({"encoders": {part: {"name": str(wrong), "trainable": True}}})

    with pytest.raises(
        EncoderError, match=rf"^encoders\.{part}\.name: expected a model that reads"
    ):
        load_encoders(config, 5, 7)


def test_over_frozen_encoders_the_contrastive_loss_has_projections_to_train() -> None:
    model = build(parse_config({"losses": {"itc": 0.1, "itc_width": 6}}))

    assert branches_of(model) == (6, 6)
    assert model.alignment is not None
    assert [name for name, _ in model.alignment.named_parameters()] == ["log_scale"]


def test_over_trained_encoders_it_has_projections_of_its_own(trainable: Config) -> None:
    losses = trainable.losses.model_copy(update={"itc": 0.1, "itc_width": 6})

    model = build(trainable.model_copy(update={"losses": losses}))

    assert model.alignment is not None and model.text is not None
    assert isinstance(model.text.project, torch.nn.Identity)
    assert isinstance(model.alignment.text, torch.nn.Linear)
    assert model.alignment.text.weight.shape == (6, model.text.dim)


def test_the_losses_do_not_change_how_the_rest_of_the_model_starts() -> None:
    plain = build(parse_config({"encoders": {"projection": 6}}))
    paired = build(
        parse_config({"encoders": {"projection": 6}, "losses": {"itc": 0.1, "itm": 0.1}})
    )

    weights = paired.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("name", ["hierarchical", "cross_modal"])
@pytest.mark.parametrize("fidelity", ["corrected", "released"])
def test_quirks_are_built_in_where_they_are_asked_for(name: str, fidelity: str) -> None:
    fusion: Any = build(fusion_of(name, fidelity=fidelity)).fusion
    if name == "hierarchical":
        assert fusion.fidelity == fidelity
        assert {summary.fidelity for summary in fusion.summaries} == {fidelity}
    else:
        released = type(fusion.interaction).__name__ == "_AcrossPosts"
        assert released is (fidelity == "released")


def test_a_picture_is_as_many_tokens_as_the_settings_say(trainable: Config) -> None:
    fusion = FusionSettings(name="bitransformer", hidden=8, picture_tokens=7)
    built: Any = build(trainable.model_copy(update={"fusion": fusion})).fusion
    assert built.picture_tokens == 7


@pytest.mark.parametrize("name", ["concat", "hierarchical", "text_only"])
def test_dropout_on_comments_is_that_of_the_settings(name: str) -> None:
    values = {"fusion.name": name, "retrieval.corpus": "corpus", "comments.dropout": 0.21}
    built: Any = build(load_config(values=values)).fusion
    assert built.dropout.p == 0.21


@pytest.mark.parametrize("name", ["concat", "cross_modal", "bitransformer"])
def test_the_contrastive_loss_starts_at_the_temperature_of_the_settings(
    name: str, trainable: Config
) -> None:
    fusion = FusionSettings(name=name, hidden=8)
    losses = LossSettings(itc=0.1, temperature=0.25)
    frozen = fusion_of(name) if name != "bitransformer" else trainable
    model = build(frozen.model_copy(update={"fusion": fusion, "losses": losses}))
    assert model.alignment is not None
    assert model.alignment.log_scale.exp().item() == pytest.approx(4.0)
