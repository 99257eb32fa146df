"""Predictions on disk: three formats that hold the same, written whole or not at all."""

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense.data.bad_rows import BadRow
from postsense.data.writing import (
    check_suffix,
    refuse_unfit_output,
    write_bad_rows,
    write_bad_rows_beside,
    write_table,
)
from postsense.errors import DataError

ROWS = [
    {"id": "a,1", "label": 'say "yes"', "prob": 0.25},
    {"id": "b\n2", "label": None, "prob": None},
    {"id": "c ü😂", "label": "no", "prob": 1.0},
]


def test_jsonl_holds_every_row(tmp_path: Path) -> None:
    write_table(pa.Table.from_pylist(ROWS), tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    assert "😂" in lines[2]


def test_parquet_holds_every_row(tmp_path: Path) -> None:
    write_table(pa.Table.from_pylist(ROWS), tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == ROWS


def test_csv_holds_every_row(tmp_path: Path) -> None:
    write_table(pa.Table.from_pylist(ROWS), tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert frame["id"].tolist() == [row["id"] for row in ROWS]
    assert frame["label"].isna().tolist() == [False, True, False]
    assert frame["prob"].iloc[0] == 0.25


def test_nan_becomes_null_in_jsonl(tmp_path: Path) -> None:
    write_table(pa.table({"prob": pa.array([float("nan")])}), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == '{"prob": null}\n'


@pytest.mark.parametrize("name", ["out.txt", "out", "out.json", "out.CSV"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"a name that ends in one of \['.csv', '.jsonl', '.parq"):
        check_suffix(tmp_path / name)
    with pytest.raises(DataError):
        write_table(pa.table({"id": ["a"]}), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    write_table(pa.table({"id": ["a"]}), file)
    with pytest.raises(pa.ArrowInvalid):
        write_table(pa.table({"id": pa.array([b"x"], pa.binary_view())}), file)  # no cell of CSV
    assert file.read_text() == '"id"\n"a"\n'
    assert list(tmp_path.iterdir()) == [file]


def test_lists_are_written_to_csv_as_json(tmp_path: Path) -> None:
    hints = [[{"comment": 'ugh, "rain"', "weight": 0.5}], None]
    write_table(pa.table({"id": ["a", "b"], "hints": hints}), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert json.loads(rows[0]["hints"]) == hints[0]
    assert rows[1]["hints"] == ""


def test_bad_rows_are_listed_with_their_reasons(tmp_path: Path) -> None:
    bad = [BadRow("ü", "expected a picture, found 'x'"), BadRow("b", "no\nfile")]
    write_bad_rows(bad, tmp_path / "bad.jsonl")
    lines = (tmp_path / "bad.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [vars(row) for row in bad]


@pytest.mark.parametrize("name", ["posts.jsonl", "link.jsonl", "./posts.jsonl", "folder/m.jsonl"])
def test_a_file_that_is_read_is_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    for file in (tmp_path / "posts.jsonl", tmp_path / "folder" / "m.jsonl"):
        file.write_text("precious")
    (tmp_path / "link.jsonl").hardlink_to(tmp_path / "posts.jsonl")
    read = [tmp_path / "post*.jsonl", tmp_path / "folder"]
    with pytest.raises(DataError, match="another file than those that are read"):
        refuse_unfit_output(tmp_path / name, read)


def test_a_file_of_before_is_written_over(tmp_path: Path) -> None:
    for name in ("posts.jsonl", "out.jsonl"):
        (tmp_path / name).write_text("{}\n")
    write_bad_rows([BadRow("a", "no picture")], tmp_path / "out.jsonl.bad_rows.jsonl")
    refuse_unfit_output(tmp_path / "out.jsonl", [tmp_path / "posts.jsonl"])
    write_bad_rows_beside(tmp_path / "out.jsonl", [])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out.jsonl", "posts.jsonl"]


@pytest.mark.parametrize("text", ['{"id": "1", "text": "mine"}\n', "mine", "[1]\n"])
def test_a_file_of_the_users_where_bad_rows_would_go_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "out.csv.bad_rows.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"out.csv.bad_rows.jsonl: expected a list of bad rows"):
        refuse_unfit_output(tmp_path / "out.csv", [])
    write_bad_rows_beside(tmp_path / "out.csv", [])
    assert (tmp_path / "out.csv.bad_rows.jsonl").read_text() == text


def test_csv_for_spreadsheets_holds_no_formula_and_the_same_numbers(tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1", "a=1", "", None, "'=1"]
    numbers = [-0.5, *[1.0] * 10]
    table = pa.table({"label": texts, "prob_a": numbers, "hints": [["=1"]] * 11})
    write_table(table, tmp_path / "safe.csv", csv_safe=True)
    write_table(table, tmp_path / "exact.csv")
    safe, exact = (
        list(csv.DictReader(io.StringIO((tmp_path / name).read_bytes().decode(), newline="")))
        for name in ("safe.csv", "exact.csv")
    )
    quoted = [f"'{text}" for text in texts[:7]]
    assert [row["label"] for row in safe] == [*quoted, "a=1", "", "", "'=1"]
    assert [row["label"] for row in exact] == [text or "" for text in texts]
    assert [row["prob_a"] for row in safe] == [row["prob_a"] for row in exact]
    assert safe[0]["hints"] == '["=1"]'
