"""Splits of posts → a classifier: what it reads, what it never reads, what repeats it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.inputs.preparation import prepare_posts
from postsense.prediction.classifier import Classifier
from postsense.training.checkpoint import PhaseState
from postsense.training.fitting import fit_classifier

Rows = list[dict[str, Any]]


def fit(
    rows: Rows, folder: Path, preset: str = "concat", **settings: Any
) -> tuple[Classifier, PhaseState]:
    quick = {"training.epochs": 4, "training.device": "cpu"}
    config = load_config(preset, values={**quick, "training.learning_rate": 0.01, **settings})
    splits = split_posts(load_posts(rows), None, validation_fraction=0.2, seed=config.seed)
    fitted = fit_classifier(splits, prepare_posts(splits.posts, config), config, folder)
    return fitted.classifier, fitted.trained.state


def state_of(classifier: Classifier) -> dict[str, Tensor]:
    return dict(classifier.model.state_dict())


def assert_equal(one: Classifier, two: Classifier) -> None:
    first, second = state_of(one), state_of(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("preset", ["concat", "cross-attention", "image-only", "text-only"])
def test_every_fusion_learns_the_posts(post_rows: Rows, tmp_path: Path, preset: str) -> None:
    classifier, state = fit(post_rows, tmp_path, preset, **{"training.epochs": 12})
    predictions = classifier.predict(load_posts(post_rows))
    right = np.mean([found == row["label"] for found, row in zip(predictions.labels, post_rows)])
    assert right > 0.9
    assert state.best_score is not None and state.best_score < 0.8


@pytest.mark.parametrize("preset", ["concat", "cross-attention"])
def test_the_same_seed_trains_the_same_classifier(
    post_rows: Rows, tmp_path: Path, preset: str
) -> None:
    one, _ = fit(post_rows, tmp_path / "a", preset, **{"training.epochs": 2})
    two, _ = fit(post_rows, tmp_path / "b", preset, **{"training.epochs": 2})
    assert_equal(one, two)


def test_worker_processes_change_nothing(post_rows: Rows, tmp_path: Path) -> None:
    one, _ = fit(post_rows, tmp_path / "a", **{"training.epochs": 2})
    two, _ = fit(post_rows, tmp_path / "b", **{"training.epochs": 2, "training.workers": 2})
    assert_equal(one, two)


def test_another_seed_trains_another_classifier(post_rows: Rows, tmp_path: Path) -> None:
    one, _ = fit(post_rows, tmp_path / "a")
    two, _ = fit(post_rows, tmp_path / "b", seed=1)
    assert not torch.equal(state_of(one)["head.1.weight"], state_of(two)["head.1.weight"])


def test_the_test_split_is_never_read(post_rows: Rows, tmp_path: Path) -> None:
    def poison(row: dict[str, Any]) -> dict[str, Any]:
        other = {"text": "something else", "image": post_rows[0]["image"], "label": "positive"}
        return {**row, **other} if row["split"] == "test" else row

    one, clean = fit(post_rows, tmp_path / "a")
    two, poisoned = fit([poison(row) for row in post_rows], tmp_path / "b")
    assert_equal(one, two)
    assert clean == poisoned


def test_val_decides_the_epoch_and_nothing_else(post_rows: Rows, tmp_path: Path) -> None:
    wrong = {"negative": "neutral", "neutral": "positive", "positive": "negative"}
    rows = [
        {**row, "label": wrong[row["label"]]} if row["split"] == "val" else row for row in post_rows
    ]
    _, clean = fit(post_rows, tmp_path / "a")
    classifier, misled = fit(rows, tmp_path / "b")
    assert [r["train_total"] for r in clean.history] == [r["train_total"] for r in misled.history]
    assert clean.best_epoch > misled.best_epoch == 1
    assert classifier.classes == ("negative", "neutral", "positive")


def test_posts_that_cannot_be_used_are_left_out_of_training(
    post_rows: Rows, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    bad = {"id": "bad", "text": "awful", "image": str(broken), "label": "positive"}
    one, _ = fit([*post_rows, bad], tmp_path / "a")
    two, _ = fit(post_rows, tmp_path / "b")
    assert_equal(one, two)


def seen_by(rows: Rows, folder: Path, **settings: Any) -> list[int]:
    """How many posts a classifier learned from, selected by, grouped and was not shown."""
    quick = {"training.epochs": 1, **settings}
    seen = fit(rows, folder, "image-only", **quick)[0].seen
    assert seen is not None
    return [len(part) for part in (seen.trained, seen.selected, seen.grouped, seen.tested)]


def test_a_classifier_knows_what_it_has_seen(post_rows: Rows, tmp_path: Path) -> None:
    assert seen_by(post_rows, tmp_path / "a") == [27, 9, 0, 9]
    assert seen_by(post_rows, tmp_path / "b", **{"data.train_fraction": 0.34}) == [9, 9, 0, 9]
    bare = [{**row, "split": None} for row in post_rows]
    assert seen_by(bare, tmp_path / "c") == [36, 9, 0, 0]


def test_posts_whose_labels_were_not_read_are_seen_apart(post_rows: Rows, tmp_path: Path) -> None:
    method = {"method": "cluster_pseudo_labels", "clustering.clusters": 3}
    assert seen_by(post_rows, tmp_path, **method) == [0, 9, 27, 9]
