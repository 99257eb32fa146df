"""Tables become Posts: columns mapped, pictures joined, bad ids and absent columns refused."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense.config import Columns
from postsense.data import readers
from postsense.data.loading import load_posts
from postsense.errors import DataError
from postsense.posts import SCHEMA, Post, joined_posts

ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "text": 'one, "two"',
        "image": "images/a.jpg",
        "label": "x",
        "split": "Dev",
        "comments": ["nice", "no\nway"],
        "created_at": "2020-01-02",
    },
    {"id": "b", "text": " ", "image": None, "label": None, "split": "train", "comments": []},
    {"id": "c", "text": "three é 你", "image": "/d/c.jpg", "label": "y", "split": "odd"},
]


def expected(folder: Path) -> list[Post]:
    first = ("a", 'one, "two"', f"{folder}/images/a.jpg", "x", "val", ("nice", "no\nway"))
    return [
        Post(*first, created_at="2020-01-02"),
        Post("b", split="train"),
        Post("c", "three é 你", "/d/c.jpg", "y", "odd"),
    ]


def save_jsonl(rows: list[dict[str, Any]], folder: Path) -> Path:
    path = folder / "posts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def save_csv(rows: list[dict[str, Any]], folder: Path) -> Path:
    path = folder / "posts.csv"
    encoded = [
        {**row, "comments": json.dumps(row["comments"])} if "comments" in row else row
        for row in rows
    ]
    pd.DataFrame(encoded).to_csv(path, index=False)
    return path


def save_parquet(rows: list[dict[str, Any]], folder: Path) -> Path:
    path = folder / "posts.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def to_frame(rows: list[dict[str, Any]], folder: Path) -> pd.DataFrame:
    return pd.DataFrame(rows)


def to_arrow(rows: list[dict[str, Any]], folder: Path) -> pa.Table:
    return pa.Table.from_pylist(rows)


def keep(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    return rows


Save = Callable[[list[dict[str, Any]], Path], Any]
ALL: list[Save] = [save_jsonl, save_csv, save_parquet, to_frame, to_arrow, keep]
FILES: list[Save] = [save_jsonl, save_csv, save_parquet]


@pytest.mark.parametrize("save", ALL)
@pytest.mark.parametrize("chunk_rows", [1, 2, 8192])
def test_every_source_gives_the_same_posts(
    save: Save, chunk_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK_ROWS", chunk_rows)
    monkeypatch.chdir(tmp_path)
    posts = load_posts(save(ROWS, tmp_path))
    assert list(posts) == expected(tmp_path)
    assert posts.table.schema == SCHEMA


@pytest.mark.parametrize("save", ALL)
def test_nested_columns_are_reached_with_dots(save: Save, tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "t", "labels": {"text": "x"}}, {"id": 2, "text": "u", "labels": None}]
    if save is save_csv:
        rows = [{"id": 1, "text": "t", "labels.text": "x"}, {"id": 2, "text": "u"}]
    posts = load_posts(save(rows, tmp_path), Columns(label="labels.text"))
    assert posts.column("label") == ["x", None]


def test_one_column_may_serve_two_purposes() -> None:
    posts = load_posts([{"text": "hello", "id": 1}], Columns(label="text"))
    assert posts[0] == Post("1", "hello", label="hello")


@pytest.mark.parametrize("save", ALL)
def test_posts_without_an_id_column_are_named_by_their_row(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK_ROWS", 2)
    posts = load_posts(save([{"text": "a"}, {"text": "b"}, {"text": "c"}], tmp_path))
    assert posts.column("id") == ["0", "1", "2"]


def test_whole_numbers_that_pandas_made_floats_stay_whole() -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": [1, 0, None]})
    assert load_posts(frame).column("label") == ["1", "0", None]


def test_half_a_character_in_json_becomes_the_replacement_mark(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text(r'{"id": "\ud83d", "text": "cut \ud83d", "comments": ["\ude00", null]}' "\n")
    assert load_posts(path)[0] == Post("\ufffd", "cut \ufffd", comments=("\ufffd",))


def test_posts_are_returned_as_they_are() -> None:
    posts = load_posts([{"text": "a"}])
    assert load_posts(posts) is posts


def test_an_image_folder_takes_pictures_and_splits_from_its_folders(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("validation", 2)):
        (tmp_path / split).mkdir()
        metadata = f"file_name,text,label\n{number}.jpg,words,x\n"
        (tmp_path / split / "metadata.csv").write_text(metadata)
    posts = load_posts(tmp_path)
    assert posts.name == str(tmp_path)
    assert list(posts) == [
        Post("0", "words", f"{tmp_path}/train/1.jpg", "x", "train"),
        Post("1", "words", f"{tmp_path}/validation/2.jpg", "x", "val"),
    ]


def test_a_split_column_that_the_user_names_wins_over_the_folder(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.csv").write_text("file_name,fold\n1.jpg,test\n")
    assert load_posts(tmp_path, Columns(split="fold"))[0].split == "test"


def test_an_image_folder_without_file_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("filename,text\n1.jpg,words\n")
    with pytest.raises(DataError) as caught:
        load_posts(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/metadata.csv: expected a column 'file_name' for image, found no such column. "
        "Did you mean 'filename'? data.columns.image names the column to use."
    )


@pytest.mark.parametrize("save", ALL)
def test_a_column_that_the_user_names_must_be_there(save: Save, tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "t", "sentiment": "x"}]
    with pytest.raises(DataError) as caught:
        load_posts(save(rows, tmp_path), Columns(label="sentimnet"))
    assert str(caught.value).endswith(
        ": expected a column 'sentimnet' for label, found no such column. "
        "Did you mean 'sentiment'? data.columns.label names the column to use."
    )


def test_without_a_near_match_all_columns_are_named() -> None:
    with pytest.raises(DataError) as caught:
        load_posts([{"text": "t", "nested": {"a": 1}}], Columns(label="zzz"))
    assert str(caught.value) == (
        "list of rows: expected a column 'zzz' for label, found no such column. "
        "Choose one of ['nested', 'nested.a', 'text']. data.columns.label names the column to use."
    )


def test_an_optional_column_may_be_absent_though_the_user_names_it() -> None:
    posts = load_posts([{"text": "t"}], Columns(label="sentiment"), optional=("label",))
    assert posts.column("label") == [None]


def test_a_required_column_must_be_there_even_at_its_default() -> None:
    with pytest.raises(DataError) as caught:
        load_posts([{"text": "t", "lable": "x"}], require=("label",))
    assert str(caught.value) == (
        "list of rows: expected a column 'label', found no such column. "
        "Did you mean 'lable'? data.columns.label names the column to use."
    )


def test_a_table_without_text_and_picture_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        load_posts([{"id": 1, "tweet": "t"}])
    assert str(caught.value) == (
        "list of rows: expected a column 'text' or 'image', found the columns ['id', 'tweet']. "
        "Name yours with data.columns.text and data.columns.image."
    )


@pytest.mark.parametrize("column", ["text", "image"])
def test_text_or_picture_alone_is_enough(column: str) -> None:
    assert len(load_posts([{column: "x"}])) == 1


@pytest.mark.parametrize("save", [save_jsonl, save_csv, to_frame, to_arrow, keep])
def test_a_table_without_rows_is_refused(save: Save, tmp_path: Path) -> None:
    source = save([], tmp_path)
    if save is save_csv:
        source.write_text("id,text\n")
    with pytest.raises(DataError, match=r"expected at least one post, found none\. Check that"):
        load_posts(source)


def test_an_empty_parquet_table_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "posts.parquet")
    with pytest.raises(DataError, match="expected at least one post, found none"):
        load_posts(tmp_path / "posts.parquet")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for name in ("posts.csv", "posts.jsonl"):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=f"{name}: expected at least one post, found none"):
            load_posts(tmp_path / name)


def test_repeated_ids_are_counted_and_the_first_named_with_their_lines(tmp_path: Path) -> None:
    ids = ["a", "b", "c", "a", "d", "b", "a", "a", "d", "c"]
    path = save_jsonl([{"id": post_id, "text": "t"} for post_id in ids], tmp_path)
    with pytest.raises(DataError) as caught:
        load_posts(path)
    assert str(caught.value) == (
        f"{path}: expected unique ids, found 4 used more than once: 'a' in line 1, line 4, line 7, "
        "and 1 more; 'b' in line 2, line 6; 'c' in line 3, line 10; and 1 more. "
        "Drop the repeated posts or give them ids of their own."
    )


@pytest.mark.parametrize("save", [save_parquet, to_frame, to_arrow, keep])
def test_repeated_ids_of_tables_without_lines_are_named_with_their_rows(
    save: Save, tmp_path: Path
) -> None:
    rows = [{"id": post_id, "text": "t"} for post_id in (7, 8, 7)]
    with pytest.raises(DataError, match=r"once: '7' in row 0, row 2\. Drop"):
        load_posts(save(rows, tmp_path))


def test_ids_repeated_in_two_files_are_named_with_their_files(tmp_path: Path) -> None:
    for split in ("test", "train"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "metadata.csv").write_text("file_name,id\nx.jpg,x\n1.jpg,1\n")
    with pytest.raises(DataError) as caught:
        load_posts(tmp_path)
    places = f"{tmp_path}/test/metadata.csv line 2, {tmp_path}/train/metadata.csv line 2"
    assert f"{tmp_path}: expected unique ids, found 2 used more than once" in str(caught.value)
    assert f"'x' in {places}; '1' in " in str(caught.value)


def test_posts_without_an_id_among_others_with_one_are_refused(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "t"}, {"text": "t"}, {"id": " ", "text": "t"}]
    path = save_jsonl(rows, tmp_path)
    with pytest.raises(DataError) as caught:
        load_posts(path)
    assert str(caught.value) == (
        f"{path}: expected an id for every post, found 2 without (line 2, line 3). "
        "Give them ids, or leave the id column out to use row numbers."
    )


@pytest.mark.parametrize(
    ("save", "place"),
    [
        (save_jsonl, "posts.jsonl:3"),
        (save_parquet, "posts.parquet row 2"),
        (keep, "list of rows row 2"),
    ],
)
def test_a_bad_cell_is_named_with_its_place_and_column(
    save: Save, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK_ROWS", 2)
    rows = [{"text": "t", "comments": None} for _ in range(2)] + [{"text": "t", "comments": "no"}]
    with pytest.raises(DataError) as caught:
        load_posts(save(rows, tmp_path))
    assert str(caught.value).endswith(
        f"{place}, comments: expected a list of comments, written as JSON, found 'no'. "
        "Mend that cell; data.columns.comments names the column to use."
    )


@pytest.mark.parametrize("save", FILES)
def test_columns_that_are_not_wanted_are_not_kept(save: Save, tmp_path: Path) -> None:
    path = save([{"text": "t", "heavy": "x" * 10}], tmp_path)
    assert load_posts(path).table.column_names == SCHEMA.names


@pytest.mark.parametrize("save", ALL)
@pytest.mark.parametrize("chunk_rows", [1, 8192])
def test_extra_columns_stay_beside_the_posts(
    save: Save, chunk_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK_ROWS", chunk_rows)
    rows = [{"text": "t", "a": {"b": "x"}}, {"text": "u", "a": {"b": None}}, {"text": "v"}]
    if save is save_csv:
        rows = [{"text": "t", "a.b": "x"}, {"text": "u"}, {"text": "v"}]
    posts = load_posts(save(rows, tmp_path), extra=("a.b", "text"))
    found = {name: [value or None for value in values] for name, values in posts.extra.items()}
    assert found == {"a.b": ["x", None, None], "text": ["t", "u", "v"]}
    assert posts.table.schema == SCHEMA


def test_extra_columns_of_an_image_folder_come_from_all_its_folders(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("test", 2)):
        (tmp_path / split).mkdir()
        (tmp_path / split / "metadata.csv").write_text(f"file_name,size\n{number}.jpg,{number}\n")
    posts = load_posts(tmp_path, extra=("size",))
    assert list(zip(posts.column("split"), posts.extra["size"], strict=True)) == [
        ("test", "2"),
        ("train", "1"),
    ]


def test_extra_values_follow_their_posts() -> None:
    rows = [{"text": str(n), "label": None if n == 2 else "y", "x": n} for n in range(5)]
    posts = load_posts(rows, extra=("x",))
    assert posts.take([3, 1, 3]).extra == {"x": [3, 1, 3]}
    assert posts[::-2].extra == {"x": [4, 2, 0]}
    assert posts.labeled().extra == {"x": [0, 1, 3, 4]}
    both = joined_posts(posts[:2], load_posts([{"id": "z", "text": "z", "y": 7}], extra=("y",)))
    assert both.extra == {"x": [0, 1, None], "y": [None, None, 7]}


@pytest.mark.parametrize("save", ALL)
def test_an_extra_column_must_be_there(save: Save, tmp_path: Path) -> None:
    source = save([{"text": "t", "label": "x"}], tmp_path)
    with pytest.raises(DataError, match="a column 'lable', found no such .* Did you mean 'label'"):
        load_posts(source, extra=("lable",))


def test_neither_text_nor_picture_is_needed_if_both_are_optional() -> None:
    posts = load_posts([{"id": 1, "topic": "t"}], optional=("text", "image"), extra=("topic",))
    assert (posts[0], posts.extra) == (Post("1"), {"topic": ["t"]})


@pytest.mark.real
def test_all_real_tables_load_in_full(real_data: Path) -> None:
    sizes = {"mvsa_single": 4511, "multioff": 742, "mediaeval16": 10957, "itr_tir_text": 4471}
    sizes |= {"caption_contest": 182, "threads_semeval17": 325, "threads_reddit": 165}
    for name, size in sizes.items():
        assert len(load_posts(real_data / name / "posts.jsonl")) == size


@pytest.mark.real
def test_real_pictures_are_found_and_splits_have_their_published_sizes(real_data: Path) -> None:
    path = real_data / "mvsa_single" / "posts.jsonl"
    posts = load_posts(path, Columns(split="splits.grouped", label="labels.text"))
    sizes = {name: len(posts.split(name)) for name in ("train", "val", "test")}
    assert sizes == {"train": 3607, "val": 452, "test": 452}
    assert all(Path(image).is_file() for image in posts.column("image"))


@pytest.mark.real
def test_a_real_table_survives_csv_and_parquet(real_data: Path, tmp_path: Path) -> None:
    posts = load_posts(real_data / "mediaeval16" / "posts.jsonl")
    pq.write_table(posts.table, tmp_path / "posts.parquet")
    rows = posts.table.slice(0, 2000).to_pylist()
    assert load_posts(tmp_path / "posts.parquet").table.equals(posts.table)
    saved = load_posts(save_csv(rows, tmp_path))
    assert [post.text for post in saved] == [row["text"] for row in rows]
    assert [post.comments for post in saved] == [tuple(row["comments"] or ()) for row in rows]


@pytest.mark.real
def test_a_real_table_loads_in_little_more_than_its_json(real_data: Path) -> None:
    table = real_data / "mvsa_single" / "posts.jsonl"
    lines = table.read_text(encoding="utf-8").splitlines()

    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    plain = min(seconds(lambda: [json.loads(line) for line in lines]) for _ in range(3))
    assert min(seconds(lambda: load_posts(table)) for _ in range(3)) < 15 * plain


def test_a_column_of_regions_that_holds_no_paths_is_no_obstacle(tmp_path: Path) -> None:
    rows = [{"text": "a", "regions": ["EU", "US"]}, {"text": "b", "regions": {"box": 1}}]

    assert load_posts(rows).column("regions") == [None, None]
