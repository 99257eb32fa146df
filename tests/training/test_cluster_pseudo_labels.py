"""Cluster pseudo-labels: what an iteration learns from, what labels it reads, and when."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import ConfigError, DataError
from postsense.estimator import PostClassifier
from postsense.model.post_model import PostModel
from postsense.prediction.inference import predict_outputs
from postsense.runs.folder import read_json
from postsense.runs.training import train_run
from postsense.training.clusters import cluster_vectors, equal_scaled
from postsense.training.fitted import Fitted
from postsense.training.fitting import (
    fit_classifier,
    prepare_splits,
    split_for_method,
)
from postsense.training.labeled import TrainingData, new_model
from postsense.training.methods.cluster_pseudo_labels import Renewing

Rows = list[dict[str, Any]]
QUICK = {
    "fusion.hidden": 0,
    "fusion.dropout": 0.0,
    "fusion.input_dropout": 0.0,
    "training.epochs": 2,
    "training.batch_size": 8,
    "training.learning_rate": 0.01,
    "training.device": "cpu",
    "clustering.clusters": 3,
    "clustering.subset": 15,
}


def configured(**settings: Any) -> Config:
    return load_config(values={"method": "cluster_pseudo_labels", **QUICK, **settings})


def small(tiny_bert: Path, **settings: Any) -> Config:
    """Words alone, through a tiny encoder that trains."""
    text = {"fusion.name": "text_only", "encoders.text.name": str(tiny_bert)}
    rates = {"encoders.text.trainable": True, "training.encoder_learning_rate": 0.01}
    return configured(**text, **rates, **settings)


@pytest.fixture
def rows(post_rows: Rows) -> Rows:
    """The posts, those of train without their labels."""
    hidden = {"train": {"label": None}}
    return [{**row, **hidden.get(row["split"], {})} for row in post_rows]


def fit(rows: Rows, config: Config, folder: Path, progress: Any = lambda *_: None) -> Fitted:
    splits = split_for_method(load_posts(rows), None, config)
    return fit_classifier(splits, prepare_splits(splits, config), config, folder, progress)


def weights(fitted: Fitted) -> dict[str, Tensor]:
    return dict(fitted.classifier.model.state_dict())


def assert_equal(one: Fitted, two: Fitted) -> None:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert one.trained.state == two.trained.state
    assert one.trained.report == two.trained.report


def started(rows: Rows, config: Config) -> tuple[Renewing, PostModel]:
    """What renews the iterations of these posts, and the model before the first."""
    splits = split_for_method(load_posts(rows), None, config)
    posts = prepare_splits(splits, config).dataset(splits.train)
    model = new_model(TrainingData(posts, posts, ("0", "1", "2")), config)
    return Renewing(posts, config), model


def right(fitted: Fitted, rows: Rows) -> float:
    found = fitted.classifier.predict(load_posts(rows)).labels
    return float(np.mean([name == row["label"] for name, row in zip(found, rows)]))


def test_posts_in_three_kinds_are_classified_without_a_label_in_train(
    rows: Rows, post_rows: Rows, tmp_path: Path
) -> None:
    fitted = fit(rows, configured(**{"training.epochs": 8}), tmp_path)
    assert right(fitted, post_rows) > 0.9
    mapping = fitted.trained.report["mapping"]
    assert sorted(mapping["clusters"]) == ["negative", "neutral", "positive"]
    assert (mapping["fitted_on"], mapping["posts"]) == ("val", 9)


def test_labels_of_train_change_nothing(rows: Rows, post_rows: Rows, tmp_path: Path) -> None:
    without = fit(rows, configured(), tmp_path / "without")
    wrong = [{**row, "label": "negative"} if row["split"] == "train" else row for row in rows]
    assert_equal(without, fit(post_rows, configured(), tmp_path / "with"))
    assert_equal(without, fit(wrong, configured(), tmp_path / "wrong"))


def test_labels_of_val_give_the_names_alone(rows: Rows, tmp_path: Path) -> None:
    turn = {"negative": "neutral", "neutral": "positive", "positive": "negative"}
    turned = [{**row, "label": turn.get(row["label"])} for row in rows]
    one = fit(rows, configured(), tmp_path / "one")
    two = fit(turned, configured(), tmp_path / "two")
    names = [fitted.trained.report["mapping"]["clusters"] for fitted in (one, two)]
    assert [turn[name] for name in names[0]] == names[1]
    same = {name for name in weights(one) if name != "head.1.belongs"}
    assert all(torch.equal(weights(one)[name], weights(two)[name]) for name in same)


def test_labels_of_test_name_the_clusters_only_if_asked_for(rows: Rows, tmp_path: Path) -> None:
    oracle = configured(**{"clustering.mapping": "test_oracle"})
    fitted = fit([row for row in rows if row["split"] != "val"], oracle, tmp_path)
    assert fitted.trained.report["mapping"]["fitted_on"] == "test"
    alone = [row for row in rows if row["split"] != "val"]
    with pytest.raises(DataError, match="expected labelled posts to name the clusters by"):
        fit(alone, configured(), tmp_path / "dev")


def test_each_pass_sees_every_post_once_in_subsets_of_equal_size(rows: Rows) -> None:
    renewing, _ = started(rows, configured(**{"clustering.subset": 10}))
    passes = [[renewing.subset(3 * turn + number).rows for number in range(3)] for turn in (0, 1)]
    for subsets in passes:
        assert [len(subset) for subset in subsets] == [9, 9, 9]
        assert sorted(np.concatenate(subsets)) == renewing.posts.rows.tolist()
    assert passes[0][0].tolist() != passes[1][0].tolist()


def test_an_iteration_learns_the_clusters_of_its_subset(rows: Rows) -> None:
    config = configured(**{"clustering.sampling": "random", "clustering.scaling": "equal"})
    renewing, model = started(rows, config)
    subset = renewing.subset(1)
    outputs = predict_outputs(model, subset, with_vectors=True)
    assert outputs.vectors is not None and model.text is not None
    parts = [outputs.vectors[:, : model.text.dim], outputs.vectors[:, model.text.dim :]]
    renewal = renewing(model, 1)
    expected = cluster_vectors(equal_scaled(parts), config.clustering, renewing._seed(1, 1))
    assert renewal.train.rows.tolist() == subset.rows.tolist()
    assert renewal.train.labels is not None
    assert renewal.train.labels.tolist() == expected.numbers.tolist()
    assert renewal.record["inertia"] == pytest.approx(expected.inertia / len(subset))


@pytest.mark.parametrize("hidden", [0, 7])
def test_fusion_and_head_begin_anew_and_nothing_else_moves(
    rows: Rows, tiny_bert: Path, hidden: int
) -> None:
    renewing, model = started(rows, small(tiny_bert, **{"fusion.hidden": hidden}))
    states = [{name: value.clone() for name, value in model.state_dict().items()}]
    for iteration in (1, 2, 2):
        renewing(model, iteration)
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    new = {name for name in states[0] if name.startswith(("fusion.", "head."))}
    assert len(new) == (4 if hidden else 2)
    for name in states[0]:
        changed = [not torch.equal(a[name], b[name]) for a, b in pairwise(states)]
        assert changed == ([True, True, False] if name in new else [False] * 3)


def test_the_history_tells_of_the_clusters(rows: Rows, tmp_path: Path) -> None:
    state = fit(rows, configured(), tmp_path).trained.state
    assert (state.epoch, state.best_epoch) == (4, 4)  # two passes over two subsets; the last stays
    assert "agreement" not in state.history[0]
    for record in state.history[1:]:
        assert 1 / 3 <= record["largest_cluster"] <= 1.0
        assert 1 / 3 <= record["agreement"] <= 1.0
        assert record["inertia"] > 0 and np.isfinite(record["train_total"])


def test_a_trained_encoder_moves_and_a_frozen_one_does_not(
    rows: Rows, tiny_bert: Path, tmp_path: Path
) -> None:
    config = small(tiny_bert)
    _, before = started(rows, config)
    after = weights(fit(rows, config, tmp_path))
    query = "text.encoder.backbone.model.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(before.state_dict()[query], after[query])
    frozen = weights(fit(rows, configured(**{"fusion.name": "text_only"}), tmp_path / "frozen"))
    assert not [name for name in frozen if "backbone" in name]


@pytest.mark.parametrize("trainable", [False, True])
def test_a_killed_training_ends_with_the_same_weights(
    rows: Rows, tiny_bert: Path, tmp_path: Path, trainable: bool
) -> None:
    config = small(tiny_bert) if trainable else configured()
    whole = fit(rows, config, tmp_path / "whole")

    def killed(what: str, done: int, total: int) -> None:
        if (what, done) == ("train", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(rows, config, tmp_path / "cut", killed)
    assert_equal(whole, fit(rows, config, tmp_path / "cut"))


def test_another_seed_trains_another_model(rows: Rows, tmp_path: Path) -> None:
    first, other = (fit(rows, configured(seed=seed), tmp_path / str(seed)) for seed in (0, 1))
    assert not torch.equal(weights(first)["head.0.1.weight"], weights(other)["head.0.1.weight"])


@pytest.mark.parametrize("sampling", ["under", "over", "combination", "random"])
@pytest.mark.parametrize("algorithm", ["kmeans", "gmm"])
def test_every_sampling_and_algorithm_trains(
    rows: Rows, tiny_bert: Path, tmp_path: Path, sampling: str, algorithm: str
) -> None:
    chosen = {"clustering.sampling": sampling, "clustering.algorithm": algorithm}
    quick = {"clustering.restarts": 2, "training.epochs": 1}
    fitted = fit(rows, small(tiny_bert, **chosen, **quick), tmp_path)
    assert np.isfinite([record["train_total"] for record in fitted.trained.state.history]).all()


@pytest.mark.parametrize("clusters", [2, 5])
def test_a_run_with_more_or_fewer_clusters_than_classes_is_kept_and_read_back(
    rows: Rows, tmp_path: Path, clusters: int
) -> None:
    classifier = PostClassifier(config=configured(**{"clustering.clusters": clusters})).fit(rows)
    classifier.save(tmp_path / "model")
    assert read_json(tmp_path / "model" / "model.json")["clusters"] == clusters
    probs = classifier.predict_proba(rows)
    again = PostClassifier.load(tmp_path / "model").predict_proba(rows)
    np.testing.assert_array_equal(probs, again)
    assert probs.shape == (45, 3)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("clusters", [2, 3])
def test_fewer_clusters_than_classes_are_warned_of_once(
    rows: Rows, tmp_path: Path, caplog: pytest.LogCaptureFixture, clusters: int
) -> None:
    fit(rows, configured(**{"clustering.clusters": clusters, "training.epochs": 1}), tmp_path)
    warned = [text for text in caplog.messages if "clusters for" in text]
    expected = (
        "2 clusters for 3 classes: 1 of them will never be predicted; raise clustering.clusters"
    )
    assert warned == ([expected] if clusters == 2 else [])


def test_a_run_folder_tells_of_posts_without_labels(rows: Rows, tmp_path: Path) -> None:
    summary = train_run(load_posts(rows), configured(), tmp_path)
    run, metrics = read_json(tmp_path / "run.json"), read_json(tmp_path / "seed-0" / "metrics.json")
    assert run["posts"] == {"train": 27, "val": 9, "test": 9}
    assert run["labels"]["train"] == {}
    assert run["unlabeled"] == 0
    assert "baselines" not in metrics
    assert metrics["mapping"]["fitted_on"] == "val"
    assert metrics["test"] == summary.metrics[0]["test"]


def test_a_share_of_labels_is_nothing_to_learn_from() -> None:
    with pytest.raises(ConfigError, match="is read with a method that learns from labels"):
        configured(**{"data.train_fraction": 0.1})


def test_the_command_trains_on_posts_without_labels(
    rows: Rows, tmp_path: Path, postsense: Any
) -> None:
    table = tmp_path / "posts.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    method = ("--method", "cluster_pseudo_labels", "--set", "clustering.clusters=3")
    quick = ("--set", "training.epochs=1", "--set", "training.device=cpu")
    outcome = postsense("train", table, "--out", tmp_path / "run", *method, *quick)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("absent", ["text", "image"])
def test_posts_that_lack_a_modality_are_clustered_too(
    rows: Rows, tmp_path: Path, absent: str
) -> None:
    some = [{**row, absent: None} if number % 4 else row for number, row in enumerate(rows)]
    fitted = fit(some, configured(), tmp_path)
    assert np.isfinite(fitted.classifier.predict(load_posts(some)).probs).all()


def alike(rows: Rows) -> Rows:
    return [{**row, "text": "bus line", "image": rows[0]["image"]} for row in rows]


def test_posts_that_are_all_alike_are_refused(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 1 different ones in 14 posts for 3 clusters"):
        fit(alike(rows), configured(), tmp_path)


def test_more_clusters_than_posts_of_a_subset_are_refused(rows: Rows, tmp_path: Path) -> None:
    config = configured(**{"clustering.clusters": 9, "clustering.subset": 8})
    with pytest.raises(DataError, match="found 6 for 9 clusters"):
        fit(rows, config, tmp_path)


def test_a_table_without_labels_is_refused(rows: Rows) -> None:
    bare = [{name: row[name] for name in ("id", "text", "image")} for row in rows]
    with pytest.raises(DataError, match="postsense discover TABLE"):
        PostClassifier(config=configured()).fit(bare)


@pytest.mark.parametrize(
    "settings", [{"clustering.clusters": 1}, {"losses.class_weights": "balanced"}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        configured(**settings)


def test_agreement_is_that_of_the_model_before_it_begins_anew(rows: Rows) -> None:
    renewing, model = started(rows, configured())
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.zero_()  # the model puts all posts into one cluster
    record = renewing(model, 1).record
    assert record["agreement"] == record["largest_cluster"]


def test_posts_fewer_than_a_subset_are_one(rows: Rows) -> None:
    renewing, _ = started(rows, configured(**{"clustering.subset": 5000}))
    assert renewing.subset(0).rows.tolist() == renewing.posts.rows.tolist()
    assert renewing.subset(1).rows.tolist() == renewing.posts.rows.tolist()


def test_a_subset_of_fewer_posts_than_clusters_is_refused_before_any_is_learned_from(
    rows: Rows, tmp_path: Path
) -> None:
    """27 posts in four subsets: one of them has 6."""
    config = configured(**{"clustering.subset": 8, "clustering.clusters": 7})
    with pytest.raises(DataError, match=r"found 6 for 7 clusters in a subset.*clustering\.subset"):
        fit(rows, config, tmp_path)
    assert not list(tmp_path.rglob("state.json"))
