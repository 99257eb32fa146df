"""`relabel` and `combine` on the command line: files written, metrics said, one-line refusals."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.evaluation import task_pairs
from postsense.evaluation.task_pairs import pair_metrics, pair_tasks
from postsense.inputs.preparation import PreparedPosts
from postsense.posts import Posts
from postsense.prediction.classifier import average_predictions, prepare_new
from postsense.runs.training import load_run, train_run

Rows = list[dict[str, Any]]
Runs = tuple[Path, Path]


@pytest.fixture(scope="module")
def two_tasks(post_rows: Rows) -> Rows:
    """The 45 posts: is the mood good, from the label, and is the number odd."""
    return [
        {**row, "labels": {"mood": f"{row['label'] == 'positive'}", "odd": ["even", "odd"][n % 2]}}
        for n, row in enumerate(post_rows)
    ]


@pytest.fixture(scope="module")
def runs(two_tasks: Rows, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run on the words with two seeds, and one on the pictures. Not to be changed."""
    folder = tmp_path_factory.mktemp("tasks")
    for label, preset, seeds in (("mood", "text-only", 2), ("odd", "image-only", 1)):
        values = {"training.epochs": 3, "training.learning_rate": 0.01, "training.device": "cpu"}
        config = load_config(preset, values={**values, "data.columns.label": f"labels.{label}"})
        posts = load_posts(two_tasks, config.data.columns)
        train_run(posts, config, folder / label, seeds=seeds)
    return folder / "mood", folder / "odd"


def write(file: Path, rows: Rows) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def assert_refused(outcome: Any, *parts: str) -> None:
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    for part in parts:
        assert part in outcome.err


def test_combine_writes_the_pair_and_measures_all_three(
    postsense: Any, runs: Runs, two_tasks: Rows, tmp_path: Path
) -> None:
    table, out = write(tmp_path / "posts.jsonl", two_tasks), tmp_path / "pairs.csv"
    outcome = postsense("combine", *runs, table, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("split test, 9 posts") == 3
    predictions = [average_predictions(load_run(run), load_posts(table)) for run in runs]
    rows, pair = read_csv(out), pair_tasks(*predictions)
    assert [row["label"] for row in rows] == pair.labels
    assert list(rows[0]) == ["id", "label", *(f"prob_{name}" for name in pair.classes)]
    assert "45 predictions in" in outcome.out


def test_combine_prints_the_metrics_as_one_json_object(
    postsense: Any, runs: Runs, two_tasks: Rows, tmp_path: Path
) -> None:
    table = write(tmp_path / "posts.jsonl", two_tasks)
    command = ["combine", *runs, table, "--out", tmp_path / "pairs.csv", "--split", "val"]
    report = json.loads(postsense(*command, "--json").out)
    held_out = [row for row in two_tasks if row["split"] == "val"]
    predictions = [average_predictions(load_run(run), load_posts(held_out)) for run in runs]
    labels = [[row["labels"][name] for row in held_out] for name in ("mood", "odd")]
    metrics = vars(pair_metrics(predictions[0], predictions[1], *labels))
    assert (report["split"], report["posts"], report["bad_rows"]) == ("val", 45, 0)
    for part in ("first", "second", "pair"):
        assert report[part]["weighted_f1"] == pytest.approx(metrics[part]["weighted_f1"])
        assert report[part]["confusion"] == metrics[part]["confusion"]


def test_combine_without_labels_only_predicts(
    postsense: Any, runs: Runs, post_rows: Rows, tmp_path: Path
) -> None:
    table = write(tmp_path / "posts.jsonl", post_rows[:6])
    outcome = postsense("combine", *runs, table, "--out", tmp_path / "pairs.jsonl")
    assert (outcome.code, outcome.err) == (0, "")
    assert "nothing was measured" in outcome.out
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 6


def test_combine_counts_a_post_that_one_run_cannot_read(
    postsense: Any, runs: Runs, two_tasks: Rows, tmp_path: Path
) -> None:
    rows = [{**row, "image": "lost.png"} if n == 12 else row for n, row in enumerate(two_tasks)]
    table, out = write(tmp_path / "posts.jsonl", rows), tmp_path / "pairs.csv"
    outcome = postsense("combine", *runs, table, "--out", out)
    assert outcome.out.count("split test, 8 posts") == 3
    assert "1 of 45 posts could not be used" in outcome.out
    assert [row["id"] for row in read_csv(out) if not row["label"]] == ["p12"]
    assert '"p12"' in (tmp_path / "pairs.csv.bad_rows.jsonl").read_text()


def test_combine_measures_on_posts_that_are_in_the_split_of_both_runs(
    postsense: Any, runs: Runs, two_tasks: Rows, tmp_path: Path
) -> None:
    values = {"data.columns.label": "labels.odd", "data.columns.split": "other"}
    config = load_config("image-only", values={**values, "training.epochs": 1})
    swapped = {"train": "train", "val": "test", "test": "train"}
    rows = [{**row, "other": swapped[row["split"]]} for row in two_tasks]
    rows = [{**row, "other": "test"} if row["id"] in ("p12", "p13") else row for row in rows]
    train_run(load_posts(rows, config.data.columns), config, tmp_path / "other")
    table = write(tmp_path / "posts.jsonl", rows)
    command = ["combine", runs[0], tmp_path / "other", table, "--out", tmp_path / "pairs.csv"]
    assert json.loads(postsense(*command, "--json").out)["pair"]["posts"] == 2


@pytest.mark.parametrize(("labeled", "count"), [(True, 18), (False, None)])
def test_posts_that_combine_measures_on_lend_comments_to_nobody(
    postsense: Any, runs: Runs, two_tasks: Rows, tmp_path: Path, labeled: bool, count: int | None
) -> None:
    rows = [{**row, "labels": row["labels"] if labeled else None} for row in two_tasks]
    table, held_out = write(tmp_path / "posts.jsonl", rows), []
    with pytest.MonkeyPatch.context() as patch:

        def watched(posts: Posts, config: Config, progress: Any, **options: Any) -> PreparedPosts:
            held_out.append(options["held_out"])
            return prepare_new(posts, config, progress, **options)

        patch.setattr(task_pairs, "prepare_new", watched)
        assert postsense("combine", *runs, table, "--out", tmp_path / "pairs.csv").code == 0
    assert [None if one is None else len(one) for one in held_out] == [count] * 2
    assert {post.split for one in held_out if one is not None for post in one} <= {"val", "test"}


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--split", "dev2"], ["posts with both labels in split 'dev2'", "['test', 'train'"]),
        (["--label-b", "labels.mood"], ["a label among ['even', 'odd']", "--label-b"]),
        (["--label-a", "labels.moot"], ["a column 'labels.moot'"]),
        (["--out", "pairs.txt"], ["pairs.txt", "'.txt'"]),
    ],
)
def test_combine_says_in_one_line_what_cannot_be_done(
    postsense: Any, runs: Runs, two_tasks: Rows, tmp_path: Path, options: Any, parts: Any
) -> None:
    table, out = write(tmp_path / "posts.jsonl", two_tasks), tmp_path / "pairs.csv"
    assert_refused(postsense("combine", *runs, table, "--out", out, *options), *parts)
    assert not out.exists()


