"""Runs → simple answers measured beside them, kept in their folders and compared with."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score

from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.encoders.pretrained import BUILTIN
from postsense.errors import RunError
from postsense.runs.comparison import compare_run_folders
from postsense.runs.folder import read_json
from postsense.runs.training import train_run
from postsense.training.floor.features import frozen_encoders

Rows = list[dict[str, Any]]
ALL = ["majority", "tfidf", "text", "image", "regression"]
QUICK = {"training.epochs": 1, "training.batch_size": 16, "training.device": "cpu"}
OLD = Path(__file__).parent / "fixtures" / "run-of-0.1-concat"


def metrics_of(run: Path, seed: int = 0) -> dict[str, Any]:
    return read_json(run / f"seed-{seed}" / "metrics.json")


def train(rows: Any, folder: Path, preset: str, **values: Any) -> dict[str, Any]:
    config = load_config(preset, values=values)
    return train_run(load_posts(rows), config, folder).metrics[0]


@pytest.fixture(scope="module")
def pictureless(tmp_path_factory: pytest.TempPathFactory, post_rows: Rows) -> Path:
    """A run of regression on posts without pictures. Not to be changed."""
    folder = tmp_path_factory.mktemp("pictureless") / "run"
    rows = [{**row, "image": None} for row in post_rows]
    train(rows, folder, "text-only", **QUICK)
    return folder


@pytest.mark.parametrize("split", ["val", "test"])
def test_scores_are_those_of_the_answers_that_are_kept(trained_run: Path, split: str) -> None:
    rows = pq.read_table(trained_run / "seed-1" / "baselines.parquet").to_pylist()
    reported = metrics_of(trained_run, 1)["baselines"]
    assert list(reported) == ALL
    for name, parts in reported.items():
        kept = [row for row in rows if (row["baseline"], row["split"]) == (name, split)]
        pair = [[row[column] for row in kept] for column in ("label", "predicted")]
        assert parts[split]["accuracy"] == pytest.approx(accuracy_score(*pair))
        for average in ("macro", "weighted"):
            expected = f1_score(*pair, average=average, zero_division=0)
            assert parts[split][f"{average}_f1"] == pytest.approx(expected)
        probs = np.array([[row[f"prob_{one}"] for one in sorted(set(pair[0]))] for row in kept])
        assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_answers_are_to_the_posts_of_the_predictions(trained_run: Path) -> None:
    seed = trained_run / "seed-0"
    given = pq.read_table(seed / "predictions.parquet").select(["split", "id", "label"]).to_pylist()
    for name in ALL:
        table = pq.read_table(seed / "baselines.parquet", filters=[("baseline", "=", name)])
        assert table.select(["split", "id", "label"]).to_pylist() == given


def test_words_that_tell_the_label_are_enough(trained_run: Path) -> None:
    baselines = metrics_of(trained_run)["baselines"]
    assert baselines["tfidf"]["test"]["accuracy"] == 1.0
    assert baselines["text"]["folds"]["accuracy"] == 1.0
    assert baselines["majority"]["test"]["accuracy"] == pytest.approx(1 / 3)


def test_a_table_without_pictures_has_simple_answers_of_words_alone(pictureless: Path) -> None:
    assert list(metrics_of(pictureless)["baselines"]) == ["majority", "tfidf", "text"]


def test_folds_of_a_method_that_has_them_are_of_the_same_posts(
    post_rows: Rows, tmp_path: Path
) -> None:
    metrics = train(post_rows, tmp_path, "regression-words")
    assert metrics["folds"]["posts"] == 27
    assert metrics["folds"]["accuracy"] == metrics["baselines"]["text"]["folds"]["accuracy"] == 1.0


def test_posts_that_all_say_the_same_have_no_folds(post_rows: Rows, tmp_path: Path) -> None:
    rows = [{**row, "text": "what a day", "image": None} for row in post_rows]
    metrics = train(rows, tmp_path, "regression-words")
    assert metrics["folds"] == {"posts": 0}
    assert set(metrics["baselines"]["text"]) == {"val", "test"}


def test_posts_without_val_and_test_are_measured_on_folds_alone(
    post_rows: Rows, tmp_path: Path
) -> None:
    rows = [{**row, "split": "train"} for row in post_rows]
    metrics = train(rows, tmp_path, "regression-words")
    assert set(metrics["baselines"]["text"]) == {"folds"}
    assert not (tmp_path / "seed-0" / "baselines.parquet").exists()


def test_an_ensemble_is_measured_on_its_own_folds(post_rows: Rows, tmp_path: Path) -> None:
    values = {"ensemble.members": ("regression-words", "tfidf")}
    metrics = train(post_rows, tmp_path, "ensemble", **values)
    assert metrics["folds"]["posts"] == 36  # those of val are new to it too
    assert metrics["baselines"]["text"]["folds"]["accuracy"] == 1.0


def test_val_that_is_learned_from_is_not_measured(post_rows: Rows, tmp_path: Path) -> None:
    values = {"ensemble.members": ("regression-words",), "ensemble.learn_from_val": True}
    metrics = train(post_rows, tmp_path, "ensemble", **values)
    assert set(metrics["baselines"]["text"]) == {"folds", "test"}


def test_an_encoder_that_trains_is_asked_as_it_was_before(
    post_rows: Rows, tmp_path: Path, tiny_bert: Path
) -> None:
    said = []
    for trainable in (False, True):
        text = {"name": str(tiny_bert), "trainable": trainable}
        folder = tmp_path / str(trainable)
        train(post_rows, folder, "text-only", **QUICK, **{"encoders.text": text})
        table = pq.read_table(folder / "seed-0" / "baselines.parquet")
        said.append(table.filter(np.array(table["baseline"]) == "text"))
    assert said[0].equals(said[1])


def test_encoders_of_simple_answers_are_frozen_and_built_in_where_none_stands_alone() -> None:
    for preset in ("vilt", "lxmert", "bilstm"):
        assert frozen_encoders(load_config(preset)).text.name == BUILTIN
    assert frozen_encoders(load_config("vilt")).image.name == BUILTIN
    for preset, part in (("bert", "text"), ("resnet", "image"), ("mmbt", "image")):
        config = load_config(preset)
        asked, found = (getattr(one, part) for one in (config.encoders, frozen_encoders(config)))
        assert asked.runs_inside and not found.runs_inside
        assert asked.name == found.name != BUILTIN


@pytest.mark.parametrize("name", ALL)
def test_a_baseline_is_compared_as_a_run(trained_run: Path, name: str) -> None:
    comparison = compare_run_folders([Path(f"baseline:{name}"), trained_run])
    first, second = comparison["runs"]
    assert (first["name"], first["seeds"]) == (f"baseline:{name}", [0, 1])
    each = [metrics_of(trained_run, seed)["baselines"][name]["test"] for seed in (0, 1)]
    for metric in ("accuracy", "macro_f1", "weighted_f1"):
        assert first[metric]["mean"] == pytest.approx(np.mean([one[metric] for one in each]))
    assert second == compare_run_folders([trained_run])["runs"][0]
    assert [one["baseline"] for one in comparison["differences"]] == [f"baseline:{name}"] * 3
    assert "seen" not in comparison


def test_a_baseline_is_that_of_the_first_run_that_has_it(
    trained_run: Path, pictureless: Path
) -> None:
    listed = [trained_run, Path("baseline:image"), pictureless]
    assert len(compare_run_folders(listed)["runs"][1]["seeds"]) == 2
    listed = [pictureless, Path("baseline:text"), Path("baseline:image"), trained_run]
    seeds = [len(run["seeds"]) for run in compare_run_folders(listed)["runs"]]
    assert seeds == [1, 1, 2, 2]


def test_a_baseline_is_broken_down_by_a_column(
    postsense: Any, trained_run: Path, posts_file: Path
) -> None:
    words = ["compare", "baseline:tfidf", trained_run, "--split", "val", "--json"]
    outcome = postsense(*words, "--by", "label", "--table", posts_file)
    assert (outcome.code, outcome.err) == (0, "")
    groups = json.loads(outcome.out)["by"]["groups"]
    assert [group["runs"][0]["name"] for group in groups] == ["baseline:tfidf"] * 3


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["baseline:txt", "RUN"], "found only ['majority', 'text', 'tfidf']. Did you mean 'text'?"),
        (["baseline:image", "RUN"], "expected a simple answer of"),
        (["baseline:text"], "baseline:text: expected a run folder beside it, found none."),
        (["baseline:text", str(OLD)], "earlier versions kept none"),
    ],
)
def test_a_baseline_that_nobody_has_is_one_line(
    postsense: Any, pictureless: Path, given: list[str], line: str
) -> None:
    words = [str(pictureless) if word == "RUN" else word for word in given]
    outcome = postsense("compare", *words)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert line in outcome.err


def test_damaged_answers_are_one_line(trained_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    file = run / "seed-0" / "baselines.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["baseline"]), file)
    with pytest.raises(RunError, match=r"baselines.parquet: .* no \['baseline'\]"):
        compare_run_folders([Path("baseline:text"), run])


@pytest.mark.parametrize("value", [{"baselines": {"text": {"val": 1}}}, {"remark": 3}])
def test_damaged_scores_are_one_line(
    post_rows: Rows, pictureless: Path, tmp_path: Path, value: dict[str, Any]
) -> None:
    run = Path(shutil.copytree(pictureless, tmp_path / "run"))
    metrics = metrics_of(run)
    (run / "seed-0" / "metrics.json").write_text(json.dumps({**metrics, **value}))
    rows = [{**row, "image": None} for row in post_rows]
    with pytest.raises(RunError, match=rf"metrics.json, {next(iter(value))}: expected"):
        train(rows, run, "text-only", **QUICK)


def test_a_run_of_an_earlier_version_goes_on_without(
    post_rows: Rows, pictureless: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(pictureless, tmp_path / "run"))
    metrics = metrics_of(run)
    del metrics["baselines"]
    (run / "seed-0" / "metrics.json").write_text(json.dumps(metrics))
    (run / "seed-0" / "baselines.parquet").unlink()
    rows = [{**row, "image": None} for row in post_rows]
    config = load_config("text-only", values=QUICK)
    summary = train_run(load_posts(rows), config, run, seeds=2)
    assert [("baselines" in summary.metrics[seed]) for seed in (0, 1)] == [False, True]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")]


def test_train_prints_the_result_and_simple_answers_side_by_side(
    postsense: Any, post_rows: Rows, tmp_path: Path
) -> None:
    rows = [{**row, "image": None} for row in post_rows]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--preset", "text-only", "--set", "training.epochs=1"]
    outcome = postsense("train", tmp_path / "posts.jsonl", "--out", tmp_path / "run", *words)
    metrics = metrics_of(tmp_path / "run")
    shown = [cells(line) for line in outcome.out.splitlines()]
    assert ["split", "metric", "result", "majority", "tfidf", "text"] in shown
    scores = [metrics["test"], *(one["test"] for one in metrics["baselines"].values())]
    assert ["test", "accuracy", *(f"{one['accuracy']:.4f}" for one in scores)] in shown
    assert ["best epoch", "1"] in [row[:2] for row in shown]


def test_train_says_that_labels_are_random(postsense: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    rows = [
        {"id": n, "text": " ".join(generator.choice(list("abcdefgh"), 5)), "label": f"l{n * 7 % 2}"}
        for n in range(120)
    ]
    generator.shuffle(labels := [row["label"] for row in rows])
    rows = [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--preset", "regression-words"]
    outcome = postsense("train", tmp_path / "posts.jsonl", "--out", tmp_path / "run", *words)
    line = "labels look random: no model beats guessing the most frequent class"
    assert outcome.out.count(line) == 1
    assert metrics_of(tmp_path / "run")["remark"] == line
