"""Encoders of fidelity 'released' run in the model: in training mode they drop out, never learn."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.inputs.batches import Pixels, TokenIds
from postsense.inputs.preparation import PreparedPosts, prepare_posts
from postsense.model.build import build_model, load_encoders
from postsense.model.post_model import Branch, PostModel
from postsense.prediction.classifier import Classifier
from postsense.saving.folder import load_model, save_model
from postsense.training.fitting import fit_classifier
from postsense.training.optimizer import build_optimizer

Rows = list[dict[str, Any]]
TEXT = TokenIds(
    torch.tensor([[2, 4, 5, 3], [2, 6, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]) > 0
)
PICTURES = Pixels(
    torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
    torch.ones(4, dtype=torch.bool),
)


@pytest.fixture
def config(tiny_bert: Path, tiny_resnet: Path) -> Config:
    """Both encoders as in released code, over tiny checkpoints."""
    return config_of(tiny_bert, tiny_resnet)


def config_of(text: Path, image: Path, **settings: Any) -> Config:
    quick = {"training.epochs": 2, "training.learning_rate": 0.01, "training.device": "cpu"}
    chosen = {"name": str(text), "max_length": 16, "fidelity": "released"}
    encoders = {f"encoders.text.{name}": value for name, value in chosen.items()}
    encoders |= {"encoders.image.name": str(image), "encoders.image.fidelity": "released"}
    return load_config(values={**quick, **encoders, "fusion.hidden": 8, **settings})


def build(config: Config) -> PostModel:
    torch.manual_seed(0)
    return build_model(config, load_encoders(config, None, None), classes=3)


def branches(model: PostModel) -> tuple[Branch, Branch]:
    assert model.text is not None and model.image is not None
    return model.text, model.image


def encoder_state(model: PostModel, *, statistics: bool) -> dict[str, Tensor]:
    """The running statistics of the encoders' BatchNorm, or all other tensors of theirs."""
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if ".encoder." in name and ("running_" in name or "num_batches" in name) is statistics
    }


def test_dropout_is_on_in_training_and_off_when_predicting(config: Config) -> None:
    text, _ = branches(build(config).train())

    first, second = (text(TEXT).pooled for _ in range(2))
    text.eval()
    calm, again = (text(TEXT).pooled for _ in range(2))

    assert (first - second).abs().max() > 1e-3
    assert torch.equal(calm, again)


def test_batch_statistics_move_in_training_alone(config: Config) -> None:
    model = build(config)
    before = encoder_state(model, statistics=True)

    branches(model.eval())[1](PICTURES)
    still = encoder_state(model, statistics=True)
    branches(model.train())[1](PICTURES)
    moved = encoder_state(model, statistics=True)

    assert before and all(torch.equal(still[name], value) for name, value in before.items())
    assert not any(torch.equal(moved[name], value) for name, value in before.items())


def test_nothing_in_the_encoders_learns_or_keeps_a_graph(config: Config) -> None:
    model = build(config).train()
    text, image = branches(model)

    given = [text(TEXT), image(PICTURES)]

    inside = {id(weight) for part in (text, image) for weight in part.encoder.parameters()}
    groups = build_optimizer(model, config.training).param_groups
    assert not inside & {id(weight) for group in groups for weight in group["params"]}
    assert all(part.pooled.grad_fn is None and part.tokens.grad_fn is None for part in given)
    assert model.encodes


def test_a_released_encoder_may_stand_beside_one_that_trains(
    tiny_bert: Path, tiny_resnet: Path
) -> None:
    learns = {"encoders.text.trainable": True, "encoders.text.frozen_layers": 1}
    learns |= {"encoders.text.fidelity": "corrected"}
    saves_memory = {"training.gradient_checkpointing": True}  # which no ResNet can

    model = build(config_of(tiny_bert, tiny_resnet, **learns, **saves_memory))

    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert any(name.startswith("text.encoder.backbone.model.encoder.layer.1") for name in learning)
    assert not any(name.startswith("text.encoder.backbone.model.embeddings") for name in learning)
    assert not any(name.startswith("image.encoder") for name in learning)


@pytest.fixture
def prepare(post_rows: Rows) -> Callable[[Config], PreparedPosts]:
    return lambda config: prepare_posts(load_posts(post_rows), config)


def test_posts_reach_them_as_ids_and_pixels_and_nothing_is_encoded_before(
    config: Config, prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for encoder in (FrozenTextEncoder, FrozenImageEncoder):
        monkeypatch.setattr(encoder, "encode", lambda *_: pytest.fail("encoded before"))

    batch = prepare(config).dataset(np.arange(2))[np.arange(2)]

    assert isinstance(batch["text"], TokenIds) and isinstance(batch["image"], Pixels)


def fit(post_rows: Rows, config: Config, folder: Path) -> Classifier:
    splits = split_posts(load_posts(post_rows), None, validation_fraction=0.1, seed=0)
    prepared = prepare_posts(splits.posts, config)
    return fit_classifier(splits, prepared, config, folder).classifier


def test_training_moves_the_statistics_but_no_weight(
    config: Config, post_rows: Rows, tmp_path: Path
) -> None:
    before = build(config)

    trained = fit(post_rows, config, tmp_path).model

    after = encoder_state(trained, statistics=False)
    fixed = encoder_state(before, statistics=False)
    assert len(fixed) > 20 and all(torch.equal(after[name], fixed[name]) for name in fixed)
    statistics = encoder_state(before, statistics=True)
    moved = encoder_state(trained, statistics=True)
    assert not any(torch.equal(moved[name], value) for name, value in statistics.items())


def test_a_saved_model_is_whole_without_the_checkpoints(
    post_rows: Rows, tiny_bert: Path, tiny_resnet: Path, tmp_path: Path
) -> None:
    origins = [
        shutil.copytree(tiny_bert, tmp_path / "a"),
        shutil.copytree(tiny_resnet, tmp_path / "b"),
    ]
    classifier = fit(post_rows, config_of(*origins), tmp_path / "run")
    expected = classifier.predict(load_posts(post_rows[:8])).probs
    save_model(classifier, tmp_path / "model")
    for origin in origins:
        shutil.rmtree(origin)

    loaded = load_model(tmp_path / "model")

    assert np.array_equal(loaded.predict(load_posts(post_rows[:8])).probs, expected)
    assert not any(
        weight.requires_grad for weight in branches(loaded.model)[0].encoder.parameters()
    )


def test_the_same_seed_trains_the_same_model(
    config: Config, post_rows: Rows, tmp_path: Path
) -> None:
    first, second = (fit(post_rows, config, tmp_path / name).model for name in "ab")

    weights = second.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in first.state_dict().items())
