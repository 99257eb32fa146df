"""macOS and Windows lack much that Linux has; postsense works without it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest

from fresh_process import run_verbs
from other_systems import POSIX_NAMES
from postsense.files.atomic import replacing
from postsense.parallel.processes import available_cores

QUICK = ("--set", "training.epochs=1", "--set", "training.batch_size=16")
KEEP = ("--keep-without-comments", "--language", "any")
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}  # as narrow as can be
PREPARE = "from other_systems import become_windows\nbecome_windows()"


@dataclass(frozen=True)
class Windows:
    """What some verbs left and printed where postsense finds no more than Windows has."""

    folder: Path
    lines: list[str]


@pytest.fixture(scope="module")
def windows(
    tmp_path_factory: pytest.TempPathFactory, post_rows: list[dict[str, Any]], cache: Path
) -> Windows:
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc to know which files are open")
    folder = tmp_path_factory.mktemp("windows")
    table, ids, corpus = folder / "posts.jsonl", folder / "ids.txt", folder / "corpus"
    rows = [{**row, "text": f"{row['text']} größer 🎉 雨"} for row in post_rows]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    table.write_text("".join(lines), encoding="utf-8")
    ids.write_text("p0\np1\n", encoding="utf-8")
    ask = ("predict", folder / "run", table, "--out", folder / "labels.csv")
    verbs: list[tuple[object, ...]] = [
        ("train", table, "--out", folder / "run", *QUICK),
        ("evaluate", folder / "run", table),
        ask,
        ask,  # in place of what is there
        ("corpus", "build", table, "--out", corpus, *KEEP),
        ("corpus", "remove", corpus, "--ids", ids),
        ("corpus", "compact", corpus),
        ("corpus", "index", corpus),
        ("corpus", "search", corpus, "rain"),
    ]
    done = run_verbs(verbs, prepare=PREPARE, environment={**os.environ, **ASCII})
    assert done.returncode == 0, done.stderr
    return Windows(folder, done.stdout.splitlines())


@pytest.mark.slow
def test_a_run_is_trained_and_asked_twice(windows: Windows) -> None:
    assert windows.lines.count(f"45 predictions in {windows.folder / 'labels.csv'}") == 2
    ids = pyarrow.csv.read_csv(windows.folder / "labels.csv")["id"].to_pylist()
    assert ids == [f"p{number}" for number in range(45)]


@pytest.mark.slow
def test_a_character_that_a_console_lacks_is_shown_by_its_number(windows: Windows) -> None:
    assert any("\\u2192 negative" in line for line in windows.lines)  # an arrow
    assert any("gr\\xf6\\xdfer \\U0001f389 \\u96e8" in line for line in windows.lines)


@pytest.mark.slow
def test_what_was_removed_from_a_corpus_is_off_the_disk(windows: Windows) -> None:
    from postsense.corpus.reading import open_corpus

    assert len(open_corpus(windows.folder / "corpus")) == 43
    shards = windows.folder.glob("corpus/vectors/[0-9]*")
    assert [shard.name.split("-")[0] for shard in shards] == ["0" * 12]


def test_cores_are_counted_where_no_affinity_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert available_cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def test_a_file_is_replaced_where_no_folder_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in POSIX_NAMES["os"] & set(dir(os)):
        monkeypatch.delattr(os, name)
    with replacing(tmp_path / "x.txt") as temporary:
        temporary.write_text("whole", encoding="utf-8")
    assert (tmp_path / "x.txt").read_text(encoding="utf-8") == "whole"


@pytest.mark.slow
def test_json_is_utf_8_wherever_it_goes_and_a_name_in_no_encoding_is_numbers(
    tmp_path: Path,
) -> None:
    table = tmp_path / "posts.jsonl"
    rows = [{"text": f"a {name} text", "label": name} for name in ("größer", "雨")]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    absent = tmp_path / os.fsdecode(b"absent-\xff.csv")
    verbs: list[tuple[object, ...]] = [("check", table, "--json"), ("check", absent)]

    done = run_verbs(verbs, environment={**os.environ, **ASCII})

    assert {"größer", "雨"} <= set(json.loads(done.stdout)["labels"]["no split"])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "absent-\\xff.csv" in done.stderr
