"""Predictions on disk: three formats that hold the same, written whole or not at all."""

import csv
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense.errors import DataError
from postsense.inputs import BadRow
from postsense.tables import check_suffix, write_bad_rows, write_table

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
