"""The default of training: members on folds, kept and asked together."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from postsense import PostClassifier
from postsense.config import Config
from postsense.config.loading import load_config
from postsense.config.members import member_config
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.errors import ConfigError, ModelError, PostsenseError
from postsense.inputs.hiding import HiddenColumn
from postsense.inputs.readings import shared_reading
from postsense.inputs.vectors import VectorColumn
from postsense.posts import Posts
from postsense.prediction.ensemble import Ensemble
from postsense.predictor import Predictor
from postsense.runs.training import load_run, train_run
from postsense.saving.folder import load_model, save_model
from postsense.training.ensemble.costs import affordable, cost_of
from postsense.training.ensemble.resolving import resolve_ensemble

FULL = ["regression-all", "ridge-all", "tfidf", "concat"]
SETTINGS = {"ensemble.members": FULL, "method": "ensemble", "ensemble.folds": 3}


@pytest.fixture(scope="module")
def posts(posts_file: Path) -> Posts:
    return load_posts(posts_file)


@pytest.fixture(scope="module")
def run(posts: Posts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of four members on the 45 posts. Not to be changed."""
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    train_run(posts, load_config(values=SETTINGS), folder)
    return folder


@pytest.fixture(scope="module")
def ensemble(run: Path) -> Ensemble:
    [loaded] = load_run(run)
    assert isinstance(loaded, Ensemble)
    return loaded


