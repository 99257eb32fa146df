"""Rates, decay and schedule of AdamW, against values worked out by hand."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from postsense.config import TrainingSettings
from postsense.encoders.backbone import TextBackbone, TextEncoder, load_text_backbone
from postsense.encoders.freezing import freeze_layers
from postsense.encoders.word_networks import BilstmNetwork
from postsense.fusion.concat import Concat
from postsense.model.post_model import Branch, PostModel
from postsense.training.optimizer import build_optimizer, learning_rate_factor

SETTINGS = TrainingSettings(learning_rate=0.5, encoder_learning_rate=0.25, weight_decay=0.1)


def model_with_encoder(*, trains: bool = True) -> PostModel:
    encoder = TextBackbone(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))) if trains else None
    head = nn.Linear(5, 2)
    return PostModel(Branch(encoder, 4), Branch(None, 6), Concat(4, 6, 5, 0.0), head)


def settings_of(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> tuple[float, float]:
    [group] = [g for g in optimizer.param_groups if any(p is weight for p in g["params"])]
    assert group["lr"] == group["peak_lr"]
    return group["peak_lr"], group["weight_decay"]


def test_encoders_train_at_their_own_rate_and_the_rest_at_the_other() -> None:
    model = model_with_encoder()
    optimizer = build_optimizer(model, SETTINGS)
    assert model.text is not None and isinstance(model.text.encoder, TextBackbone)
    assert settings_of(optimizer, model.text.encoder.model[0].weight) == (0.25, 0.1)
    assert settings_of(optimizer, model.head.weight) == (0.5, 0.1)


def test_biases_norms_and_missing_vectors_do_not_decay() -> None:
    model = model_with_encoder()
    optimizer = build_optimizer(model, SETTINGS)
    assert model.text is not None and isinstance(model.text.encoder, TextBackbone)
    assert settings_of(optimizer, model.text.encoder.model[1].weight) == (0.25, 0.0)
    assert settings_of(optimizer, model.head.bias) == (0.5, 0.0)
    assert settings_of(optimizer, model.text.missing) == (0.5, 0.0)


def test_every_weight_that_trains_is_in_exactly_one_group() -> None:
    model = model_with_encoder()
    model.head.weight.requires_grad_(False)
    grouped = [p for g in build_optimizer(model, SETTINGS).param_groups for p in g["params"]]
    expected = {id(p) for p in model.parameters() if p.requires_grad}
    assert len(grouped) == len(expected)
    assert {id(p) for p in grouped} == expected


def test_a_word_network_trains_at_the_rate_of_the_rest() -> None:
    network = BilstmNetwork(nn.Embedding(5, 3))
    model = PostModel(
        Branch(TextEncoder(network, "cls"), 300), None, Concat(300, None, 5, 0.0), nn.Linear(5, 2)
    )
    optimizer = build_optimizer(model, SETTINGS)
    assert settings_of(optimizer, network.words.weight) == (0.5, 0.1)
    assert settings_of(optimizer, network.lstm.weight_hh_l0_reverse) == (0.5, 0.1)
    assert settings_of(optimizer, network.lstm.bias_hh_l0_reverse) == (0.5, 0.0)


def test_every_bias_and_norm_of_a_real_encoder_is_free_of_decay(tiny_bert: Path) -> None:
    model = model_with_encoder()
    assert model.text is not None
    model.text.encoder = TextEncoder(load_text_backbone(tiny_bert, None), "mean")
    optimizer = build_optimizer(model, SETTINGS)
    for name, weight in model.named_parameters():
        free = name.endswith(("bias", "missing")) or "LayerNorm" in name
        rate = 0.25 if ".encoder.backbone." in name else 0.5
        assert settings_of(optimizer, weight) == (rate, 0.0 if free else 0.1)


def test_frozen_layers_are_in_no_group_and_do_not_decay(tiny_bert: Path) -> None:
    backbone = load_text_backbone(tiny_bert, None)
    freeze_layers(backbone, 1, "encoders.text.frozen_layers")
    model = model_with_encoder()
    assert model.text is not None
    model.text.encoder = TextEncoder(backbone, "mean")
    grouped = [p for g in build_optimizer(model, SETTINGS).param_groups for p in g["params"]]
    names = {name for name, weight in backbone.named_parameters() if is_in(weight, grouped)}
    assert names and all(".layer.1." in name or "pooler" in name for name in names)
    assert all(is_in(weight, grouped) for weight in model.head.parameters())


def is_in(weight: nn.Parameter, grouped: list[nn.Parameter]) -> bool:
    return any(weight is other for other in grouped)


def test_a_weight_that_two_parts_share_is_in_one_group(tiny_bert: Path) -> None:
    encoder = TextEncoder(load_text_backbone(tiny_bert, None), "mean")
    fusion = Concat(16, 16, 5, 0.0)
    model = PostModel(Branch(encoder, 16), None, fusion, nn.Linear(5, 2))
    fusion.backbone = encoder.backbone
    grouped = [p for g in build_optimizer(model, SETTINGS).param_groups for p in g["params"]]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(model.parameters()))


def test_without_trained_encoders_no_group_has_their_rate() -> None:
    optimizer = build_optimizer(model_with_encoder(trains=False), SETTINGS)
    assert {group["peak_lr"] for group in optimizer.param_groups} == {0.5}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # 2 of 10 steps warm up: 1/3, 2/3; then step s has done (s - 2) / 8 of the schedule
        ("linear", {0: 1 / 3, 1: 2 / 3, 2: 1.0, 4: 0.75, 6: 0.5, 9: 0.125}),
        (
            "cosine",
            {1: 2 / 3, 2: 1.0, 4: 0.5 + math.sqrt(2) / 4, 6: 0.5, 8: 0.5 - math.sqrt(2) / 4},
        ),
        ("constant", {0: 1 / 3, 1: 2 / 3, 2: 1.0, 9: 1.0}),
    ],
)
def test_the_schedule_has_the_values_worked_out_by_hand(schedule, expected) -> None:
    settings = TrainingSettings(schedule=schedule, warmup_fraction=0.2)
    for step, value in expected.items():
        assert learning_rate_factor(settings, step, 10) == pytest.approx(value, rel=1e-12)


def test_without_warm_up_the_first_step_has_the_peak_rate() -> None:
    assert learning_rate_factor(TrainingSettings(warmup_fraction=0), 0, 7) == 1.0


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7])
def test_every_step_learns(schedule, warmup: float, total: int) -> None:
    settings = TrainingSettings(schedule=schedule, warmup_fraction=warmup)
    factors = [learning_rate_factor(settings, step, total) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)


def test_steps_cut_the_rate_every_few_epochs() -> None:
    settings = SETTINGS.model_copy(
        update={"schedule": "step", "epochs": 6, "step_epochs": 2, "warmup_fraction": 0.0}
    )
    factors = [learning_rate_factor(settings, step, 18) for step in range(18)]  # 3 an epoch
    assert factors == [1.0] * 6 + [0.5] * 6 + [0.25] * 6
