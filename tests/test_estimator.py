"""PostClassifier: every kind of table, every method, and the same answers after loading."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from postsense import PostClassifier
from postsense.config.loading import load_config
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
    machine = loaded.config.training.model_copy(update={"device": "cpu"})
    assert loaded.config.model_copy(update={"training": machine}) == fitted.config


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


WORDS = {0: "awful rain again", 1: "what a lovely day", 10: "the bus line", 2: "a cat"}
OF_KINDS = {"training.epochs": 3, "training.learning_rate": 0.01, "training.device": "cpu"}


def texts_of(labels: tuple[Any, ...], posts: int = 24) -> pd.DataFrame:
    """Posts whose words tell their label, the labels in turn."""
    chosen = [labels[number % len(labels)] for number in range(posts)]
    words = list(WORDS.values())
    texts = [f"{words[labels.index(label)]} {n}" for n, label in enumerate(chosen)]
    return pd.DataFrame({"text": texts, "label": chosen})


@pytest.mark.parametrize(
    ("labels", "kind", "dtype"),
    [
        ((0, 1, 10, 2), pa.int64(), np.int64),
        ((False, True), pa.bool_(), np.bool_),
        ((0.5, 1.0), pa.float64(), np.float64),
        (("0", "1"), pa.string(), object),
    ],
)
def test_predictions_are_of_the_kind_of_the_labels(
    labels: tuple[Any, ...], kind: pa.DataType, dtype: Any, tmp_path: Path
) -> None:
    frame = texts_of(labels)
    PostClassifier(preset="text-only", **OF_KINDS).fit(frame).save(tmp_path / "model")
    classifier = PostClassifier.load(tmp_path / "model")
    predicted = classifier.predict(frame)
    assert (predicted.dtype, classifier.classes_.tolist()) == (dtype, sorted(labels))
    assert (predicted == frame.label).mean() > 0.9
    likeliest = classifier.predict_proba(frame).argmax(axis=1)
    assert classifier.classes_[likeliest].tolist() == predicted.tolist()
    table = classifier.predictions(frame).to_table()
    assert (table.schema.field("label").type, table["label"].to_pylist()) == (
        kind,
        predicted.tolist(),
    )


def test_labels_of_another_spelling_are_measured(tmp_path: Path) -> None:
    frame = texts_of((0, 1))
    classifier = PostClassifier(preset="text-only", **OF_KINDS).fit(frame)
    whole = classifier.evaluate(frame)["accuracy"]
    for name, kind in (("ints.csv", int), ("floats.csv", float), ("truths.csv", bool)):
        frame.assign(label=frame.label.astype(kind)).to_csv(tmp_path / name, index=False)
        assert classifier.evaluate(tmp_path / name)["accuracy"] == whole


def test_a_post_that_cannot_be_read_has_no_label_among_numbers() -> None:
    frame = texts_of((0, 1))
    classifier = PostClassifier(preset="text-only", **OF_KINDS).fit(frame)
    predicted = classifier.predict([{"text": "what a lovely day"}] * 30 + [{"text": "\u200b"}])
    assert (predicted[0], predicted[-1], predicted.dtype) == (1, None, object)


def test_tables_without_ids_train_and_select_together() -> None:
    frame = texts_of((0, 1))
    train, val = frame[:18], frame[18:]
    apart = PostClassifier(preset="text-only", **OF_KINDS).fit(train, validation=val)
    named = [part.assign(id=[f"{n}" for n in part.index]) for part in (train, val)]
    given = PostClassifier(preset="text-only", **OF_KINDS).fit(named[0], validation=named[1])
    assert np.array_equal(apart.predict_proba(frame), given.predict_proba(frame))


def test_measuring_what_was_trained_on_is_allowed_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    frame = texts_of((0, 1), 40)
    classifier = PostClassifier(preset="text-only", **OF_KINDS).fit(frame[:30])
    seen = classifier.evaluate(frame)["seen"]
    assert seen == {"posts": 40, "trained": 26, "selected": 4, "grouped": 0, "left_out": 0}
    assert "of 40 labelled posts, 26 were trained on and 4 selected" in caplog.text
    assert "seen" not in classifier.evaluate(frame[30:])


ODD = {"comments": 7, "created_at": {"year": 2020}, "attributes": 3.5, "regions": [1, 2]}


def test_columns_that_are_not_read_refuse_no_table(caplog: pytest.LogCaptureFixture) -> None:
    rows = texts_of((0, 1)).to_dict("records")
    odd = [{**row, **ODD, "image": {"bytes": b""}} for row in rows]
    classifier = PostClassifier(preset="text-only", **OF_KINDS).fit(odd)
    plain = PostClassifier(preset="text-only", **OF_KINDS).fit(rows)
    unlabeled = [{**row, "label": ["nested"], "split": {"a": 1}} for row in odd]
    assert np.array_equal(classifier.predict_proba(unlabeled), plain.predict_proba(rows))
    assert "column 'comments' is not read here, and left out where it does not" in caplog.text


def test_a_run_of_several_seeds_loads_as_their_mean(
    trained_run: Path, post_rows: Rows, tmp_path: Path
) -> None:
    run = PostClassifier.load(trained_run)
    seeds = [PostClassifier.load(trained_run / f"seed-{seed}" / "model") for seed in (0, 1)]
    mean = np.mean([seed.predict_proba(post_rows) for seed in seeds], axis=0)
    assert run.predict_proba(post_rows) == pytest.approx(mean, abs=1e-6)
    assert run.evaluate(post_rows, "test")["posts"] == 9
    with pytest.raises(ModelError, match="expected one model to save, found 2 seeds of a run"):
        run.save(tmp_path / "model")
    seeds[1].save(tmp_path / "model")  # as the message says


def test_a_run_of_one_seed_is_loaded_and_saved_as_its_model(
    trained_run: Path, post_rows: Rows, tmp_path: Path
) -> None:
    shutil.copytree(trained_run / "seed-1", tmp_path / "run" / "seed-1")
    run = PostClassifier.load(tmp_path / "run")
    run.save(tmp_path / "model")
    loaded = PostClassifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(post_rows), run.predict_proba(post_rows))


def test_what_is_no_finished_run_is_refused_and_an_unfinished_seed_is_named(
    trained_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "seed-0" / "checkpoints").mkdir(parents=True)
    with pytest.raises(PostsenseError, match="expected a run folder, found no finished seed in it"):
        PostClassifier.load(tmp_path)
    with pytest.raises(PostsenseError, match="found no such folder"):
        PostClassifier.load(tmp_path / "absent")
    shutil.copytree(trained_run / "seed-1", tmp_path / "seed-1")
    assert PostClassifier.load(tmp_path).config.seed == 1
    assert "seed-0 not finished" in caplog.text


TEXTS = [f"{'lovely day' if number % 2 else 'awful rain'} {number}" for number in range(24)]
NUMBERS = [number % 2 for number in range(24)]
KINDS: dict[str, Any] = {
    "texts": TEXTS,
    "array of texts": np.array(TEXTS, dtype=object),
    "series of texts": pd.Series(TEXTS),
    "rows": [{"text": text, "label": "ignored", "split": "test"} for text in TEXTS],
    "array of rows": np.array([{"text": text} for text in TEXTS], dtype=object),
    "frame": pd.DataFrame({"text": TEXTS}),
    "arrow": pa.table({"text": TEXTS}),
    "posts": load_posts([{"text": text} for text in TEXTS]),
    "list of posts": list(load_posts([{"text": text} for text in TEXTS])),
    "numbers of rows": np.arange(24),
    "column of numbers": np.arange(24)[:, None],
    "list of numbers": list(range(24)),
}


def text_classifier(**settings: Any) -> PostClassifier:
    table = [{"text": text, "label": text[:5], "split": "test"} for text in TEXTS]
    return PostClassifier(preset="text-only", posts=table, **{**QUICK, **settings})


@pytest.fixture(scope="module")
def numbered() -> PostClassifier:
    return text_classifier().fit(TEXTS, NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_x_means_the_same_posts(numbered: PostClassifier, kind: str) -> None:
    given = KINDS[kind]
    expected = numbered.predict_proba(TEXTS)
    assert numbered.predict_proba(given) == pytest.approx(expected, abs=1e-6)
    assert numbered.score(given, NUMBERS) == 1.0


@pytest.mark.parametrize("kind", ["rows", "column of numbers"])
def test_every_kind_of_x_trains_the_same_classifier(numbered: PostClassifier, kind: str) -> None:
    fitted = text_classifier().fit(KINDS[kind], NUMBERS)
    assert np.array_equal(fitted.predict_proba(TEXTS), numbered.predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array(NUMBERS), [0, 1]),
        (pd.Series(NUMBERS).astype(bool), [False, True]),
        (np.array(NUMBERS).astype(str), ["0", "1"]),
        (pa.array(NUMBERS), [0, 1]),
        (pd.DataFrame({"y": NUMBERS}), [0, 1]),
        ([*NUMBERS[:-2], None, np.nan], [0, 1]),
    ],
)
def test_labels_come_back_as_what_y_was(labels: Any, classes: list[Any]) -> None:
    fitted = text_classifier(**{"training.epochs": 4}).fit(TEXTS, labels)
    assert fitted.classes_.tolist() == classes
    assert fitted.predict(TEXTS[:2]).tolist() == classes


def test_score_is_accuracy_with_weights_and_the_tables_labels(fitted: PostClassifier) -> None:
    rows = [{"text": "what a lovely day", "label": name} for name in ("positive", "negative")]
    right = fitted.predict(rows).tolist() == ["positive", "positive"]
    assert right and fitted.score(rows) == 0.5
    assert fitted.score(rows, ["positive", "negative"], sample_weight=[3, 1]) == 0.75
    assert fitted.score([*rows, {"text": "a", "label": None}]) == 0.5


@pytest.mark.parametrize(
    ("given", "labels", "message"),
    [
        (TEXTS, NUMBERS[:3], "y: expected 24 labels, one a post, found 3"),
        (TEXTS, "dev.csv", "y: expected a list or array of labels.*validation=TABLE"),
        (TEXTS, [{"text": "a"}], "y: expected a list or array of labels.*validation=TABLE"),
        (
            np.ones((2, 3)),
            [0, 1],
            r"X: expected one value a post, .* of shape \(2, 3\)",
        ),
        ([0, 24], [0, 1], "X, rows of .*: expected numbers of rows from 0 to 23, found 24"),
    ],
)
def test_x_and_y_that_do_not_fit_are_refused(given: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        text_classifier().fit(given, labels)
    with pytest.raises(DataError, match=r"numbers and no table. Name it: PostClassifier\(posts="):
        PostClassifier().fit([0, 1], [0, 1])


def test_cross_validation_cuts_rows_lists_and_frames() -> None:
    classifier = text_classifier()
    for given in (np.arange(24), TEXTS, pd.DataFrame({"text": TEXTS})):
        assert cross_val_score(classifier, given, NUMBERS, cv=2).tolist() == [1.0, 1.0]
    names = np.array(NUMBERS).astype(str)
    probs = cross_val_predict(classifier, TEXTS, names, cv=2, method="predict_proba")
    assert probs.argmax(axis=1).tolist() == NUMBERS


def test_a_grid_of_settings_is_searched_in_a_pipeline() -> None:
    steps = Pipeline([("as_they_are", FunctionTransformer()), ("classify", text_classifier())])
    grid = {"classify__training.epochs": [1, 8], "classify__seed": [3]}
    search = GridSearchCV(steps, grid, cv=2, refit=False).fit(TEXTS, NUMBERS)
    assert [params["classify__seed"] for params in search.cv_results_["params"]] == [3, 3]
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_parameters_survive_a_clone_and_change_by_their_names() -> None:
    classifier = PostClassifier(preset="text-only", corpus="c", **{"training.epochs": 3})
    copied = clone(classifier).set_params(**{"training.epochs": 5, "seed": 2, "preset": "concat"})
    assert classifier.get_params()["training.epochs"] == 3
    expected = {"preset": "concat", "corpus": "c", "training.epochs": 5, "seed": 2}
    assert {name: copied.get_params()[name] for name in expected} == expected
    assert (copied.config.training.epochs, copied.config.seed) == (5, 2)
    assert clone(PostClassifier(config=load_config())).config == load_config()
    assert "training.epochs=3" in repr(classifier)


def test_a_clone_is_untrained_and_scikit_learn_knows(numbered: PostClassifier) -> None:
    check_is_fitted(numbered)
    fresh = clone(numbered)
    for ask in (check_is_fitted, lambda one: one.predict(TEXTS), lambda one: one.classes_):
        with pytest.raises(NotFittedError):
            ask(fresh)
    assert is_classifier(fresh) and not hasattr(fresh, "classes_")


def test_parameters_that_do_not_exist_or_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'training.epoch'. Did you mean 'training.epochs'\?"):
        PostClassifier().set_params(**{"training.epoch": 3})
    with pytest.raises(ConfigError, match="expected a config or single settings, found both"):
        PostClassifier(config=load_config()).set_params(seed=1)


def test_emojis_alone_tell_the_class() -> None:
    signs = {"yes": ["😂", "😍", "🎉", "❤️", "👍🏽"], "no": ["😡", "😭", "💔", "👎", "🤮"]}
    rows = [
        {"text": f"so {sign}" if number % 2 else f"{sign}that day", "label": label}
        for number in range(8)
        for label, known in signs.items()
        for sign in known
    ]
    train, test = rows[:60], rows[60:]
    assert PostClassifier(preset="text-only", **QUICK).fit(train).score(test) >= 0.98
