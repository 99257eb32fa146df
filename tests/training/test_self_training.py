"""A teacher and its students: what they learn from, what is kept, what repeats them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.corpus.reading import open_corpus
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.data.synthetic import write_synthetic_posts
from postsense.errors import ConfigError, DataError
from postsense.inputs.batches import PostColumns, PostDataset
from postsense.posts import Posts
from postsense.prediction.classifier import Classifier
from postsense.retrieval.borrowing import Pairs
from postsense.runs.training import train_run
from postsense.training.checkpoint import PhaseState
from postsense.training.fitted import Fitted
from postsense.training.fitting import fit_classifier, prepare_splits
from postsense.training.methods import self_training
from postsense.training.phase import Phase
from postsense.training.pseudo_labels import PseudoLabels
from postsense.training.trained import Trained


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Posts:
    return load_posts(write_synthetic_posts(tmp_path_factory.mktemp("posts"), posts=60, seed=5))


def configured(corpus: Path | None, **settings: Any) -> Config:
    quick = {
        "training.epochs": 3,
        "training.batch_size": 12,
        "training.device": "cpu",
        "self_training.rounds": 2,
        "method": "self_training",
    }
    lent = {} if corpus is None else {"retrieval.corpus": corpus, "retrieval.min_score": -1.0}
    return load_config(values={**quick, **lent, **settings})


def fit(posts: Posts, config: Config, folder: Path) -> Fitted:
    splits = split_posts(posts, None, validation_fraction=0.2, seed=0)
    return fit_classifier(splits, prepare_splits(splits, config), config, folder)


@dataclass(frozen=True)
class Whole:
    """A teacher and two students, trained once. Not to be changed."""

    fitted: Fitted
    folder: Path


@pytest.fixture(scope="module")
def whole(posts: Posts, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole(fit(posts, configured(synthetic_corpus), folder), folder)


def weights(classifier: Classifier) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(classifier.model.parameters()).detach()


def test_the_same_seed_trains_the_same_students(
    posts: Posts, synthetic_corpus: Path, whole: Whole, tmp_path: Path
) -> None:
    one, two = whole.fitted, fit(posts, configured(synthetic_corpus), tmp_path)
    assert torch.equal(weights(one.classifier), weights(two.classifier))
    assert one.trained.report == two.trained.report
    assert one.trained.pseudo_labels == two.trained.pseudo_labels


def test_a_run_killed_between_students_ends_as_if_it_had_not_been(
    posts: Posts,
    synthetic_corpus: Path,
    whole: Whole,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, run_phase = configured(synthetic_corpus), self_training.run_phase

    def killed(phase: Phase, *others: Any) -> Any:
        if phase.name == "student 2":
            raise KeyboardInterrupt
        return run_phase(phase, *others)

    monkeypatch.setattr(self_training, "run_phase", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(posts, config, tmp_path / "cut")
    monkeypatch.setattr(self_training, "run_phase", run_phase)
    resumed = fit(posts, config, tmp_path / "cut")

    expected = whole.fitted
    assert torch.equal(weights(resumed.classifier), weights(expected.classifier))
    assert resumed.trained.report == expected.trained.report
    assert resumed.trained.pseudo_labels == expected.trained.pseudo_labels


def test_every_round_is_reported_and_the_best_on_val_is_kept(whole: Whole) -> None:
    report = whole.fitted.trained.report
    rounds = report["rounds"]
    assert [item["name"] for item in rounds] == ["teacher", "student 1", "student 2"]
    assert report["kept"] == min(rounds, key=lambda item: item["val_loss"])["name"]


def test_the_kept_model_is_the_one_the_report_names(whole: Whole) -> None:
    trained = whole.fitted.trained
    kept = whole.folder / trained.report["kept"].replace(" ", "-")
    state = json.loads((kept / "state.json").read_text())
    assert trained.state.best_score == state["best_score"]
    assert trained.state.history == state["history"]


def test_pseudo_labels_are_the_teachers_and_come_from_train(posts: Posts, whole: Whole) -> None:
    table = whole.fitted.trained.pseudo_labels
    assert table is not None
    rows = table.to_pylist()
    train = set(posts.split("train").column("id"))
    assert {row["round"] for row in rows} == {1, 2}
    assert {row["query"] for row in rows} == train
    assert len(rows) == 2 * 3 * len(train)
    assert all(row["retrieved"].startswith("synthetic-7/") for row in rows)
    assert all(1 / 3 <= row["confidence"] <= 1 and 0 <= row["weight"] <= 1 for row in rows)


def test_students_learn_from_their_teachers_probabilities(
    posts: Posts, synthetic_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Phase] = []
    run_phase = self_training.run_phase

    def spy(phase: Phase, *others: Any) -> Any:
        seen.append(phase)
        return run_phase(phase, *others)

    monkeypatch.setattr(self_training, "run_phase", spy)
    config = configured(synthetic_corpus, **{"self_training.weighting": "none"})
    table = fit(posts, config, tmp_path).trained.pseudo_labels
    assert table is not None
    assert [len(phase.extra_streams) for phase in seen] == [0, 1, 1]
    for round_, phase in enumerate(seen[1:], start=1):
        stream = phase.extra_streams[0].dataset
        asked = table.filter(np.array(table["round"]) == round_)
        assert stream.targets is not None and stream.weights is not None
        np.testing.assert_allclose(stream.targets.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(stream.targets.max(axis=1), asked["confidence"], atol=1e-6)
        assert (stream.weights == 1).all()
        assert stream.comment_rows is not None
        assert (stream.comment_rows < 60).all() and (stream.rows >= 60).all()


def test_what_counts_keeps_its_own_targets_where_others_count_for_nothing() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.3, 0.7]], dtype=np.float32)
    pseudo = PseudoLabels(probs, np.array([0.0, 0.5, 0.0, 1.0], dtype=np.float32))
    queries, rows = np.array([0, 0, 1, 1]), np.array([5, 6, 7, 8])
    pairs = Pairs(load_posts([{"text": "a"}]), queries, rows, np.arange(4), np.ones(4))
    dataset = PostDataset(PostColumns({}), rows, comment_rows=queries)
    unlabeled = self_training._Unlabeled(dataset, pairs, [])

    counted = self_training._stream(pseudo, unlabeled, load_config().self_training).dataset

    assert counted.rows.tolist() == [6, 8]
    assert counted.comment_rows is not None and counted.comment_rows.tolist() == [0, 1]
    assert counted.targets is not None and counted.targets.tolist() == probs[[1, 3]].tolist()
    assert counted.weights is not None and counted.weights.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("select_by", "kept"), [("loss", "b"), ("accuracy", "c"), ("macro_f1", "c")]
)
def test_the_best_on_val_is_the_lowest_loss_and_the_highest_of_all_else(
    select_by: str, kept: str
) -> None:
    config = load_config(values={"training.select_by": select_by})
    candidates = [
        Trained(nn.Identity(), PhaseState(best_score=score), {"name": name})
        for name, score in (("a", 0.5), ("b", 0.25), ("c", 0.75), ("d", 0.75))
    ]
    assert self_training._best(candidates, config.training.select_by).report["name"] == kept


def test_the_test_split_is_never_read(posts: Posts, synthetic_corpus: Path, tmp_path: Path) -> None:
    rows = [vars(post) for post in posts]
    poisoned = [
        {**row, "text": "poison", "label": "neutral"} if row["split"] == "test" else row
        for row in rows
    ]
    config = configured(synthetic_corpus, **{"retrieval.alpha": 0.5, "training.epochs": 2})
    one = fit(load_posts(rows), config, tmp_path / "a")
    two = fit(load_posts(poisoned), config, tmp_path / "b")
    assert torch.equal(weights(one.classifier), weights(two.classifier))


def test_a_run_keeps_pseudo_labels_hints_and_alpha(
    posts: Posts, synthetic_corpus: Path, tmp_path: Path
) -> None:
    summary = train_run(posts, configured(synthetic_corpus), tmp_path / "run")
    seed = tmp_path / "run" / "seed-0"
    assert pq.read_table(seed / "pseudo_labels.parquet").num_rows > 0
    predictions = pq.read_table(seed / "predictions.parquet").to_pylist()
    hints = [hint for row in predictions for hint in row["hints"]]
    assert hints and {"comment", "post", "weight", "is_own"} == set(hints[0])
    assert sum(hint["weight"] for hint in predictions[0]["hints"]) == pytest.approx(1, abs=1e-5)
    assert {"kept", "rounds"} <= set(summary.metrics[0])
    config = json.loads((seed / "model" / "model.json").read_text())["config"]
    assert 0 < config["retrieval"]["alpha"] < 1


def test_fewer_labels_mean_fewer_pairs(
    posts: Posts, synthetic_corpus: Path, tmp_path: Path
) -> None:
    config = configured(synthetic_corpus, **{"data.train_fraction": 0.5, "training.epochs": 1})
    table = fit(posts, config, tmp_path).trained.pseudo_labels
    assert table is not None
    train = posts.split("train")
    assert len(set(table["query"].to_pylist())) == pytest.approx(len(train) / 2, abs=2)


def test_without_a_corpus_there_is_nothing_to_learn_from(posts: Posts, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="expected a corpus for method=self_training to learn from"
    ):
        fit(posts, configured(None), tmp_path)


def test_a_corpus_of_nothing_but_held_out_posts_is_refused(
    synthetic_corpus: Path, tmp_path: Path
) -> None:
    corpus = open_corpus(synthetic_corpus)
    held_out = [vars(post) for post in corpus.posts(corpus.numbers)]
    rows = [{**row, "label": "ab"[n % 2], "split": "test"} for n, row in enumerate(held_out)]
    asks = [
        {"id": f"x{n}", "text": f"bus line {n} stops here", "label": "ab"[n % 2], "split": split}
        for n, split in enumerate(["train"] * 8 + ["val"] * 4)
    ]
    with pytest.raises(DataError, match="expected similar posts to at least one labelled post"):
        fit(load_posts([*rows, *asks]), configured(synthetic_corpus), tmp_path)


def test_image_text_losses_join_the_teacher_and_its_students(
    posts: Posts, synthetic_corpus: Path, tmp_path: Path
) -> None:
    pairs = {"losses.itc": 0.1, "losses.itm": 0.1}
    config = configured(synthetic_corpus, **pairs, **{"training.epochs": 1})

    fitted = fit(posts, config, tmp_path)

    parts = {name for name in fitted.trained.state.history[0] if name.startswith("train_")}
    assert parts >= {"train_classification", "train_itc", "train_itm"}
    assert fitted.classifier.model.match_head is not None
    assert [row["name"] for row in fitted.trained.report["rounds"]][1:] == [
        "student 1",
        "student 2",
    ]


@pytest.mark.slow  # tokens of every post; test_second_step.py holds the contrast without a corpus
def test_contrast_before_fusion_joins_the_teacher_and_its_students(
    posts: Posts, synthetic_corpus: Path, tmp_path: Path
) -> None:
    """With comments, too, what is said of a post does not depend on the others of its batch."""
    contrast = {f"losses.{name}": 1.0 for name in ("intra_text", "intra_image", "inter_modal")}
    second = {"losses.inter_step": "second", "losses.gate_threshold": 1.0}
    short = {"fusion.name": "cross_modal", "training.epochs": 1, "self_training.rounds": 1}
    config = configured(synthetic_corpus, **contrast, **second, **short)

    fitted = fit(posts, config, tmp_path)

    epoch = fitted.trained.state.history[0]
    assert epoch["train_second_steps"] > 0
    assert epoch["train_intra_text"] > 0 and epoch["train_intra_image"] > 0
    assert [row["name"] for row in fitted.trained.report["rounds"]][1:] == ["student 1"]
    together = fitted.classifier.predict(posts)
    alone = fitted.classifier.predict(posts.take([7]))
    np.testing.assert_allclose(alone.probs[0], together.probs[7], atol=1e-5)
    assert alone.hints is not None and together.hints is not None
    assert [hint.comment for hint in alone.hints[0]] == [h.comment for h in together.hints[7]]


def test_posts_of_the_corpus_that_were_learned_from_are_seen(
    posts: Posts, synthetic_corpus: Path, tmp_path: Path
) -> None:
    config = configured(synthetic_corpus, **{"training.epochs": 1, "self_training.rounds": 1})
    splits = split_posts(posts, None, validation_fraction=0.2, seed=0)
    prepared = prepare_splits(splits, config)
    seen = fit_classifier(splits, prepared, config, tmp_path).classifier.seen
    assert seen is not None and prepared.borrowed is not None
    lent = prepared.borrowed.pairs
    assert lent is not None
    assert np.isin(prepared.content_keys[lent.rows], seen.trained).all()
    assert np.isin(prepared.content_keys[splits.train], seen.trained).all()