def metrics_of(run: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((run / "seed-0" / "metrics.json").read_text())
    return metrics


def test_the_answer_is_the_pool_of_what_each_member_says_alone(
    ensemble: Ensemble, posts: Posts
) -> None:
    alone = [member.classifiers[0].predict(posts).probs for member in ensemble.members]
    expected = ensemble.pool.join(np.stack(alone).astype(np.float64))
    assert ensemble.predict(posts).probs == pytest.approx(expected, abs=1e-5)


def test_a_post_gets_the_same_answer_alone_as_among_others(
    ensemble: Ensemble, posts: Posts
) -> None:
    together = ensemble.predict(posts).probs[7]
    assert ensemble.predict(posts.take([7])).probs[0] == pytest.approx(together, abs=1e-5)


def test_what_is_reported_of_folds_are_answers_to_posts_unseen(run: Path) -> None:
    metrics = metrics_of(run)
    assert [member["name"] for member in metrics["members"]] == FULL
    assert metrics["folds"]["posts"] == 36  # train, and val that chose
    assert sum(member["weight"] for member in metrics["members"]) == pytest.approx(1)
    assert metrics["test"]["accuracy"] > 0.8


def test_the_same_seed_gives_the_same_ensemble(
    posts: Posts, ensemble: Ensemble, tmp_path: Path
) -> None:
    train_run(posts, load_config(values=SETTINGS), tmp_path / "again")
    [again] = load_run(tmp_path / "again")
    assert (again.predict(posts).probs == ensemble.predict(posts).probs).all()  # type: ignore[attr-defined]


def test_it_comes_back_from_disk_and_can_be_saved_elsewhere(
    run: Path, ensemble: Ensemble, posts: Posts, tmp_path: Path
) -> None:
    save_model(ensemble, tmp_path / "copy")
    save_model(ensemble, tmp_path / "copy")  # in the place of the one before
    copy = load_model(tmp_path / "copy")
    assert isinstance(copy, Ensemble) and copy.pool == ensemble.pool
    assert (copy.predict(posts).probs == ensemble.predict(posts).probs).all()
    assert (
        PostClassifier.load(run).predict(posts_of(posts)).tolist() == ensemble.predict(posts).labels
    )


def posts_of(posts: Posts) -> list[dict[str, Any]]:
    return [{"id": post.id, "text": post.text, "image": post.image} for post in posts]


def spoil_weight(folder: Path) -> None:
    file = folder / "members" / "1" / "0" / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


def spoil_description(folder: Path) -> None:
    file = folder / "model.json"
    found = json.loads(file.read_text())
    found["members"][0]["weight"] = 0.9
    file.write_text(json.dumps(found))


def swap_members(folder: Path) -> None:
    first, second = folder / "members" / "0", folder / "members" / "1"
    first.rename(folder / "aside")
    second.rename(first)
    (folder / "aside").rename(second)


def lose_member(folder: Path) -> None:
    shutil.rmtree(folder / "members" / "2")


def link_member(folder: Path) -> None:
    (folder / "members" / "2" / "0").rename(folder.parent / "elsewhere")
    (folder / "members" / "2" / "0").symlink_to(folder.parent / "elsewhere")


def lose_seen(folder: Path) -> None:
    (folder / "seen.safetensors").unlink()


@pytest.mark.parametrize(
    "spoil",
    [spoil_weight, spoil_description, swap_members, lose_member, link_member, lose_seen],
)
def test_a_damaged_ensemble_is_refused_in_one_line(
    spoil: Callable[[Path], None], run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run / "seed-0" / "model", tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(ModelError) as refused:
        load_model(tmp_path / "model")
    assert "\n" not in str(refused.value)


def test_predictions_say_what_members_and_parts_brought(ensemble: Ensemble, posts: Posts) -> None:
    with Predictor([ensemble]) as predictor:
        predictions = predictor.predict(posts)
    assert predictions.members is not None and predictions.parts is not None
    said, brought = predictions.members[0], predictions.parts[0]
    assert [one.member for one in said] == [member.name for member in ensemble.members]
    assert sum(one.weight for one in said) == pytest.approx(1)
    assert [one.part for one in brought] == ["words", "picture"]
    table = predictions.to_table()
    assert {"members", "parts"} <= set(table.column_names)


def test_what_words_brought_is_the_answer_less_that_without_words(
    ensemble: Ensemble, posts: Posts
) -> None:
    chosen = posts.take([0])
    with Predictor([ensemble]) as predictor:
        predictions = predictor.predict(chosen)
    assert predictions.parts is not None
    number = predictions.probs[0].argmax()
    after = ensemble.predict(lacking(chosen, "text")).probs[0, number]
    gain = predictions.parts[0][0].gain
    assert gain == pytest.approx(predictions.probs[0, number] - after, abs=1e-5)


def lacking(posts: Posts, column: str) -> Posts:
    table, place = posts.table, posts.table.column_names.index(column)
    nothing = pa.nulls(len(posts), table.schema.field(column).type)
    return posts.with_table(table.set_column(place, table.schema.field(column), nothing))


@pytest.mark.parametrize(("column", "fusion"), [("image", "text_only"), ("text", "image_only")])
def test_a_table_without_words_or_pictures_trains_on_what_it_has(
    posts: Posts, column: str, fusion: str, tmp_path: Path
) -> None:
    left = lacking(posts, column)
    train_run(left, load_config(default_method="ensemble"), tmp_path / "run")
    [trained] = load_run(tmp_path / "run")
    assert trained.config.fusion.name == fusion
    assert metrics_of(tmp_path / "run")["test"]["accuracy"] > 0.6


def test_a_member_that_reads_what_no_post_has_is_refused_by_name(
    posts: Posts, tmp_path: Path
) -> None:
    config = load_config(values={**SETTINGS, "ensemble.members": ["regression-picture", "tfidf"]})
    with pytest.raises(ConfigError, match="'regression-picture': expected a table"):
        train_run(lacking(posts, "image"), config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["regression-al"], "expected a preset, or the folder of a run"),
        (["ensemble"], "expected a preset of one model, found an ensemble"),
        (["cast"], "'cast': expected a corpus for method=self_training"),
    ],
)
def test_what_is_no_member_is_refused_by_name(
    members: list[str], message: str, posts: Posts, tmp_path: Path
) -> None:
    config = load_config(values={**SETTINGS, "ensemble.members": members})
    with pytest.raises(PostsenseError, match=message):
        train_run(posts, config, tmp_path / "run")


def test_a_run_among_members_must_leave_posts_to_weigh_it_by(
    posts: Posts, trained_run: Path, tmp_path: Path
) -> None:
    config = load_config(values={**SETTINGS, "ensemble.members": ["tfidf", str(trained_run)]})
    with pytest.raises(PostsenseError, match="at least 20 labelled posts"):
        train_run(posts, config, tmp_path / "run")  # 9 of val are all that is new to it


