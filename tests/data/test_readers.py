"""Files and tables in memory become chunks of the wanted columns, or one clear line."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense.data import readers
from postsense.data.readers import (
    Chunk,
    read_arrow,
    read_csv,
    read_frame,
    read_jsonl,
    read_parquet,
    read_rows,
)
from postsense.errors import DataError

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "one", "labels": {"text": "x", "image": 1}, "extra": 3},
    {"id": "b", "text": None, "labels": {"text": "y", "image": 2}, "extra": 4},
    {"id": "c", "text": "three", "labels": {"text": None, "image": 3}, "extra": 5},
]
WANTED = ("id", "text", "labels.text", "absent", "labels.absent")
EXPECTED = {"id": ["a", "b", "c"], "text": ["one", None, "three"], "labels.text": ["x", "y", None]}


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def chunks_of(kind: str, folder: Path, wanted: Collection[str]) -> Iterator[Chunk]:
    if kind == "jsonl":
        return read_jsonl(write_jsonl(folder / "posts.jsonl", ROWS), wanted)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), folder / "posts.parquet")
        return read_parquet(folder / "posts.parquet", wanted)
    if kind == "arrow":
        return read_arrow(pa.Table.from_pylist(ROWS), wanted)
    return read_frame(pd.DataFrame(ROWS), wanted) if kind == "frame" else read_rows(ROWS, wanted)


KINDS = ("jsonl", "parquet", "arrow", "frame", "rows")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_wanted_columns_and_leaves_absent_ones_out(
    kind: str, tmp_path: Path
) -> None:
    (chunk,) = chunks_of(kind, tmp_path, WANTED)
    assert chunk.columns == EXPECTED
    assert chunk.rows == 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_names_all_its_columns_nested_ones_with_dots(
    kind: str, tmp_path: Path
) -> None:
    (chunk,) = chunks_of(kind, tmp_path, WANTED)
    assert {"id", "text", "extra", "labels", "labels.text", "labels.image"} == set(chunk.names)


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_in_chunks(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK_ROWS", 2)
    chunks = list(chunks_of(kind, tmp_path, ["id"]))
    assert [chunk.columns["id"] for chunk in chunks] == [["a", "b"], ["c"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_without_any_wanted_column_still_tells_its_names(kind: str, tmp_path: Path) -> None:
    (chunk,) = chunks_of(kind, tmp_path, ["nothing"])
    assert chunk.columns == {}
    assert chunk.rows == 3
    assert "text" in chunk.names


def test_a_literal_column_name_with_a_dot_wins_over_a_nested_one() -> None:
    rows = [{"a.b": "literal", "a": {"b": "nested"}}]
    for chunk in [*read_rows(rows, ["a.b"]), *read_arrow(pa.Table.from_pylist(rows), ["a.b"])]:
        assert chunk.columns == {"a.b": ["literal"]}


def test_parquet_with_a_literal_dotted_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    pq.write_table(pa.Table.from_pylist([{"a.b": "literal", "a": {"b": "nested"}}]), path)
    (chunk,) = read_parquet(path, ["a.b"])
    assert chunk.columns == {"a.b": ["literal"]}


def test_names_three_levels_deep_are_reached(tmp_path: Path) -> None:
    rows = [{"a": {"b": {"c": 1}}}, {"a": None}, {"a": {"b": None}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "posts.parquet")
    for chunk in [
        *read_rows(rows, ["a.b.c"]),
        *read_parquet(tmp_path / "posts.parquet", ["a.b.c"]),
    ]:
        assert chunk.columns == {"a.b.c": [1, None, None]}


def test_jsonl_lines_are_counted_over_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text('{"id": 1}\n\n  \r\n{"id": 2}\n{"text": "no id"}')
    (chunk,) = read_jsonl(path, ["id"])
    assert (chunk.columns["id"], chunk.lines) == ([1, 2, None], [1, 4, 5])


def test_csv_lines_are_where_a_row_starts_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text('id,text\n1,"two\nlines"\n\n2,"say ""hi"", you"\n')
    (chunk,) = read_csv(path, ["id", "text"])
    assert chunk.columns == {"id": ["1", "2"], "text": ["two\nlines", 'say "hi", you']}
    assert chunk.lines == [2, 5]


def test_csv_names_are_literal_even_with_dots(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text("labels.text,id\nx,1\n")
    (chunk,) = read_csv(path, ["labels.text"])
    assert chunk.columns == {"labels.text": ["x"]}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_table(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"posts{suffix}"
    text = "id\né\n" if suffix == ".csv" else '{"id": "é"}\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    (chunk,) = (read_csv if suffix == ".csv" else read_jsonl)(path, ["id"])
    assert chunk.columns == {"id": ["é"]}


def test_missing_values_of_pandas_become_none() -> None:
    frame = pd.DataFrame(
        {
            "a": [1.0, float("nan")],
            "b": pd.array([1, None], dtype="Int64"),
            "c": [pd.Timestamp("2020-01-01"), pd.NaT],
            "d": [["x"], None],
            "e": pd.array(["x", None], dtype="string"),
        }
    )
    (chunk,) = read_frame(frame, list("abcde"))
    assert [values[1] for values in chunk.columns.values()] == [None] * 5
    assert chunk.columns["d"][0] == ["x"]


def test_rows_after_filtering_a_frame_keep_their_order_whatever_the_index() -> None:
    frame = pd.DataFrame({"id": ["a", "b", "c"]}, index=[7, 7, 3])
    (chunk,) = read_frame(frame[frame["id"] != "b"], ["id"])
    assert chunk.columns["id"] == ["a", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"id": 1}\n{"id": 2,}\n',
            ":2: expected one JSON object a line, found Illegal trailing comma|"
            ":2: expected one JSON object a line, found Expecting property name",
        ),
        ('{"id": 1}\n\n[1, 2]\n', r":3: expected one JSON object a line, found a JSON list\."),
        ('"text"\n', r":1: expected one JSON object a line, found a JSON str\."),
        ("not json\n", r":1: expected one JSON object a line, found Expecting value at column 1\."),
        ("[" * 100_000 + "\n", ":1: expected one JSON object a line, found maximum recursion"),
    ],
)
def test_a_line_that_is_no_json_object_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"posts\.jsonl(?:{message}).* Mend that line\."):
        list(read_jsonl(path, ["id"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\n1,a\n2,b,c\n", ":3: expected 2 cells, as in the header, found 3. Quote cells"),
        ("id,text\n1\n", ":2: expected 2 cells, as in the header, found 1. Quote cells"),
        ('id,text\n1,"a\nb",c\n', ":2: expected 2 cells, as in the header, found 3. Quote cells"),
        ('id,text\n1,a\n2,"open\n3,c\n', ":3: expected a row of CSV, found unexpected end of"),
        (f"id,text\n1,{'x' * 17 * 2**20}\n", ":2: expected a row of CSV, found field larger than"),
        ("id,text,id\n1,a,2\n", ": expected every column once, found ['id'] more than once."),
    ],
)
def test_a_broken_csv_row_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        list(read_csv(path, ["id"]))
    assert str(caught.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("encoding", ["latin-1", "gb18030"])
def test_a_file_that_is_not_utf_8_is_refused_with_its_line(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes("id,text\n1,plain\n2,café 你\n".encode(encoding, "replace"))
    with pytest.raises(DataError) as caught:
        list(read_csv(path, ["id"]))
    message = f"{path}:3: expected UTF-8 text, found other bytes. Save the file as UTF-8."
    assert str(caught.value) == message


def test_a_wrong_byte_far_into_a_large_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_bytes(b'{"id": "x"}\n' * 50_000 + b'{"id": "\xe9"}\n')
    with pytest.raises(DataError, match=r"posts\.jsonl:50001: expected UTF-8 text"):
        list(read_jsonl(path, ["id"]))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", b"PAR1" * 20])
def test_a_broken_parquet_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_parquet(path, ["id"]))
    assert str(caught.value).startswith(f"{path}: expected a whole Parquet file, found ")
    assert str(caught.value).endswith(". Write the file again.")
    assert "\n" not in str(caught.value)


def test_a_parquet_file_damaged_inside_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(1000)]}), path, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected a whole Parquet file, found "):
        list(read_parquet(path, ["id"]))


def test_a_row_that_is_no_dict_is_named() -> None:
    with pytest.raises(DataError, match="row 1: expected a dict for each post, found 'str'"):
        list(read_rows([{"id": 1}, "oops"], ["id"]))


def test_repeated_columns_of_tables_in_memory_are_refused() -> None:
    twice = pa.table([pa.array([1]), pa.array([2])], names=["id", "id"])
    with pytest.raises(DataError, match=r"pyarrow\.Table: expected every column once"):
        list(read_arrow(twice, ["id"]))
    with pytest.raises(DataError, match=r"DataFrame: expected every column once"):
        list(read_frame(pd.DataFrame([[1, 2]], columns=["id", "id"]), ["id"]))
