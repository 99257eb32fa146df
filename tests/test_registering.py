"""What a stranger adds, a fusion, a loss, a method: one entry of a table and code of their own."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from postsense import PostClassifier
from postsense.config import Config, FusionSettings, LossSettings
from postsense.config.loading import load_config
from postsense.encoders.embeddings import Embeddings
from postsense.errors import ConfigError
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined
from postsense.inputs.batches import PostBatch
from postsense.losses.total import Weighted
from postsense.model.outputs import PostOutput
from postsense.progress import Progress
from postsense.registry import FUSIONS, LOSSES, METHODS, Fusion, Loss, Method
from postsense.training.labeled import TrainingData
from postsense.training.methods.supervised import train_supervised
from postsense.training.trained import Trained

Rows = list[dict[str, Any]]
QUICK = {"training.epochs": 8, "training.learning_rate": 0.01, "training.device": "cpu"}


class Gated(nn.Module):
    """A gate of both decides how much the picture says: x = ReLU(W [t; sigmoid(G [t; v]) * v])."""

    def __init__(self, text_dim: int, image_dim: int, hidden: int) -> None:
        super().__init__()
        self.text_query_dim, self.image_query_dim = text_dim, image_dim
        self.gate = nn.Linear(text_dim + image_dim, image_dim)
        self.project = nn.Linear(text_dim + image_dim, hidden)

    def forward(self, text: Embeddings, image: Embeddings) -> Joined:
        both = torch.cat([text.pooled, image.pooled], dim=1)
        shown = torch.sigmoid(self.gate(both)) * image.pooled
        fused = torch.relu(self.project(torch.cat([text.pooled, shown], dim=1)))
        return Joined(fused, text.pooled, image.pooled)


def build_gated(given: Given, settings: FusionSettings) -> Gated:
    return Gated(given.widths["text"], given.widths["image"], settings.hidden)


def focal_term(settings: LossSettings, class_weights: Tensor | None) -> Weighted:
    """Cross-entropy that counts posts by how wrong the model is about them."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert batch.labels is not None
        each = F.cross_entropy(output.logits, batch.labels, reduction="none")
        return ((1 - (-each).exp()) ** 2 * each).mean()

    return Weighted(settings.weight("focal"), term)


def train_longer(data: TrainingData, config: Config, folder: Path, progress: Progress) -> Trained:
    """The method `supervised` with one more epoch."""
    epochs = config.training.model_copy(update={"epochs": config.training.epochs + 1})
    return train_supervised(data, config.model_copy(update={"training": epochs}), folder, progress)


@pytest.fixture
def added() -> Iterator[None]:
    """A fusion, a loss and a method beside those that come with the package."""
    FUSIONS.register(Fusion("gated", "the words gate the picture", build_gated))
    LOSSES.register(Loss("focal", "hard posts count more", focal_term))
    METHODS.register(Method("longer", "one more epoch", train_longer))
    yield
    FUSIONS.forget("gated")
    LOSSES.forget("focal")
    METHODS.forget("longer")


@pytest.mark.usefixtures("added")
def test_an_added_fusion_trains_comes_back_from_disk_and_predicts(
    post_rows: Rows, tmp_path: Path
) -> None:
    classifier = PostClassifier(**{"fusion.name": "gated", **QUICK}).fit(post_rows)
    classifier.save(tmp_path / "model")

    back = PostClassifier.load(tmp_path / "model")

    assert isinstance(classifier.classifiers[0].model.fusion, Gated)
    assert classifier.score(post_rows) > 0.8
    np.testing.assert_array_equal(
        back.predict_proba(post_rows), classifier.predict_proba(post_rows)
    )


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("loss", ["itc", "itm"])
def test_an_added_fusion_is_aligned_and_matched_as_others_are(post_rows: Rows, loss: str) -> None:
    values = {"fusion.name": "gated", f"losses.{loss}": 0.2, **QUICK, "training.epochs": 1}

    assert PostClassifier(**values).fit(post_rows).classifiers


@pytest.mark.usefixtures("added")
def test_an_added_fusion_reads_comments(post_rows: Rows, synthetic_corpus: Path) -> None:
    values = {"fusion.name": "gated", "retrieval.min_score": -1.0, **QUICK, "training.epochs": 1}

    classifier = PostClassifier(corpus=synthetic_corpus, **values).fit(post_rows)

    hints = classifier.predictions(post_rows).hints
    assert hints is not None and any(hints)


@pytest.mark.usefixtures("added")
def test_an_added_loss_is_weighed_minimised_and_reported(
    post_rows: Rows, tmp_path: Path, postsense: Any, posts_file: Path
) -> None:
    out = tmp_path / "run"
    options = [part for name, value in QUICK.items() for part in ("--set", f"{name}={value}")]

    outcome = postsense(
        *("train", posts_file, "--out", out, "--set", "losses.more.focal=0.5", *options)
    )

    assert outcome.code == 0, outcome.err
    history = _history(out)
    for epoch in history:
        expected = epoch["train_classification"] + 0.5 * epoch["train_focal"]
        assert math.isclose(epoch["train_total"], expected, rel_tol=1e-5)
    assert history[-1]["train_focal"] < history[0]["train_focal"]


def _history(run: Path) -> list[dict[str, float]]:
    from postsense.runs.folder import read_json

    history: list[dict[str, float]] = read_json(run / "seed-0" / "metrics.json")["history"]
    return history


@pytest.mark.usefixtures("added")
def test_an_added_method_is_chosen_by_its_name(
    posts_file: Path, tmp_path: Path, postsense: Any
) -> None:
    options = ["--set", "training.epochs=2", "--set", "training.patience=9"]

    outcome = postsense(
        *("train", posts_file, "--out", tmp_path / "run", "--method", "longer", *options)
    )

    assert outcome.code == 0, outcome.err
    assert len(_history(tmp_path / "run")) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fusion.name": "gated"}, "fusion.name = 'gated'"),
        ({"method": "longer"}, "method = 'longer'"),
        ({"losses.more.focal": 0.5}, "unknown 'losses.more.focal'"),
    ],
)
def test_what_nobody_added_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(values=values)


def test_a_name_in_use_is_not_taken_twice() -> None:
    with pytest.raises(ConfigError, match="fusion 'concat': expected a new name"):
        FUSIONS.register(Fusion("concat", "another", build_gated))


def test_every_declaration_names_code_that_is_there() -> None:
    from postsense.registry import INPUTS, load_object

    places = [one.build for one in FUSIONS.values()] + [one.term for one in LOSSES.values()]
    places += [one.train for one in METHODS.values()]
    places += [one.prepare for one in METHODS.values() if one.prepare is not None]
    assert all(callable(load_object(place)) for place in places)
    assert all(callable(load_object(one.prepare)) for one in INPUTS.values())
