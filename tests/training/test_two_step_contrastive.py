"""Method `two_step_contrastive`, alone and with the other methods, on frozen built-in encoders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import ConfigError
from postsense.runs.training import load_run, train_run

QUICK = {"training.epochs": 2, "training.device": "cpu", "training.batch_size": 8}
TWO_STEP = "two_step_contrastive"


def configured(**settings: Any) -> Config:
    return load_config(values={**QUICK, **settings})


def trained(rows: list[dict[str, Any]], config: Config, folder: Path) -> dict[str, Any]:
    return train_run(load_posts(rows), config, folder).metrics[config.seed]


def test_the_method_comes_with_its_model_and_losses() -> None:
    config = configured(method=TWO_STEP)
    assert config.fusion.name == "cross_modal" and config.encoders.text.read_layers == 4
    assert config.losses.inter_step == "second" and config.losses.classification == 5.0


def test_what_is_set_besides_goes_before_the_preset_of_the_method() -> None:
    config = load_config("concat", overrides=["losses.intra_text=0.5"], values={"method": TWO_STEP})
    assert config.fusion.name == "concat" and config.losses.intra_text == 0.5
    assert config.losses.intra_image == 1.0


@pytest.mark.parametrize("change", [{"losses.inter_step": "same"}, {"losses.inter_modal": 0.0}])
def test_the_method_without_its_second_step_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"'two_step_contrastive' needs losses\.inter_modal"):
        configured(method=TWO_STEP, **change)


def test_it_reports_every_loss_and_how_often_the_second_step_was_taken(
    post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    metrics = trained(post_rows, configured(method=TWO_STEP), tmp_path)
    assert 0.0 <= metrics["second_steps"] <= 1.0
    epoch = metrics["history"][-1]
    for name in ("classification", "intra_text", "intra_image", "inter_modal", "second_steps"):
        assert np.isfinite(epoch[f"train_{name}"])


def test_a_gate_that_is_never_satisfied_opens_at_every_step(
    post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    always = configured(method=TWO_STEP, **{"losses.gate_threshold": 1.0})
    never = configured(method=TWO_STEP, **{"losses.gate_threshold": 0.0})
    assert trained(post_rows, always, tmp_path / "always")["second_steps"] > 0.5
    assert trained(post_rows, never, tmp_path / "never")["second_steps"] == 0.0


def test_a_post_alone_is_judged_as_among_others(
    post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    trained(post_rows, configured(method=TWO_STEP), tmp_path)
    [classifier] = load_run(tmp_path)
    together = classifier.predict(load_posts(post_rows[:6])).probs
    alone = [classifier.predict(load_posts([row])).probs[0] for row in post_rows[:6]]
    assert np.allclose(together, np.stack(alone), atol=1e-5)


@pytest.mark.parametrize(
    "besides",
    [
        {"losses.itc": 0.1, "losses.itm": 0.1},
        {"fusion.name": "concat"},
        {"fusion.fidelity": "released", "losses.fidelity": "released"},
        {"fusion.interaction": "none"},
        {"encoders.text.read_layers": 1},
    ],
)
def test_it_goes_with_other_losses_and_fusions(
    post_rows: list[dict[str, Any]], tmp_path: Path, besides: dict[str, Any]
) -> None:
    metrics = trained(post_rows, configured(method=TWO_STEP, **besides), tmp_path)
    assert np.isfinite(metrics["history"][-1]["train_total"])


def test_posts_that_lack_a_modality_and_classes_of_one_post_leave_losses_finite(
    post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    rows = [dict(row) for row in post_rows]
    rows[0]["text"], rows[1]["image"] = None, None
    rows[2]["label"] = "only one"
    metrics = trained(rows, configured(method=TWO_STEP), tmp_path)
    assert np.isfinite(metrics["history"][-1]["train_total"])


def test_posts_of_one_picture_are_told_apart_by_their_labels(
    post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    rows = [{**row, "image": post_rows[0]["image"]} for row in post_rows]
    metrics = trained(rows, configured(method=TWO_STEP), tmp_path)
    assert np.isfinite(metrics["history"][-1]["train_total"])
