"""PostClassifier: every kind of table, every method, and the same answers after loading."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense import PostClassifier
from postsense.config_loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import ConfigError, DataError, ModelError, PostsenseError

Rows = list[dict[str, Any]]
QUICK = {
    "training.epochs": 8,
    "training.batch_size": 8,
    "training.learning_rate": 0.01,
    "training.device": "cpu",
}


@pytest.fixture(scope="module")
def fitted(post_rows: Rows) -> PostClassifier:
    return PostClassifier(preset="concat", **QUICK).fit(post_rows)


def as_parquet(rows: Rows, folder: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / "posts.parquet")
    return folder / "posts.parquet"


TABLES = {
    "path": as_parquet,
    "str": lambda rows, folder: str(as_parquet(rows, folder)),
    "pandas": lambda rows, _: pd.DataFrame(rows),
    "pyarrow": lambda rows, _: pa.Table.from_pylist(rows),
    "list of dicts": lambda rows, _: rows,
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_of_table_gives_the_same_answers(
    fitted: PostClassifier, post_rows: Rows, tmp_path: Path, kind: str
) -> None:
    table = TABLES[kind](post_rows, tmp_path)
    assert np.array_equal(fitted.predict_proba(table), fitted.predict_proba(post_rows))
    assert fitted.predict(table).tolist() == fitted.predict(post_rows).tolist()


@pytest.mark.parametrize("kind", ["path", "pandas"])
def test_every_kind_of_table_trains_the_same_classifier(
    fitted: PostClassifier, post_rows: Rows, tmp_path: Path, kind: str
) -> None:
    other = PostClassifier(preset="concat", **QUICK).fit(TABLES[kind](post_rows, tmp_path))
    assert np.array_equal(other.predict_proba(post_rows), fitted.predict_proba(post_rows))


def test_labels_are_the_likeliest_classes(fitted: PostClassifier, post_rows: Rows) -> None:
    probs = fitted.predict_proba(post_rows)
    assert fitted.classes_.tolist() == ["negative", "neutral", "positive"]
    assert fitted.predict(post_rows).tolist() == fitted.classes_[probs.argmax(axis=1)].tolist()
    right = fitted.predict(post_rows) == np.array([row["label"] for row in post_rows])
    assert right.mean() > 0.9


def test_evaluate_measures_what_predict_says(fitted: PostClassifier, post_rows: Rows) -> None:
    test = [row for row in post_rows if row["split"] == "test"]
    right = fitted.predict(test) == np.array([row["label"] for row in test])
    report = fitted.evaluate(post_rows, split="test")
    assert (report["accuracy"], report["posts"]) == (right.mean(), 9)
    assert fitted.evaluate(post_rows)["posts"] == 45


def test_a_loaded_classifier_answers_as_the_saved_one(
    fitted: PostClassifier, post_rows: Rows, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    loaded = PostClassifier.load(str(tmp_path / "model"))
    assert np.array_equal(loaded.predict_proba(post_rows), fitted.predict_proba(post_rows))
    assert loaded.config == fitted.config


def test_a_seed_of_a_run_can_be_loaded(trained_run: Path, post_rows: Rows) -> None:
    loaded = PostClassifier.load(trained_run / "seed-1" / "model")
    assert (loaded.config.seed, loaded.config.fusion.name) == (1, "concat")
    assert loaded.evaluate(post_rows, "test")["accuracy"] > 0.8


def test_posts_that_lack_words_or_picture_are_classified(
    fitted: PostClassifier, post_rows: Rows
) -> None:
    words = [{"text": row["text"]} for row in post_rows]
    pictures = [{"image": row["image"]} for row in post_rows]
    labels = np.array([row["label"] for row in post_rows])
    assert (fitted.predict(words) == labels).mean() > 0.8
    assert (fitted.predict(pictures) == labels).mean() > 0.8


def test_a_prediction_does_not_depend_on_the_other_posts(
    fitted: PostClassifier, post_rows: Rows
) -> None:
    mixed = [{**row, "text": None} if n % 2 else row for n, row in enumerate(post_rows)]
    together = fitted.predict_proba(mixed)
    for number in (0, 1, 20):
        alone = fitted.predict_proba([mixed[number]])[0]
        assert alone == pytest.approx(together[number], abs=1e-6)


def test_a_post_that_cannot_be_read_is_none_and_nan(
    fitted: PostClassifier, post_rows: Rows
) -> None:
    rows = [*post_rows, {**post_rows[0], "id": "bad", "image": "/nowhere/x.png"}]
    assert fitted.predict(rows)[-1] is None
    assert np.isnan(fitted.predict_proba(rows)[-1]).all()
    assert [row.id for row in fitted.predictions(rows).bad] == ["bad"]


@pytest.mark.parametrize(
    "use",
    [
        lambda classifier, rows: classifier.predict(rows),
        lambda classifier, rows: classifier.predict_proba(rows),
        lambda classifier, rows: classifier.evaluate(rows),
        lambda classifier, rows: classifier.save("nowhere"),
        lambda classifier, rows: classifier.classes_,
    ],
)
def test_an_untrained_classifier_says_to_call_fit(post_rows: Rows, use: Any) -> None:
    with pytest.raises(ModelError, match="expected a trained classifier.*Call fit first"):
        use(PostClassifier(), post_rows)


def test_fit_needs_labels(post_rows: Rows) -> None:
    bare = [{"text": row["text"]} for row in post_rows]
    with pytest.raises(DataError, match="expected a column 'label'"):
        PostClassifier(preset="text-only", **QUICK).fit(bare)


def test_a_mapped_column_must_be_there_when_fitting(post_rows: Rows) -> None:
    mapped = {"data.columns.split": "splits.grouped"}
    with pytest.raises(DataError, match=r"expected a column 'splits.grouped' for split"):
        PostClassifier(preset="text-only", **QUICK, **mapped).fit(post_rows)


def test_a_mapped_column_need_not_be_there_when_predicting(post_rows: Rows) -> None:
    rows = [{**row, "y": row["label"], "part": row["split"]} for row in post_rows]
    mapped = {"data.columns.label": "y", "data.columns.split": "part"}
    classifier = PostClassifier(preset="text-only", **QUICK, **mapped).fit(rows)
    assert len(classifier.predict([{"text": "a lovely day"}])) == 1


@pytest.mark.parametrize(
    "rows", [[{"text": "a day"}], [{"text": "a day", "label": None}], [{"text": "a", "label": "x"}]]
)
def test_posts_that_cannot_be_measured_are_refused(fitted: PostClassifier, rows: Rows) -> None:
    with pytest.raises(DataError, match="label"):
        fitted.evaluate(rows)


@pytest.mark.parametrize("kind", ["path", "pandas"])
def test_metrics_are_broken_down_by_a_column_of_any_table(
    fitted: PostClassifier, post_rows: Rows, tmp_path: Path, kind: str
) -> None:
    rows = [{**row, "labels": {"text": row["label"]}} for row in post_rows]
    report = fitted.evaluate(TABLES[kind](rows, tmp_path), by="labels.text")
    assert report["by"]["column"] == "labels.text"
    for group in report["by"]["groups"]:
        alone = [row for row in rows if row["label"] == group["value"]]
        assert {**fitted.evaluate(alone), "value": group["value"]} == {**group, "split": "all"}


def test_a_breakdown_by_an_unknown_column_is_refused(
    fitted: PostClassifier, post_rows: Rows
) -> None:
    with pytest.raises(DataError, match="a column 'lable', found .* Did you mean 'label'"):
        fitted.evaluate(post_rows, by="label==lable")


def test_a_split_that_is_empty_cannot_be_measured(fitted: PostClassifier, post_rows: Rows) -> None:
    with pytest.raises(DataError, match="expected labelled posts in split 'dev'"):
        fitted.evaluate(post_rows, split="dev")


def test_a_validation_table_selects_the_epoch(post_rows: Rows) -> None:
    train = [row for row in post_rows if row["split"] == "train"]
    val = [{**row, "split": None} for row in post_rows if row["split"] == "val"]
    both = [*train, *({**row, "split": "val"} for row in val)]
    apart = PostClassifier(preset="text-only", **QUICK).fit(train, validation=val)
    joined = PostClassifier(preset="text-only", **QUICK).fit(both)
    assert np.array_equal(apart.predict_proba(post_rows), joined.predict_proba(post_rows))


def test_settings_come_from_a_config_a_preset_or_their_names() -> None:
    config = load_config("text-only", values={"training.epochs": 3})
    named = PostClassifier(preset="text-only", **{"training.epochs": 3})
    assert PostClassifier(config=config).config == named.config == config


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown 'training.epoch'.*'training.epochs'"):
        PostClassifier(**{"training.epoch": 3}).config  # noqa: B018


def test_every_error_is_one_kind_that_can_be_caught(tmp_path: Path) -> None:
    with pytest.raises(PostsenseError):
        PostClassifier.load(tmp_path)
    with pytest.raises(PostsenseError):
        PostClassifier().fit(tmp_path / "absent.csv")
    with pytest.raises(PostsenseError):
        PostClassifier().fit(3)


def test_progress_is_told(post_rows: Rows) -> None:
    steps: set[str] = set()
    classifier = PostClassifier(
        preset="text-only", progress=lambda step, *_: steps.add(step), **QUICK
    )
    classifier.fit(post_rows)
    assert {"encode texts", "train"} <= steps


def test_a_classifier_borrows_from_a_corpus_before_and_after_saving(
    posts_file: Path, synthetic_corpus: Path, tmp_path: Path
) -> None:
    quick = {"training.epochs": 1, "self_training.rounds": 1, "retrieval.min_score": -1}
    classifier = PostClassifier("self_training", corpus=synthetic_corpus, **quick)
    classifier.fit(posts_file).save(tmp_path / "model")
    asked = [{"id": "q", "text": "what a lovely day to sit at my desk"}]
    before = classifier.predictions(asked)
    after = PostClassifier.load(tmp_path / "model").predictions(asked)
    moved = tmp_path / "moved"
    shutil.copytree(synthetic_corpus, moved)
    elsewhere = PostClassifier.load(tmp_path / "model", corpus=moved).predictions(asked)
    assert before.hints is not None and len(before.hints[0]) == 5
    assert before.hints == after.hints == elsewhere.hints
    assert before.probs.tolist() == after.probs.tolist() == elsewhere.probs.tolist()


def test_fitting_again_finds_alpha_again(posts_file: Path, synthetic_corpus: Path) -> None:
    quick = {"training.epochs": 1, "training.device": "cpu"}
    classifier = PostClassifier(corpus=synthetic_corpus, **quick).fit(posts_file)
    first = classifier.config.retrieval.alpha
    rows = load_posts(posts_file)
    half = classifier.fit(rows.take(range(20))).config.retrieval.alpha
    fresh = PostClassifier(corpus=synthetic_corpus, **quick).fit(rows.take(range(20)))
    assert half == fresh.config.retrieval.alpha != first


def test_a_config_beside_single_settings_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a config or single settings, found both"):
        PostClassifier(config=load_config(), corpus="corpus")