def test_combine_refuses_a_table_with_a_post_twice(
    postsense: Any, runs: Runs, two_tasks: Rows, tmp_path: Path
) -> None:
    table = write(tmp_path / "posts.jsonl", [*two_tasks, two_tasks[3]])
    outcome = postsense("combine", *runs, table, "--out", tmp_path / "pairs.csv")
    assert_refused(outcome, "expected unique ids", "'p3'")


@pytest.mark.parametrize(("options", "left"), [([], 2), (["--drop"], 1)])
def test_relabel_writes_a_table_with_other_labels_or_fewer_posts(
    postsense: Any, tmp_path: Path, options: list[str], left: int
) -> None:
    rows = [{"id": f"{n}", "text": "x", "t": "0", "i": n, "name": f"n{n}"} for n in range(2)]
    table, out = write(tmp_path / "posts.jsonl", rows), tmp_path / "new.jsonl"
    (tmp_path / "changes.txt").write_text("00->01: 0\n")
    command = ["relabel", table, tmp_path / "changes.txt", "--out", out, "--text-label", "t"]
    outcome = postsense(*command, "--image-label", "i", "--joint", "name", *options)
    assert (outcome.code, outcome.err) == (0, "")
    done = "left out" if options else "relabelled"
    assert outcome.out == f"1 posts {done}; {left} posts in {out}\n"
    new = [json.loads(line) for line in out.read_text().splitlines()]
    assert new == [{**rows[0], "i": 1, "name": "n1"}, rows[1]][-left:]


def test_relabel_makes_the_named_paths_absolute(postsense: Any, tmp_path: Path) -> None:
    row = {"t": 0, "i": 0, "photo": "a.jpg", "image": "b.jpg"}
    table, out = write(tmp_path / "posts.jsonl", [row]), tmp_path / "new" / "posts.jsonl"
    (tmp_path / "changes.txt").write_text("00->10: 0\n")
    columns = ["--text-label", "t", "--image-label", "i", "--path", "photo"]
    outcome = postsense("relabel", table, tmp_path / "changes.txt", "--out", out, *columns)
    assert outcome.code == 0
    assert json.loads(out.read_text()) == {**row, "t": 1, "photo": str(tmp_path / "a.jpg")}


def test_relabel_says_in_one_line_what_cannot_be_done(postsense: Any, tmp_path: Path) -> None:
    table = write(tmp_path / "posts.jsonl", [{"id": "a", "text": "x"}])
    (tmp_path / "changes.txt").write_text("00->01: 0\n")
    outcome = postsense("relabel", table, tmp_path / "changes.txt", "--out", tmp_path / "n.jsonl")
    assert_refused(outcome, "a column 'labels.text_is_represented'", "no such column")
