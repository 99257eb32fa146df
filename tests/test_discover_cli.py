"""`postsense discover`: what it prints, what it writes and what it refuses in one line."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

Rows = list[dict[str, Any]]
THREE = ("--clusters", 3, "--set", "training.device=cpu")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, post_rows: Rows) -> Path:
    """The 45 posts without labels, but for a column with those of four."""
    file = tmp_path_factory.mktemp("unlabeled") / "posts.jsonl"
    rows = [{name: row[name] for name in ("id", "text", "image")} for row in post_rows]
    few = {number: {"few": {"topic": post_rows[number]["label"]}} for number in range(4)}
    rows = [{**row, **few.get(number, {})} for number, row in enumerate(rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_discover_prints_the_groups_and_where_the_page_is(
    postsense: Any, table: Path, tmp_path: Path
) -> None:
    outcome = postsense("discover", table, "--out", tmp_path / "run", *THREE)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["group", "posts", "name", "words"]
    assert [line.split()[:4] for line in lines[1:4]] == [
        [str(number), "15", "group", str(number)] for number in (1, 2, 3)
    ]
    assert lines[4:] == [f"page in {tmp_path / 'run' / 'index.html'}"]


def test_discovered_groups_are_named_and_predicted(
    postsense: Any, table: Path, tmp_path: Path
) -> None:
    command = ["discover", table, "--out", tmp_path / "run", *THREE]
    postsense(*command)
    outcome = postsense(*command, "--labels", "few.topic", "--name", "3= my own ")
    assert "4 of 4 labelled posts have their group's label" in outcome.out
    assert "my own" in outcome.out
    predicted = postsense("predict", tmp_path / "run", table, "--out", tmp_path / "p.csv")
    assert (predicted.code, predicted.err) == (0, "")
    with (tmp_path / "p.csv").open() as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    named = {group["name"] for group in json.loads(_groups(tmp_path))["groups"]}
    assert set(labels) == named
    assert "my own" in named


def test_a_column_of_labels_that_the_table_has_is_not_looked_at(
    postsense: Any, table: Path, posts_file: Path, tmp_path: Path
) -> None:
    postsense("discover", table, "--out", tmp_path / "a" / "run", *THREE)
    postsense("discover", posts_file, "--out", tmp_path / "b" / "run", *THREE)
    assert _groups(tmp_path / "a") == _groups(tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--clusters", 1], ["clustering.clusters = 1", "greater than or equal to 2"]),
        (["--clusters", 46], ["at least 46 different posts", "found 45 in 45 usable posts"]),
        (["--clusters", 3, "--algorithm", "dbscan"], ["clustering.algorithm = 'dbscan'"]),
        (["--clusters", 3, "--name", "9=x"], ["--name '9=x'", "from 1 to 3"]),
        (["--clusters", 3, "--name", "1="], ["--name '1='", "a name"]),
        (["--clusters", 3, "--name", "1=a", "--name", "1=b"], ["one name for group 1"]),
        (["--clusters", 3, "--labels", "fewer"], ["a column 'fewer' for label"]),
        (["--clusters", 3, "--set", "fusion.name=co_memory"], ["fusion"]),
    ],
)
def test_discover_refuses_in_one_line(
    postsense: Any, table: Path, tmp_path: Path, options: list[Any], parts: list[str]
) -> None:
    outcome = postsense("discover", table, "--out", tmp_path / "run", *options)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith("error: ")
    assert all(part in outcome.err for part in parts)
    assert not (tmp_path / "run").exists()


def test_groups_are_not_compared_with_runs(postsense: Any, table: Path, tmp_path: Path) -> None:
    postsense("discover", table, "--out", tmp_path / "run", *THREE)
    outcome = postsense("compare", tmp_path / "run")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "found one without labels, as of 'discover'" in outcome.err


def _groups(folder: Path) -> str:
    return (folder / "run" / "groups.json").read_text()
