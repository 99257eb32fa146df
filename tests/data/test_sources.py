"""A path, a folder or a table in memory is recognised, or refused in one clear line."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from postsense.data.sources import open_tables
from postsense.errors import DataError


class Dataset:
    """What a datasets.Dataset can do that is used here."""

    features: Any = None

    def __init__(self, table: pa.Table | None = None) -> None:
        self.table = pa.table({"id": []}) if table is None else table
        self.column_names = self.table.column_names

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: slice) -> pa.Table:
        return self.table.slice(rows.start, rows.stop - rows.start)

    def with_format(self, name: str) -> "Dataset":
        assert name == "arrow"
        return self


def test_a_file_is_read_by_its_suffix_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "POSTS.CSV"
    path.write_text("id\n1\n")
    (table,) = open_tables(str(path))
    (chunk,) = table.read(["id"])
    assert (table.name, table.folder, table.split) == (str(path), tmp_path, None)
    assert chunk.columns == {"id": ["1"]}


def test_a_relative_path_keeps_its_name_and_gives_an_absolute_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "posts.csv").write_text("id\n1\n")
    monkeypatch.chdir(tmp_path)
    (table,) = open_tables("in/posts.csv")
    assert (table.name, table.folder) == ("in/posts.csv", tmp_path / "in")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (pa.table({"id": [1]}), "pyarrow.Table"),
        (pd.DataFrame({"id": [1]}), "DataFrame"),
        ([{"id": 1}], "list of rows"),
        (Dataset(pa.table({"id": [1]})), "Dataset"),
    ],
)
def test_tables_in_memory_start_at_the_current_folder(
    source: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (table,) = open_tables(source)
    assert (table.name, table.folder) == (name, tmp_path)
    assert next(table.read(["id"])).columns == {"id": [1]}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_folder_with_a_metadata_file_is_an_image_folder(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"metadata.{suffix}").touch()
    (table,) = open_tables(tmp_path)
    assert table.name == str(tmp_path / f"metadata.{suffix}")
    assert table.is_image_folder


def test_sub_folders_with_metadata_give_the_split(tmp_path: Path) -> None:
    for name in ("train", "Validation", "test", "other", "dev"):
        (tmp_path / name).mkdir()
    for name in ("train", "Validation", "test", "other"):
        (tmp_path / name / "metadata.csv").touch()
    tables = open_tables(tmp_path)
    found = {table.folder.name: table.split for table in tables}
    assert found == {"train": "train", "Validation": "val", "test": "test", "other": "other"}


def test_a_folder_without_metadata_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_tables(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: expected metadata.csv, .jsonl or .parquet in the folder or in its train, "
        "validation, test sub-folders, found a folder without one. "
        "Write one row for each picture."
    )


def test_a_folder_without_metadata_points_at_the_table_in_it(tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").touch()
    with pytest.raises(DataError, match=f"Pass the table itself: '{tmp_path}/posts.jsonl'"):
        open_tables(tmp_path)


def test_two_metadata_files_are_refused(tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl"):
        (tmp_path / f"metadata.{suffix}").touch()
    with pytest.raises(DataError) as caught:
        open_tables(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: expected one metadata file, found ['metadata.csv', 'metadata.jsonl']. "
        "Keep one, or pass its path."
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_tables(tmp_path / "posts.csv")
    message = f"{tmp_path}/posts.csv: expected a table, found no such file. Check the path."
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "found", "fix"),
    [
        ("posts.pkl.gz", "'.gz'", "Save the table in one of these formats."),
        ("posts", "no suffix", "Save the table in one of these formats."),
        ("p.xlsx", "a spreadsheet", "Save it there as 'CSV UTF-8 (comma delimited)', and pass"),
        ("p.zip", "an archive", "Unpack it, and pass the table in it."),
    ],
)
def test_another_kind_of_file_is_refused(name: str, found: str, fix: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        open_tables(tmp_path / name)
    assert str(caught.value).startswith(
        f"{tmp_path / name}: expected a table that ends in .csv, .tsv, .txt, .json, .jsonl, "
        f".ndjson or .parquet, found {found}. {fix}"
    )


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "p.jsonl", "p.json", "p.tsv.gz"])
def test_a_device_or_a_pipe_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="found neither a file nor a folder but a device"):
        open_tables(tmp_path / name)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="found neither a file nor a folder but a pipe"):
        open_tables(tmp_path / name)


def test_a_dictionary_of_datasets_gives_the_splits(tmp_path: Path) -> None:
    tables = open_tables({"train": Dataset(pa.table({"id": [1]})), "validation": Dataset()})
    assert [(table.name, table.split) for table in tables] == [
        ("Dataset 'train'", "train"),
        ("Dataset 'validation'", "val"),
    ]


def test_a_dataset_that_is_streamed_is_refused() -> None:
    class Streamed:
        with_format, features, column_names = None, None, None

    with pytest.raises(DataError, match="found 'Streamed'. Load it without streaming=True."):
        open_tables(Streamed())


@pytest.mark.parametrize("source", [3, None, b"posts.csv", {"id": [1]}])
def test_another_kind_of_object_is_refused(source: Any) -> None:
    message = f"or a list of dicts, found '{type(source).__name__}'. Pass one of these."
    with pytest.raises(DataError, match=message):
        open_tables(source)
