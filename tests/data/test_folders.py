"""A folder or a pattern gives the parts of a table, its splits, or pictures in class folders."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense.data.loading import load_posts
from postsense.errors import DataError


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            pq.write_table(pa.table({"id": [text], "text": [text]}), file)
        else:
            file.write_text(text)


@pytest.mark.parametrize("pattern", ["", "*.parquet", "part-*"])
def test_parts_are_one_table_in_the_order_of_their_numbers(pattern: str, tmp_path: Path) -> None:
    names = ("part-10.parquet", "part-9.parquet", "part-1.parquet")
    write(tmp_path / "d", **{name: name for name in names}, _SUCCESS="")
    posts = load_posts(str(tmp_path / "d" / pattern))
    assert posts.column("id") == ["part-1.parquet", "part-9.parquet", "part-10.parquet"]


@pytest.mark.parametrize("folder", ["", "data"])
def test_names_of_hugging_faces_shards_tell_the_split(folder: str, tmp_path: Path) -> None:
    names = ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test")
    write(tmp_path / folder, **{f"{name}.parquet": name for name in names})
    (tmp_path / "README.md").touch()
    posts = load_posts(tmp_path)
    assert sorted(zip(posts.column("split"), posts.column("id"))) == [
        ("test", "test"),
        ("train", "train-00000-of-00002"),
        ("train", "train-00001-of-00002"),
        ("val", "validation-00000-of-00001"),
    ]


def test_a_column_of_splits_comes_before_the_names_of_files(tmp_path: Path) -> None:
    write(tmp_path, **{"train.csv": "id,text,split\n1,a,dev\n", "test.csv": "id,text\n2,b\n"})
    assert sorted(load_posts(tmp_path).column("split")) == ["test", "val"]


def test_only_a_test_part_may_lack_labels(tmp_path: Path) -> None:
    write(tmp_path, **{"train.csv": "id,text,label\n1,a,x\n", "test.csv": "id,text\n2,b\n"})
    assert load_posts(tmp_path, require=("label",)).column("label") == [None, "x"]
    (tmp_path / "test.csv").rename(tmp_path / "val.csv")
    with pytest.raises(DataError, match=r"val\.csv: expected a column 'label'"):
        load_posts(tmp_path, require=("label",))


def test_tables_of_different_names_are_not_taken_for_parts(tmp_path: Path) -> None:
    write(tmp_path, **{"posts.csv": "id,text\n1,a\n", "comments.csv": "id,text\n1,a\n"})
    with pytest.raises(
        DataError, match=r"found the tables \['comments.csv', 'posts.csv'\]"
    ) as caught:
        load_posts(tmp_path)
    assert str(caught.value).endswith(f"a pattern in quotes: '{tmp_path}/*.csv'.")


def test_parts_of_different_columns_are_named(tmp_path: Path) -> None:
    write(tmp_path, **{"1.csv": "id,text,label\n1,a,x\n", "2.csv": "id,text\n2,b\n"})
    with pytest.raises(DataError) as caught:
        load_posts(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/2.csv: expected the columns of {tmp_path}/1.csv, which has 'label', found no"
        " such column. Give both the same columns, or pass them one by one."
    )


def test_a_pattern_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected tables whose names are like this, found none"):
        load_posts(f"{tmp_path}/*.parquet")


def test_class_folders_give_labels_and_their_splits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("train/cat/1.jpg", "train/dog/2.PNG", "val/dog/3.jpg", "test/4.jpg")
    write(tmp_path, **dict.fromkeys((*names, "train/cat/.DS_Store", "train/dog/notes.txt"), ""))
    posts = load_posts(tmp_path, require=("label",))
    found = zip(posts.column("image"), posts.column("label"), posts.column("split"))
    assert sorted(found) == [
        (f"{tmp_path}/test/4.jpg", None, "test"),
        (f"{tmp_path}/train/cat/1.jpg", "cat", "train"),
        (f"{tmp_path}/train/dog/2.PNG", "dog", "train"),
        (f"{tmp_path}/val/dog/3.jpg", "dog", "val"),
    ]
    assert f"{tmp_path}/train: 2 files that are no pictures are left out" in caplog.text


def test_class_folders_without_splits_and_pictures_without_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    write(tmp_path, **dict.fromkeys(("c/cat/1.jpg", "c/dog/2.jpg", "c/.x/3.jpg", "f/1.jpg"), ""))
    assert load_posts(tmp_path / "c").column("label") == ["cat", "dog"]
    assert load_posts(tmp_path / "f").column("label") == [None]
    assert not caplog.records


def test_metadata_of_train_goes_with_bare_pictures_of_test(tmp_path: Path) -> None:
    write(tmp_path, **{"train/metadata.csv": "file_name,label\n1.jpg,x\n", "test/2.jpg": ""})
    posts = load_posts(tmp_path, require=("label",))
    assert posts.column("label") == [None, "x"]
    assert posts.column("split") == ["test", "train"]


def test_pictures_below_class_folders_are_refused(tmp_path: Path) -> None:
    write(tmp_path, **{"cat/old/1.jpg": "", "cat/2.jpg": ""})
    with pytest.raises(DataError, match=r"such as cat/1\.jpg, found 'cat/old/1\.jpg'"):
        load_posts(tmp_path)
