"""Cells parted by anything, under the habits of spreadsheets, become the same rows."""

import gzip
import logging
from pathlib import Path

import pytest

from postsense.data.delimited import read_delimited
from postsense.errors import DataError

NAMES = ("id", "text", "label")


def rows_of(file: Path, delimiter: str | None = None) -> list[tuple[str, ...]]:
    chunks = read_delimited(file, NAMES, 2, delimiter)
    return [row for chunk in chunks for row in zip(*chunk.columns.values())]


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize(
    ("delimiter", "called"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")]
)
def test_another_delimiter_is_guessed_and_named(
    delimiter: str, called: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [["id", "text", "label"], ["1", '"a; b	c|, d"', "x"], ["2", "e", "y"]]
    file = write(tmp_path, "posts.csv", "\n".join(map(delimiter.join, rows)))
    assert rows_of(file) == [("1", "a; b	c|, d", "x"), ("2", "e", "y")]
    assert f"posts.csv: cells are parted by {called}, as guessed" in caplog.text


@pytest.mark.parametrize("name", ["posts.csv", "posts.csv.gz"])
def test_commas_in_a_csv_are_no_guess(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "id,text,label\n1,a;b;c;d,x\n"
    file = write(tmp_path, name, text)
    if name.endswith(".gz"):
        file.write_bytes(gzip.compress(text.encode()))
    assert rows_of(file) == [("1", "a;b;c;d", "x")]
    assert not caplog.records


def test_tabs_in_a_tsv_are_no_guess_and_commas_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert rows_of(write(tmp_path, "a.tsv", "id\ttext\n1\ta, b; c\n")) == [("1", "a, b; c")]
    assert not caplog.records
    assert rows_of(write(tmp_path, "b.tsv", "id,text\n1,a\n")) == [("1", "a")]
    assert "parted by commas" in caplog.text


def test_columns_of_other_names_are_parted_by_what_makes_rows_alike(tmp_path: Path) -> None:
    file = write(tmp_path, "posts.csv", "tweet;class\nhello, you;x\na, b, c;y\n")
    chunk = next(read_delimited(file, ["tweet"], 10))
    assert (chunk.names, chunk.columns) == (
        ["tweet", "class"],
        {"tweet": ["hello, you", "a, b, c"]},
    )


def test_a_delimiter_that_is_set_is_not_guessed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert rows_of(write(tmp_path, "a.csv", "id^text\n1^a,b\n"), "^") == [("1", "a,b")]
    assert not caplog.records


def test_a_line_of_excel_names_the_delimiter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, "posts.csv", "sep=;\r\nid;text\r\n1;a\r\n2;b;c\r\n")
    with pytest.raises(
        DataError, match=r"posts\.csv:4: expected 2 cells, as in the header, found 3"
    ):
        rows_of(file)
    assert not caplog.records


def test_empty_rows_and_columns_of_a_spreadsheet_are_left_out(tmp_path: Path) -> None:
    text = "\ufeff id ;text;; label;;\r\n1;a;;x;;\r\n;;;;;\r\n2;b;;y;;\r\n;;;;;\r\n"
    assert rows_of(write(tmp_path, "posts.csv", text)) == [("1", "a", "x"), ("2", "b", "y")]


def test_a_row_that_is_shorter_than_the_named_columns_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "posts.csv", "id;text;label;\n1;a;x\n2;b\n")
    with pytest.raises(
        DataError, match=":3: expected 3 cells, .* found 2. Cells are parted by semi"
    ):
        rows_of(file)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_text_of_another_encoding_is_told_by_its_first_bytes(encoding: str, tmp_path: Path) -> None:
    file = write(tmp_path, "posts.txt", 'id\ttext\r\n1\t"é ""你"", b"\r\n', encoding)
    assert rows_of(file) == [("1", 'é "你", b')]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way(end: str, tmp_path: Path) -> None:
    file = write(tmp_path, "posts.csv", end.join(["id,text", '1,"a', 'b"', "2,c", ""]))
    assert rows_of(file) == [("1", f"a{end}b"), ("2", "c")]


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    file = write(tmp_path, "posts.csv", f"id,text\n1,{'x' * 300_000}\n")
    assert [len(text) for _, text in rows_of(file)] == [300_000]


def test_one_column_needs_no_quotes_around_commas(tmp_path: Path) -> None:
    file = write(tmp_path, "posts.csv", "text\nhello, you\nplain\n")
    assert rows_of(file) == [("hello, you",), ("plain",)]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"PK\3\4rest", "an Excel workbook or another zip file"),
        (b"PAR1rest", "a Parquet file"),
        (gzip.compress(b"id,text\n1,a\n", mtime=0)[:-9], "Compressed file ended before"),
    ],
)
def test_another_file_behind_the_name_is_told(data: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_bytes(data)
    with pytest.raises(DataError, match=f"found {found}"):
        rows_of(tmp_path / "posts.csv")


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postsense.data.text_files.MAX_UNPACKED", 100_000)
    file = tmp_path / "posts.csv.gz"
    file.write_bytes(gzip.compress(b"id,text\n" + b"1,aaaaaaaaa\n" * 100_000, mtime=0))
    with pytest.raises(DataError, match="expected a table that unpacks to at most . MiB and"):
        rows_of(file)


def test_a_line_without_end_and_too_many_columns_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postsense.data.text_files.MAX_LINE", 1000)
    with pytest.raises(DataError, match=r"a\.csv:2: expected lines of at most"):
        rows_of(write(tmp_path, "a.csv", "id,text\n1," + "x" * 2000))
    names = ",".join(f"c{n}" for n in range(10_001))
    monkeypatch.undo()
    with pytest.raises(DataError, match="expected at most 10000 columns, found 10001"):
        rows_of(write(tmp_path, "b.csv", f"{names}\n"))


def test_no_guess_is_made_of_a_header_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert rows_of(write(tmp_path, "posts.csv", "id,text\n")) == []
    assert not caplog.records