def test_a_run_among_members_answers_as_it_did(
    posts: Posts, trained_run: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    rows = [
        {**row, "id": f"n{number}", "text": f"{row['text']} {generator.integers(1000)}"}
        for number, row in enumerate(posts_of(posts))
    ]
    labels = posts.column("label")
    classifier = PostClassifier(**{**SETTINGS, "ensemble.members": ["tfidf", str(trained_run)]})
    classifier.fit([{**row, "label": label} for row, label in zip(rows, labels, strict=True)])
    [ensemble] = classifier.classifiers
    assert isinstance(ensemble, Ensemble)
    alone = PostClassifier.load(trained_run).predict_proba(rows)
    said = ensemble.members[1]
    assert said.name == str(trained_run) and len(said.classifiers) == 2
    kept = np.mean([one.predict(given(rows)).probs for one in said.classifiers], axis=0)
    assert kept == pytest.approx(alone, abs=1e-6)


def given(rows: list[dict[str, Any]]) -> Posts:
    from postsense.data.given_posts import given_posts

    return given_posts(rows, None, Config(), reads=("text", "image"), optional=("label", "split"))


def test_a_run_of_other_classes_is_refused(posts: Posts, trained_run: Path, tmp_path: Path) -> None:
    config = load_config(values={**SETTINGS, "ensemble.members": ["tfidf", str(trained_run)]})
    with pytest.raises(PostsenseError, match="a run of the classes"):
        train_run(relabelled(posts, {"positive": "glad"}), config, tmp_path / "run")


def relabelled(posts: Posts, names: dict[str, str]) -> Posts:
    table, place = posts.table, posts.table.column_names.index("label")
    labels = [names.get(label, label) for label in posts.column("label")]
    splits = pa.array(["train"] * len(posts))
    table = table.set_column(place, table.schema.field("label"), pa.array(labels))
    place = table.column_names.index("split")
    return posts.with_table(table.set_column(place, table.schema.field("split"), splits))


@pytest.mark.parametrize(
    ("values", "method"),
    [
        ({}, "ensemble"),
        ({"data.columns.text": "tweet"}, "ensemble"),
        ({"ensemble.effort": "quick"}, "ensemble"),
        ({"training.epochs": 5}, "supervised"),
        ({"fusion.name": "cross_attention"}, "supervised"),
        ({"losses.itc": 0.1}, "supervised"),
        ({"encoders.text.trainable": True}, "supervised"),
        ({"method": "supervised"}, "supervised"),
    ],
)
def test_what_is_set_says_whether_the_default_trains(values: dict[str, Any], method: str) -> None:
    assert load_config(values=values, default_method="ensemble").method == method


def test_a_preset_is_trained_as_itself() -> None:
    assert load_config("concat", default_method="ensemble").method == "supervised"
    assert PostClassifier().config.method == "ensemble"


def resolved(posts: Posts, **values: Any) -> Config:
    config = load_config(values=values, default_method="ensemble")
    splits = split_posts(posts, None, validation_fraction=0.1, seed=0, draw_val=False)
    return resolve_ensemble(config, splits)


def test_few_labels_take_the_members_for_few(posts: Posts) -> None:
    assert resolved(posts).ensemble.members == ("few-labels", "ridge-few-labels")


def test_much_larger_tables_leave_out_what_takes_too_long() -> None:
    config = load_config(values={"method": "ensemble"})
    members = {name: member_config(config, name) for name in ("regression-all", "ridge-all")}
    assert affordable(config, members, 3600) == ("regression-all", "ridge-all")
    assert affordable(config, members, 100_000) == ("regression-all",)
    assert affordable(config, members, 10_000_000) == ()
    ten = cost_of(config, members, 36_000).seconds["regression-all"]
    assert ten == pytest.approx(10 * cost_of(config, members, 3_600).seconds["regression-all"])


def test_val_may_be_learned_from(posts: Posts, tmp_path: Path) -> None:
    values = {**SETTINGS, "ensemble.members": ["tfidf"], "ensemble.learn_from_val": True}
    train_run(posts, load_config(values=values), tmp_path / "run")
    [trained] = load_run(tmp_path / "run")
    assert trained.seen is not None
    assert len(trained.seen.trained) == 36 and not len(trained.seen.selected)
    assert "val" not in metrics_of(tmp_path / "run")


@pytest.mark.parametrize(
    ("values", "differs"),
    [
        ({"ensemble.pooling": "selection"}, "members"),
        ({"ensemble.prior_shift": 0.9}, "pool"),
        ({"ensemble.members": ["regression-all", "tfidf"]}, "members"),
    ],
    ids=str,
)
def test_every_setting_of_an_ensemble_makes_a_difference(
    values: dict[str, Any], differs: str, posts: Posts, run: Path, tmp_path: Path
) -> None:
    config = load_config(values={**SETTINGS, **values})
    train_run(posts, config, tmp_path / "run")
    [seed] = (tmp_path / "run").glob("seed-*")
    found = json.loads((seed / "metrics.json").read_text())
    assert found[differs] != metrics_of(run)[differs]


def test_what_one_model_reads_is_refused_beside_an_ensemble() -> None:
    for key, value in {"training.epochs": 3, "fusion.hidden": 8, "losses.itc": 0.1}.items():
        with pytest.raises(ConfigError, match=key):
            load_config(values={"method": "ensemble", key: value})


def test_members_that_somebody_names_count_whatever_an_effort_says_of_them(
    posts: Posts, tmp_path: Path
) -> None:
    named = {**SETTINGS, "ensemble.members": ["regression-words", "tfidf"]}
    train_run(posts, load_config(values=named), tmp_path / "run")
    weights = [member["weight"] for member in metrics_of(tmp_path / "run")["members"]]
    assert weights == [0.5, 0.5]


def test_stand_ins_wait_until_a_modality_is_left_out(posts: Posts, tmp_path: Path) -> None:
    named = {"ensemble.members": ["regression-all"], "ensemble.stand_ins": ["regression-words"]}
    train_run(posts, load_config(values={**SETTINGS, **named}), tmp_path / "run")
    members = metrics_of(tmp_path / "run")["members"]
    assert [(one["name"], one["weight"]) for one in members] == [
        ("regression-all", 1.0),
        ("regression-words", 0.0),
    ]
    assert set(members[1]["folds"]) == {"accuracy", "macro_f1", "weighted_f1"}


def test_a_stranger_names_no_encoder_that_is_not_a_members(
    ensemble: Ensemble, posts: Posts
) -> None:
    text = ensemble.config.encoders.text.model_copy(update={"name": "/somewhere/else"})
    encoders = ensemble.config.encoders.model_copy(update={"text": text})
    retrieval = ensemble.config.retrieval.model_copy(update={"corpus": Path("/somewhere/corpus")})
    changed = {"encoders": encoders, "retrieval": retrieval}
    other = replace(ensemble, config=ensemble.config.model_copy(update=changed))
    read = shared_reading(other.config, other.member_configs)
    assert read.encoders.text.name == "builtin" and read.retrieval.corpus is None
    assert (other.predict(posts).probs == ensemble.predict(posts).probs).all()


def test_hidden_columns_may_go_to_another_process() -> None:
    column = VectorColumn(np.ones((2, 3), dtype=np.float32), np.arange(2))
    copied = pickle.loads(pickle.dumps(HiddenColumn(column)))
    assert not copied.batch(np.array([0, 1])).present.any()


@pytest.mark.parametrize(
    "setting", ["blocks.lexical", "blocks.text", "comments.own", "comments.count", "fusion.hidden"]
)
def test_what_members_say_for_themselves_is_refused_of_an_ensemble(setting: str) -> None:
    value = True if setting == "comments.own" else 3
    with pytest.raises(ConfigError, match=setting):
        load_config(values={"method": "ensemble", setting: value})


def test_a_corpus_lends_to_a_member_of_its_own(
    posts: Posts, synthetic_corpus: Path, tmp_path: Path
) -> None:
    lent = {"retrieval.corpus": synthetic_corpus}
    named = {"method": "ensemble", "ensemble.members": ["regression-all", "concat-comments"]}
    train_run(posts, load_config(values={**lent, **named}), tmp_path / "run")
    [trained] = load_run(tmp_path / "run")
    with Predictor([trained]) as predictor:
        predictions = predictor.predict(posts)
    assert predictions.members is not None and predictions.hints is not None
    assert [one.weight for one in predictions.members[0]] == [0.5, 0.5]
    assert len(predictions.hints) == len(posts)


def test_a_lent_comment_counts_by_itself_only_where_folds_say_so(
    posts: Posts, synthetic_corpus: Path, tmp_path: Path
) -> None:
    config = load_config(values={"retrieval.corpus": synthetic_corpus}, default_method="ensemble")
    train_run(posts, config, tmp_path / "run")
    *_, last = metrics_of(tmp_path / "run")["members"]
    assert (last["name"], last["weight"]) == ("concat-comments", 0.0)
