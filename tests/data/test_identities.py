"""Ids that were made up are nobody else's."""

import json
from pathlib import Path

import pytest

from postsense.data.identities import free_ids
from postsense.data.loading import load_posts
from postsense.errors import DataError


def test_names_that_are_taken_get_a_prefix_as_often_as_it_takes() -> None:
    assert free_ids(["0", "1"], {"5"}, "x-") == ["0", "1"]
    assert free_ids(["0", "1"], {"1", "x-0"}, "x-") == ["x-x-0", "x-x-1"]


def write(folder: Path, split: str, rows: list[dict[str, object]]) -> None:
    (folder / split).mkdir()
    lines = [json.dumps({"file_name": "x.png", **row}) + "\n" for row in rows]
    (folder / split / "metadata.jsonl").write_text("".join(lines))


def test_a_table_without_ids_stands_beside_one_that_has_some(tmp_path: Path) -> None:
    write(tmp_path, "train", [{"text": "a"}, {"text": "b"}])
    write(tmp_path, "val", [{"id": 1, "text": "c"}, {"id": "k", "text": "d"}])
    assert load_posts(tmp_path).column("id") == ["metadata-0", "metadata-1", "1", "k"]


def test_rows_of_all_tables_are_numbered_if_none_has_ids(tmp_path: Path) -> None:
    write(tmp_path, "train", [{"text": "a"}, {"text": "b"}])
    write(tmp_path, "val", [{"text": "c"}])
    posts = load_posts(tmp_path)
    assert (posts.column("id"), posts.made_ids) == (["0", "1", "2"], True)


def test_ids_that_were_given_twice_are_still_refused(tmp_path: Path) -> None:
    write(tmp_path, "train", [{"id": "a", "text": "a"}])
    write(tmp_path, "val", [{"id": "a", "text": "b"}])
    write(tmp_path, "test", [{"text": "c"}])
    with pytest.raises(DataError, match="unique ids, found 1 used more than once: 'a' in"):
        load_posts(tmp_path)


def test_an_id_that_one_row_lacks_is_still_asked_for() -> None:
    with pytest.raises(DataError, match=r"an id for every post, found 1 without \(row 1\)"):
        load_posts([{"id": "a", "text": "a"}, {"text": "b"}])
