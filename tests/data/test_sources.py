"""A path, a folder or a table in memory is recognised, or refused in one clear line."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from postsense.data.sources import open_tables
from postsense.errors import DataError


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
    assert found == {"train": "train", "Validation": "val", "test": "test"}


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
    ("name", "found"), [("posts.csv.gz", "'.gz'"), ("posts", "no suffix"), ("p.json", "'.json'")]
)
def test_another_kind_of_file_is_refused(name: str, found: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        open_tables(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name}: expected a table that ends in .csv, .jsonl or .parquet, found {found}."
        " Save the table in one of these formats."
    )


@pytest.mark.parametrize("source", [3, None, b"posts.csv", {"id": [1]}])
def test_another_kind_of_object_is_refused(source: Any) -> None:
    message = f"or a list of dicts, found '{type(source).__name__}'. Pass one of these."
    with pytest.raises(DataError, match=message):
        open_tables(source)
