"""Weights of an earlier run as the start of a new model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import RunError
from postsense.runs.training import load_run, train_run
from postsense.training.warm_start import start_from

QUICK = {"training.epochs": 1, "training.device": "cpu", "fusion.name": "text_only"}


def configured(tiny_bert: Path, **settings: Any) -> Config:
    words = settings.get("fusion.name") != "image_only"
    encoder = {"encoders.text.name": str(tiny_bert)} if words else {}
    return load_config(values={**QUICK, **encoder, **settings})


@pytest.fixture
def earlier(tiny_bert: Path, post_rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    folder = tmp_path / "earlier"
    config = configured(tiny_bert, **{"training.learning_rate": 0.05})
    train_run(load_posts(post_rows), config, folder, seeds=2)
    return folder


def start_of(
    tiny_bert: Path, rows: list[dict[str, Any]], folder: Path, out: Path, **settings: Any
) -> dict[str, torch.Tensor]:
    """Weights of a run that starts from folder and hardly learns."""
    values = {"training.start_from": str(folder), "training.learning_rate": 1e-12, **settings}
    config = configured(tiny_bert, **{**values, "training.weight_decay": 0.0})
    train_run(load_posts(rows), config, out)
    return load_run(out)[0].model.state_dict()


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_a_run_lends_the_model_of_the_same_seed_or_of_its_first(
    tiny_bert: Path, post_rows: list[dict[str, Any]], earlier: Path, tmp_path: Path, seed: int
) -> None:
    started = start_of(tiny_bert, post_rows, earlier, tmp_path / "later", seed=seed)
    lender = load_run(earlier)[1 if seed == 1 else 0].model.state_dict()
    fusion = "fusion.project.weight"
    assert torch.allclose(started[fusion], lender[fusion], atol=1e-6)
    assert not torch.allclose(started["head.1.weight"], lender["head.1.weight"], atol=1e-3)


def test_a_model_that_shares_no_weight_is_refused(
    tiny_bert: Path, post_rows: list[dict[str, Any]], earlier: Path, tmp_path: Path
) -> None:
    expected = "a model with weights that this one has too.*none of equal name and shape"
    with pytest.raises(RunError, match=expected):
        start_of(
            tiny_bert,
            post_rows,
            earlier,
            tmp_path / "later",
            **{"fusion.name": "image_only", "fusion.hidden": 7},
        )


def test_vectors_for_what_is_missing_are_nothing_to_start_from(
    tiny_bert: Path, post_rows: list[dict[str, Any]], earlier: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="none of equal name and shape"):
        start_of(tiny_bert, post_rows, earlier, tmp_path / "later", **{"fusion.hidden": 7})


def test_a_folder_without_a_model_is_refused(
    tiny_bert: Path, post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    for folder, found in ((tmp_path, "no model in it"), (tmp_path / "absent", "no such folder")):
        with pytest.raises(RunError, match=found):
            start_of(tiny_bert, post_rows, folder, tmp_path / found)


def test_damaged_weights_are_refused(
    tiny_bert: Path, post_rows: list[dict[str, Any]], earlier: Path, tmp_path: Path
) -> None:
    (earlier / "seed-0" / "model" / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(RunError, match="the weights of a model"):
        start_of(tiny_bert, post_rows, earlier, tmp_path / "later")


def test_running_statistics_come_with_the_weights_and_those_of_features_do_not(
    tiny_bert: Path, post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    both = {"fusion.name": "cross_modal", "encoders.text.read_layers": 1}
    train_run(load_posts(post_rows), configured(tiny_bert, **both), tmp_path / "earlier")
    lender = load_run(tmp_path / "earlier")[0].model.state_dict()
    model = load_run(tmp_path / "earlier")[0].model
    for value in model.state_dict().values():
        value.zero_()

    start_from(model, tmp_path / "earlier", seed=0)

    started = model.state_dict()
    for statistic in ("fusion.norm.running_mean", "fusion.norm.running_var"):
        assert lender[statistic].any() and torch.equal(started[statistic], lender[statistic])
    assert not any(started[f"text.{name}"].any() for name in ("mean", "token_deviation"))
