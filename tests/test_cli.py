"""The command line: every verb, and one line with exit code 2 for what a user can mend."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
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
    assert (report["split"], report["posts"]) == ("all", 9)  # those that the run has not seen
    assert report["seen"]["left_out"] == 36


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


@pytest.mark.parametrize(
    "name", ["thesis.tex", "posts/notes.txt", "posts/images/me.jpg", "predictions.csv"]
)
def test_demo_leaves_a_folder_of_the_users_alone(postsense: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("precious")
    outcome = postsense("demo", "--out", tmp_path)
    assert_refused(outcome, "expected a new folder, or one of a demo", f"['{name}'] in it")
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == [tmp_path / name]


@pytest.mark.parametrize("verb", ["predict", "combine"])
def test_predictions_are_not_written_over_what_is_read(
    postsense: Any, trained_run: Path, posts_file: Path, verb: str
) -> None:
    runs = [trained_run] * (2 if verb == "combine" else 1)
    for out in (posts_file, trained_run / "seed-0" / "predictions.parquet"):
        before = out.read_bytes()
        outcome = postsense(verb, *runs, posts_file, "--out", out)
        assert_refused(outcome, "expected another file than those that are read")
        assert out.read_bytes() == before


def test_a_delimiter_that_was_guessed_is_named(
    postsense: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "posts.csv").write_text("id;text;label\n1;a, b;x\n2;c;y\n")
    outcome = postsense("check", tmp_path / "posts.csv", "--json")
    assert json.loads(outcome.out)["labels"] == {"no split": {"x": 1, "y": 1}}
    assert "posts.csv: cells are parted by semicolons" in caplog.text
    refused = postsense("check", tmp_path / "posts.csv", "--set", "data.delimiter=;;")
    assert_refused(refused, "data.delimiter = ';;'")


@pytest.mark.parametrize("command", ["check", "predict"])
def test_pictures_may_lie_in_a_folder_of_their_own(
    command: str, postsense: Any, trained_run: Path, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    images = Path(post_rows[0]["image"]).parent
    rows = [{**row, "image": f"C:\\posts\\{Path(row['image']).name}"} for row in post_rows]
    arguments = [write(rows), "--images", images]
    if command == "predict":
        arguments = [trained_run, *arguments, "--out", tmp_path / "out.jsonl"]
    outcome = postsense(command, *arguments)
    assert outcome.code == 0, outcome
    assert "could not be used" not in outcome.out
    if command == "check":
        assert "pictures: missing 0, broken 0" in outcome.out


def test_predictions_of_pictures_inside_the_table_are_those_of_their_files(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    rows = post_rows[:5]
    inside = [{**row, "image": {"bytes": Path(row["image"]).read_bytes()}} for row in rows]
    pq.write_table(pa.Table.from_pylist(inside), tmp_path / "inside.parquet")
    for table, out in ((write(rows), "a.jsonl"), (tmp_path / "inside.parquet", "b.jsonl")):
        assert postsense("predict", trained_run, table, "--out", tmp_path / out).code == 0
    assert read_rows(tmp_path / "a.jsonl") == read_rows(tmp_path / "b.jsonl")


def test_settings_from_a_device_are_refused(postsense: Any, write: Any, tmp_path: Path) -> None:
    arguments = ("train", write([]), "--out", tmp_path / "run", "--config", "/dev/zero")
    assert_refused(postsense(*arguments), "/dev/zero: expected a TOML file, found neither a file")


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
    assert_refused(
        postsense("train", table, "--preset", "concat", "--out", tmp_path / "run"), *found
    )
    outcome = postsense("predict", trained_run, table, "--out", tmp_path / "out.jsonl")
    assert outcome.code == 0
    assert "45 of 45 posts could not be used" in outcome.out
    labels = [row["label"] for row in read_rows(tmp_path / "out.jsonl")]
    assert labels == [None] * 45
    outcome = postsense("evaluate", trained_run, table)
    assert_refused(outcome, "at least one post that can be read", "lost-p12.png")


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
        "from postsense.commands.main import main\n"
        f"try: main()\nexcept SystemExit: pass\nprint(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_runs_as_a_module_and_exits_with_2() -> None:
    command = [sys.executable, "-m", "postsense", "check", "absent.csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: absent.csv: expected a table, found no such file. Check the path.\n"
    )


def test_evaluate_refuses_a_table_of_which_all_was_seen(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any
) -> None:
    rows = [{**row, "id": f"new {row['id']}", "split": None} for row in post_rows]
    trained = write([row for row, old in zip(rows, post_rows) if old["split"] == "train"])
    outcome = postsense("evaluate", trained_run, trained)
    assert_refused(outcome, "found 27 that it was trained on and 0 that selected", "add --seen")
    measured = postsense("evaluate", trained_run, trained, "--seen")
    assert "27 were trained on, and are measured all the same" in measured.out


def test_evaluate_measures_what_is_left(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any
) -> None:
    table = write([{**row, "id": None, "split": None, "year": 2020} for row in post_rows])
    outcome = postsense("evaluate", trained_run, table, "--by", "year")
    assert (
        "27 were trained on and 9 selected what was kept; the other 9 are measured" in outcome.out
    )
    report = json.loads(postsense("evaluate", trained_run, table, "--by=year", "--json").out)
    test = [row for row in post_rows if row["split"] == "test"]
    alone = json.loads(postsense("evaluate", trained_run, write(test), "--json").out)
    assert report["confusion"] == alone["confusion"] == report["by"]["groups"][0]["confusion"]


def test_evaluate_notices_test_posts_that_were_trained_on(
    postsense: Any, trained_run: Path, post_rows: Rows, write: Any
) -> None:
    leaked = {**post_rows[0], "id": "leaked", "split": "test"}
    report = json.loads(
        postsense("evaluate", trained_run, write([*post_rows, leaked]), "--json").out
    )
    assert report["posts"] == 10
    assert report["seen"] == {"posts": 10, "trained": 1, "selected": 0, "grouped": 0, "left_out": 0}


def test_a_run_of_before_says_that_what_it_saw_is_not_known(
    postsense: Any, trained_run: Path, posts_file: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(trained_run / "seed-0" / "model", tmp_path / "model")
    (model / "seen.safetensors").unlink()
    description = json.loads((model / "model.json").read_text())
    for key in ("files", "sha256", "label_kind"):
        del description[key]
    (model / "model.json").write_text(json.dumps(description))
    assert "is not known: an earlier version" in postsense("evaluate", model, posts_file).out
    assert json.loads(postsense("evaluate", model, posts_file, "--json").out)["seen"] is None


def test_train_and_check_name_what_looks_wrong(
    postsense: Any,
    post_rows: Rows,
    write: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [{**row, "split": row["split"].replace("val", "fold 1")} for row in post_rows]
    rows[0] = {**rows[0], "label": "Negative"}
    rows[1] = {**rows[1], "text": "NaN"}
    found = ("9 of 45 posts are in splits 'fold 1' (9)", "'Negative' (1) and 'negative' (14)")
    trained = postsense("train", write(rows), "--out", tmp_path / "run", *QUICK)
    checked = postsense("check", write(rows))
    for part in (*found, "texts that are a word for nothing: 'NaN' (1)"):
        assert part in trained.out and part in checked.out and part in caplog.text
    assert "val, drawn from train, has no post of 'Negative' (1 in train), and" in trained.out


def test_the_positive_class_is_a_setting_and_stands_in_the_output(
    postsense: Any, post_rows: Rows, write: Any, tmp_path: Path
) -> None:
    table = write([row for row in post_rows if row["label"] != "neutral"])
    options = ["--out", tmp_path / "run", *QUICK, "--set", "data.positive_class=negative"]
    assert "test, positive class 'negative': precision" in postsense("train", table, *options).out
    metrics = json.loads((tmp_path / "run" / "seed-0" / "metrics.json").read_text())
    named = json.loads(postsense("evaluate", tmp_path / "run", table, "--json").out)["binary"]
    assert metrics["test"]["binary"] == named
    assert named == {"positive_class": "negative", **without_posts(metrics["test"], "negative")}
    other = ["--json", "--positive-class", "Positive"]
    later = json.loads(postsense("evaluate", tmp_path / "run", table, *other).out)["binary"]
    assert later == {"positive_class": "positive", **without_posts(metrics["test"], "positive")}
    wrong = postsense("evaluate", tmp_path / "run", table, "--positive-class", "positiv")
    assert_refused(wrong, "expected a class among", "Did you mean 'positive'?")


def without_posts(metrics: dict[str, Any], name: str) -> dict[str, float]:
    return {key: value for key, value in metrics["per_class"][name].items() if key != "posts"}


def test_an_unknown_positive_class_is_refused_before_training(
    postsense: Any, posts_file: Path, tmp_path: Path
) -> None:
    unknown = ["--set", "data.positive_class=hateful"]
    outcome = postsense("train", posts_file, "--out", tmp_path / "run", *QUICK, *unknown)
    assert_refused(outcome, "data.positive_class: expected a class among", "found 'hateful'")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl", "out.csv"])
def test_written_labels_are_of_their_kind(
    postsense: Any, post_rows: Rows, write: Any, tmp_path: Path, name: str
) -> None:
    table = write([{**row, "label": row["label"] == "positive"} for row in post_rows])
    postsense("train", table, "--out", tmp_path / "run", *QUICK)
    assert postsense("predict", tmp_path / "run", table, "--out", tmp_path / name).code == 0
    if name == "out.parquet":
        labels = pq.read_table(tmp_path / name)["label"].to_pylist()
    elif name == "out.jsonl":
        labels = [row["label"] for row in read_rows(tmp_path / name)]
    else:
        rows = csv.DictReader((tmp_path / name).read_text().splitlines())
        labels = [{"True": True, "False": False}[row["label"]] for row in rows]
    assert labels[:3] == [False, False, True]
    compared = json.loads(postsense("compare", tmp_path / "run", "--json").out)
    metrics = json.loads((tmp_path / "run" / "seed-0" / "metrics.json").read_text())
    assert compared["runs"][0]["accuracy"]["mean"] == metrics["test"]["accuracy"]


HOSTILE = "[b]x[/b]\x1b[2J\x1b]52;c;aGk=\x07\x9b\u202e\r\x7f"
AGAIN = [
    *("--set", "training.epochs=1"),
    *("--set", "training.device=cpu"),
    *("--set", "data.max_bad_fraction=1"),
]
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table whose ids, labels, texts, columns and name hold control characters, and a run."""
    from postsense.config.loading import load_config
    from postsense.data.loading import load_posts
    from postsense.runs.training import train_run

    folder, splits = tmp_path_factory.mktemp("hostile"), ("train", "train", "train", "val", "test")
    rows = [
        {
            **{"id": f"{number}{HOSTILE}", "text": f"{number} {HOSTILE}" if number else None},
            **{"label": f"{number % 2}{HOSTILE}", "split": splits[number // 2 % 5]},
            HOSTILE: f"{number % 2}{HOSTILE}",
        }
        for number in range(20)
    ]
    table = folder / "t\x1b[2J.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    quick = {"training.epochs": 1, "training.device": "cpu", "data.max_bad_fraction": 1}
    config = load_config("text-only", values=quick)
    train_run(load_posts(table), config, folder / "run\x1b[2J")
    return table, folder / "run\x1b[2J"


@pytest.mark.parametrize(
    "words",
    [
        ["check", "TABLE"],
        ["check", "TABLE", "--json"],
        ["train", "TABLE", "--out", "RUN", "--preset", "text-only", *AGAIN],
        ["evaluate", "RUN", "TABLE", "--by", HOSTILE],
        ["evaluate", "RUN", "TABLE", "--json"],
        ["predict", "RUN", "TABLE", "--out", "OUT"],
        ["compare", "RUN", "RUN", "--by", HOSTILE, "--table", "TABLE"],
        ["compare", "RUN", "RUN", "--json"],
    ],
)
def test_no_control_character_of_a_table_reaches_the_terminal(
    postsense: Any, hostile: tuple[Path, Path], tmp_path: Path, words: list[str]
) -> None:
    table, run = hostile
    places = {"TABLE": table, "RUN": run, "OUT": tmp_path / "o\x1b[2J.csv"}
    outcome = postsense(*[places.get(word, word) for word in words])
    assert outcome.code == 0
    assert not UNPRINTABLE.search(outcome.out + outcome.err)
    assert r"\x1b[2J" in outcome.out or r"\u001b[2J" in outcome.out


@pytest.mark.parametrize(
    "words",
    [
        ["check", f"{HOSTILE}.csv"],
        ["check", "TABLE", "--label", f"{HOSTILE}y"],
        ["predict", HOSTILE, "TABLE", "--out", "x.csv"],
        ["predict", "RUN", "TABLE", "--out", HOSTILE],
        ["evaluate", "RUN", "TABLE", "--by", f"{HOSTILE}y"],
        ["check", "TABLE", HOSTILE],
        [HOSTILE],
        ["check", "TABLE", f"--{HOSTILE}"],
        ["train", "TABLE", "--out", "x", "--preset", HOSTILE],
        ["corpus", "stats", HOSTILE],
        ["corpus", HOSTILE],
    ],
)
def test_an_error_shows_control_characters_as_such(
    postsense: Any, hostile: tuple[Path, Path], words: list[str]
) -> None:
    places = dict(zip(("TABLE", "RUN"), hostile, strict=True))
    outcome = postsense(*[places.get(word, word) for word in words])
    assert (outcome.code, outcome.out) == (2, "")
    assert not UNPRINTABLE.search(outcome.err)
    assert r"\x1b[2J" in outcome.err


def test_the_version_is_told(postsense: Any) -> None:
    outcome = postsense("--version")
    assert (outcome.code, outcome.out) == (0, f"postsense {version('postsense')}\n")
