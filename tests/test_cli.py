"""The command line: every verb, and one line with exit code 2 for what a user can mend."""

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

Rows = list[dict[str, Any]]
QUICK = [
    *("--preset", "text-only"),
    *("--set", "training.epochs=2"),
    *("--set", "training.batch_size=8"),
    *("--set", "training.learning_rate=0.01"),
]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write(rows)` makes a JSONL table of them."""

    def write_rows(rows: Rows, name: str = "table.jsonl") -> Path:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    return write_rows


def assert_refused(outcome: Any, *parts: str) -> None:
    """One line on standard error, exit code 2, nothing else said."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err


def test_train_writes_a_run_and_says_how_good_it_is(
    postsense: Any, posts_file: Path, tmp_path: Path
) -> None:
    outcome = postsense("train", posts_file, "--out", tmp_path / "run", *QUICK, "--seeds", 2)
    assert (outcome.code, outcome.err) == (0, "")
    assert "27 train, 9 val, 9 test; 3 classes: negative, neutral, positive" in outcome.out
    metrics = json.loads((tmp_path / "run" / "seed-1" / "metrics.json").read_text())
    assert f"{metrics['test']['macro_f1']:.4f}" in outcome.out
    assert f"run in {tmp_path / 'run'}" in outcome.out


def test_train_takes_settings_from_file_and_command_line(
    postsense: Any, posts_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text("[training]\nepochs = 3\nbatch_size = 9\n")
    options = ["--preset", "text-only", "--config", tmp_path / "x.toml", "--seed", 7]
    more = ["--set", "training.epochs=1", "--set", "losses.class_weights=balanced"]
    assert postsense("train", posts_file, "--out", tmp_path / "run", *options, *more).code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["training"]["epochs"], config["training"]["batch_size"]) == (1, 9)
    assert (config["losses"]["class_weights"], config["seed"]) == ("balanced", 7)


def test_the_same_command_again_trains_nothing(
    postsense: Any, posts_file: Path, tmp_path: Path
) -> None:
    command = ["train", posts_file, "--out", tmp_path / "run", *QUICK]
    first = postsense(*command)
    changed = (tmp_path / "run" / "seed-0" / "metrics.json").stat().st_mtime_ns
    assert postsense(*command).out == first.out
    assert (tmp_path / "run" / "seed-0" / "metrics.json").stat().st_mtime_ns == changed


def test_evaluate_prints_mean_deviation_and_each_class(
    postsense: Any, trained_run: Path, posts_file: Path
) -> None:
    outcome = postsense("evaluate", trained_run, posts_file)
    assert (outcome.code, outcome.err) == (0, "")
    assert "split test, 9 posts" in outcome.out
    assert "±" in outcome.out
    assert all(name in outcome.out for name in ("negative", "neutral", "positive"))


def test_evaluate_prints_one_json_object(
    postsense: Any, trained_run: Path, posts_file: Path
) -> None:
    outcome = postsense("evaluate", trained_run, posts_file, "--json", "--split", "val")
    report = json.loads(outcome.out)
    metrics = [json.loads((s / "metrics.json").read_text()) for s in trained_run.glob("seed-*")]
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        assert report[name] == pytest.approx(sum(m["val"][name] for m in metrics) / 2)
        assert report["sd"][name] >= 0
    assert (report["split"], report["posts"], outcome.err) == ("val", 9, "")


def test_evaluate_breaks_metrics_down_by_a_column(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any
) -> None:
    table = write([{**row, "source": {"year": 2020 + n % 2}} for n, row in enumerate(post_rows)])
    outcome = postsense("evaluate", trained_run, table, "--by", "source.year")
    assert (outcome.code, outcome.err) == (0, "")
    assert "by source.year" in outcome.out
    report = json.loads(postsense("evaluate", trained_run, table, "--by=source.year", "--json").out)
    assert [group["value"] for group in report["by"]["groups"]] == ["2020", "2021"]
    assert all(f"{group['accuracy']:.4f} ±" in outcome.out for group in report["by"]["groups"])


@pytest.mark.parametrize("verb", ["evaluate", "compare"])
def test_a_breakdown_by_an_unknown_column_is_one_line(
    postsense: Any, trained_run: Path, posts_file: Path, verb: str
) -> None:
    table = [posts_file] if verb == "evaluate" else ["--table", posts_file]
    outcome = postsense(verb, trained_run, *table, "--by", "lable")
    assert_refused(outcome, "expected a column 'lable'", "Did you mean 'label'?")


def test_evaluate_of_one_model_has_no_deviation(
    postsense: Any, trained_run: Path, posts_file: Path
) -> None:
    model = trained_run / "seed-0" / "model"
    report = json.loads(postsense("evaluate", model, posts_file, "--json").out)
    metrics = json.loads((trained_run / "seed-0" / "metrics.json").read_text())
    assert "sd" not in report
    assert report["accuracy"] == metrics["test"]["accuracy"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_predict_writes_a_row_for_every_post(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any, tmp_path: Path, suffix: str
) -> None:
    lost = {"id": "lost", "text": "a day", "image": "lost.png"}
    table, out = write([post_rows[0], lost, *post_rows[1:30]]), tmp_path / f"predictions{suffix}"
    outcome = postsense("predict", trained_run, table, "--out", out)
    rows = read_rows(out)
    assert (outcome.code, outcome.err) == (0, "")
    assert f"31 predictions in {out}" in outcome.out
    assert [row["id"] for row in rows] == ["p0", "lost", *(f"p{n}" for n in range(1, 30))]
    assert [row["label"] is None for row in rows] == [number == 1 for number in range(31)]
    probabilities = [f"prob_{name}" for name in ("negative", "neutral", "positive")]
    assert list(rows[0]) == ["id", "label", *probabilities, "picture_shows"]
    assert sum(float(rows[0][f"prob_{name}"]) for name in ("negative", "neutral", "positive")) == (
        pytest.approx(1, abs=1e-6)
    )


def read_rows(file: Path) -> Rows:
    if file.suffix == ".parquet":
        return list(pq.read_table(file).to_pylist())
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: value or None for key, value in row.items()} for row in rows]


def test_predict_lists_bad_rows_beside_the_predictions(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    lost = {"id": "lost", "text": "a day", "image": "lost.png"}
    out, bad = tmp_path / "out.csv", tmp_path / "out.csv.bad_rows.jsonl"
    outcome = postsense("predict", trained_run, write([*post_rows, lost]), "--out", out)
    [row] = read_rows(bad)
    assert row["id"] == "lost"
    assert f"{tmp_path / 'lost.png'}: expected a picture file, found no such file" in row["reason"]
    assert f"1 of 46 posts could not be used; all are listed in {bad}" in outcome.out


def test_predict_without_bad_rows_leaves_no_old_list_of_them(
    postsense: Any, trained_run: Path, posts_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.csv.bad_rows.jsonl").write_text("{}\n")
    postsense("predict", trained_run, posts_file, "--out", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv.bad_rows.jsonl").exists()


def test_columns_mapped_in_training_need_not_exist_in_predict(
    postsense: Any, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    rows = [
        {"id": row["id"], "text": row["text"], "y": row["label"], "splits": {"b": row["split"]}}
        for row in post_rows
    ]
    mapped = ["--label", "y", "--split", "splits.b"]
    assert postsense("train", write(rows), "--out", tmp_path / "run", *QUICK, *mapped).code == 0
    bare = write([{"text": "a lovely day"}], "bare.jsonl")
    out = tmp_path / "out.jsonl"
    assert postsense("predict", tmp_path / "run", bare, "--out", out).code == 0
    assert read_rows(out)[0]["id"] == "0"
    labeled = write([{"text": row["text"], "y": row["y"]} for row in rows], "labeled.jsonl")
    report = json.loads(postsense("evaluate", tmp_path / "run", labeled, "--json").out)
    assert (report["split"], report["posts"]) == ("all", 45)


def test_evaluate_can_name_another_label_column(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any
) -> None:
    table = write([{**row, "label": None, "truth": row["label"]} for row in post_rows])
    report = json.loads(postsense("evaluate", trained_run, table, "--label=truth", "--json").out)
    assert report["posts"] == 9


def test_a_validation_table_needs_no_split_column(
    postsense: Any, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    bare = [{key: row[key] for key in ("id", "text", "label")} for row in post_rows]
    train = write([{**row, "part": "train"} for row in bare[:30]])
    options = ["--split", "part", "--validation", write(bare[30:], "val.jsonl")]
    assert postsense("train", train, "--out", tmp_path / "run", *QUICK, *options).code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["posts"]["val"] == 15


def test_compare_prints_scores_and_differences(postsense: Any, trained_run: Path) -> None:
    outcome = postsense("compare", trained_run, trained_run)
    assert (outcome.code, outcome.err) == (0, "")
    assert "+0.0000" in outcome.out
    comparison = json.loads(postsense("compare", trained_run, trained_run, "--json").out)
    assert [run["seeds"] for run in comparison["runs"]] == [[0, 1], [0, 1]]
    assert {item["p_value"] for item in comparison["differences"]} == {1.0}


def test_compare_breaks_differences_down_by_a_column(
    postsense: Any, trained_run: Path, posts_file: Path
) -> None:
    options = ("--by", "label", "--table", posts_file)
    outcome = postsense("compare", trained_run, trained_run, *options)
    assert (outcome.code, outcome.err) == (0, "")
    assert "test, 9 posts, by label" in outcome.out
    by = json.loads(postsense("compare", trained_run, trained_run, *options, "--json").out)["by"]
    assert [group["value"] for group in by["groups"]] == ["negative", "neutral", "positive"]
    assert {item["p_value"] for group in by["groups"] for item in group["differences"]} == {1.0}


def test_a_comparison_by_a_column_needs_the_table(postsense: Any, trained_run: Path) -> None:
    outcome = postsense("compare", trained_run, "--by", "label")
    assert_refused(outcome, "expected a column and a table, found only a column", "--table")


def test_check_reports_what_is_wrong(postsense: Any, post_rows: Rows, write: Any) -> None:
    table = write([*post_rows, {**post_rows[0], "id": "twin", "image": "lost.png"}])
    report = json.loads(postsense("check", table, "--json").out)
    assert report["counts"]["posts"] == 46
    assert "lost.png" in json.dumps(report)
    outcome = postsense("check", table)
    assert (outcome.code, outcome.err) == (0, "")
    assert "46" in outcome.out


@pytest.mark.slow
def test_demo_trains_evaluates_and_predicts(postsense: Any, tmp_path: Path) -> None:
    outcome = postsense("demo", "--out", tmp_path / "demo", "--posts", 40)
    assert (outcome.code, outcome.err) == (0, "")
    assert len(read_rows(tmp_path / "demo" / "predictions.jsonl")) == 40
    assert all(f"[{name}]" in outcome.out for name in ("text-only", "image-only", "concat"))
    assert all(f"[{name}]" in outcome.out for name in ("few-labels", "few-labels-cast"))
    assert "by truth.scene_visible" in outcome.out


def without_label(rows: Rows) -> Rows:
    return [{"text": row["text"]} for row in rows]


def unknown_in_val(rows: Rows) -> Rows:
    return [*rows, {"id": "q", "text": "a", "label": "postive", "split": "val"}]


def single_class(rows: Rows) -> Rows:
    return [row for row in rows if row["label"] == "neutral"]


def repeated(rows: Rows) -> Rows:
    return [*rows, rows[3]]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (without_label, ["table.jsonl: expected a column 'label'", "no such column"]),
        (unknown_in_val, ["split 'val'", "'postive' in 1 rows", "Did you mean 'positive'?"]),
        (single_class, ["at least two classes in train", "only 'neutral'"]),
        (repeated, ["unique ids", "'p3' in line 4, line 46"]),
        (lambda rows: [], ["table.jsonl: expected at least one post, found none"]),
        (lambda rows: [{**row, "split": "test"} for row in rows], ["split 'train'"]),
        (lambda rows: [{**row, "text": None, "image": None} for row in rows], ["45 of 45"]),
        (lambda rows: [{**row, "label": ["a"]} for row in rows], ["table.jsonl:1, label"]),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_refused(
    postsense: Any, post_rows: Rows, write: Any, tmp_path: Path, change: Any, parts: list[str]
) -> None:
    outcome = postsense("train", write(change(post_rows)), "--out", tmp_path / "run", *QUICK)
    assert_refused(outcome, *parts)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--preset", "concta"], ["--preset", "'concta'", "Did you mean 'concat'?"]),
        (["--set", "training.epoch=2"], ["unknown 'training.epoch'", "'training.epochs'"]),
        (["--set", "training.epochs=0"], ["training.epochs = 0"]),
        (["--set", "training.epochs"], ["expected key=value"]),
        (["--config", "absent.toml"], ["absent.toml", "no such file"]),
        (["--method", "magic"], ["method = 'magic'"]),
        (["--label", "lable"], ["'lable'", "Did you mean 'label'?"]),
        (["--split", "fold"], ["expected a column 'fold' for split"]),
        (["--set", "encoders.text.name=no/such-model"], ["encoders.text.name", "no/such-model"]),
        (["--validation", "absent.csv"], ["absent.csv: expected a table, found no such file"]),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    postsense: Any, posts_file: Path, tmp_path: Path, options: list[str], parts: list[str]
) -> None:
    outcome = postsense("train", posts_file, "--out", tmp_path / "run", *QUICK, *options)
    assert_refused(outcome, *parts)


@pytest.mark.parametrize("name", ["absent.jsonl", "absent.parquet", "picture.png"])
def test_a_table_that_is_none_is_refused(postsense: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    assert_refused(postsense("check", tmp_path / name), name)
    assert_refused(postsense("train", tmp_path / name, "--out", tmp_path / "run"), name)


def test_too_many_missing_pictures_are_refused(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    table = write([{**row, "image": f"lost-{row['id']}.png"} for row in post_rows])
    found = ["at most 5% unusable rows", "45 of 45", "lost-p0.png", "raise data.max_bad_fraction"]
    assert_refused(postsense("train", table, "--out", tmp_path / "run"), *found)
    out = tmp_path / "out.csv"
    assert_refused(postsense("predict", trained_run, table, "--out", out), *found)
    assert not out.exists()


@pytest.mark.parametrize("name", ["out.txt", "out"])
def test_predictions_in_an_unknown_format_are_refused(
    postsense: Any, trained_run: Path, posts_file: Path, tmp_path: Path, name: str
) -> None:
    outcome = postsense("predict", trained_run, posts_file, "--out", tmp_path / name)
    assert_refused(outcome, name, "a name that ends in one of ['.csv', '.jsonl', '.parquet']")


def test_other_settings_for_an_old_run_are_refused(
    postsense: Any, trained_run: Path, posts_file: Path
) -> None:
    outcome = postsense("train", posts_file, "--out", trained_run, *QUICK)
    assert_refused(outcome, "fusion.name = 'concat'", "Choose another --out")


@pytest.mark.parametrize("verb", ["evaluate", "predict", "compare"])
def test_what_is_no_run_is_refused(
    postsense: Any, posts_file: Path, tmp_path: Path, verb: str
) -> None:
    more = [] if verb == "compare" else [posts_file]
    more += ["--out", tmp_path / "out.csv"] if verb == "predict" else []
    assert_refused(postsense(verb, tmp_path / "no-run", *more), "no-run: expected a run folder")


@pytest.mark.parametrize("file", ["model.json", "weights.safetensors"])
def test_a_damaged_model_is_refused(
    postsense: Any, trained_run: Path, posts_file: Path, tmp_path: Path, file: str
) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    damaged = run / "seed-1" / "model" / file
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert_refused(postsense("evaluate", run, posts_file), str(damaged))


def test_a_place_that_cannot_be_written_is_refused(
    postsense: Any, trained_run: Path, posts_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / "out.csv"
    assert_refused(postsense("predict", trained_run, posts_file, "--out", out), str(tmp_path))
    outcome = postsense("train", posts_file, "--out", tmp_path / "file", *QUICK)
    assert_refused(outcome, str(tmp_path / "file"))


def test_a_label_with_a_line_break_does_not_break_the_line(
    postsense: Any, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    table = write([{**row, "label": "one\nclass"} for row in post_rows])
    assert_refused(postsense("train", table, "--out", tmp_path / "run", *QUICK), "two classes")


def test_labels_and_folders_with_brackets_are_printed_as_they_are(
    postsense: Any, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    rows = [{**row, "label": f"[/{row['label']}]"} for row in post_rows]
    out = tmp_path / "run [bold] :smile:"
    outcome = postsense("train", write(rows), "--out", out, *QUICK)
    assert (outcome.code, outcome.err) == (0, "")
    assert "[/negative], [/neutral], [/positive]" in outcome.out
    assert f"run in {out}" in outcome.out
    assert "[/neutral]" in postsense("evaluate", out, write(rows)).out


@pytest.mark.parametrize(
    "arguments", [["train"], ["fly"], ["train", "x.csv", "--out", "y", "--seeds", "0"]]
)
def test_a_command_line_that_cannot_be_read_has_exit_code_2(
    postsense: Any, arguments: list[str]
) -> None:
    outcome = postsense(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage" in outcome.err


HEAVY = "{'torch', 'transformers', 'sklearn', 'pyarrow', 'numpy', 'onnxruntime'}"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['postsense', *{arguments}]\n"
        "from postsense.cli import main\n"
        f"try: main()\nexcept SystemExit: pass\nprint(sorted({HEAVY} & set(sys.modules)))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - start < 5


def test_the_package_runs_as_a_module_and_exits_with_2() -> None:
    command = [sys.executable, "-m", "postsense", "check", "absent.csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: absent.csv: expected a table, found no such file. Check the path.\n"
    )
