"""What a Parquet file announces is believed before it is read; odd values are read or named."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense.data import parquet
from postsense.data.loading import load_posts
from postsense.data.parquet import read_parquet_file
from postsense.errors import DataError

MEMORY = 1536 * 2**20  # bytes of address space in which a bomb has to be refused


def repeated(text: str, rows: int) -> pa.Table:
    """A table whose text is stored once."""
    places = pa.array(np.zeros(rows, dtype=np.int32))
    return pa.table({"text": pa.DictionaryArray.from_arrays(places, pa.array([text]))})


def test_a_table_that_repeats_a_long_text_is_refused_in_little_memory(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs limits of memory")
    file = tmp_path / "posts.parquet"
    pq.write_table(repeated("x" * 1_000_000, 5000), file, compression="zstd", store_schema=False)
    assert file.stat().st_size < 2000
    code = (
        "import resource, sys; from postsense.data.loading import load_posts\n"
        f"resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY}, {MEMORY}))\n"
        "load_posts(sys.argv[1])"
    )
    assert resource.RLIMIT_DATA
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert "expected a table that unpacks to at most 64 MiB, found more" in done.stderr


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"text": pa.nulls(3_000_000, pa.string())}), "3000000 in"),
        (
            pa.table(
                {
                    "text": ["a"],
                    "comments": pa.ListArray.from_arrays(
                        pa.array([0, 3_000_000], pa.int32()), pa.nulls(3_000_000, pa.string())
                    ),
                }
            ),
            "3000000 in",
        ),
    ],
)
def test_more_rows_or_items_than_fit_in_the_file_are_refused(
    table: pa.Table, message: str, tmp_path: Path
) -> None:
    pq.write_table(table, tmp_path / "posts.parquet", compression="zstd")
    with pytest.raises(DataError, match=f"expected at most 1000000 rows or items .* {message}"):
        load_posts(tmp_path / "posts.parquet")


def test_sizes_that_a_file_announces_are_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postsense.data.text_files.MAX_UNPACKED", 2**20)
    table = pa.table({"text": ["v" * 7_000_000]})
    pq.write_table(table, tmp_path / "posts.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(DataError, match="unpacks to at most 1 MiB, found 7 MiB"):
        load_posts(tmp_path / "posts.parquet")


def test_the_size_of_a_dictionary_is_read_from_its_page(tmp_path: Path) -> None:
    pq.write_table(repeated("x" * 300_000, 9), tmp_path / "posts.parquet", store_schema=False)
    with (tmp_path / "posts.parquet").open("rb") as stream:
        column = pq.read_metadata(tmp_path / "posts.parquet").row_group(0).column(0)
        assert parquet._largest_cell(stream, [column]) == 300_004


def test_a_table_without_repetition_is_read_in_whole_chunks(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(5000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "posts.parquet")
    chunks = list(read_parquet_file(tmp_path / "posts.parquet", ["text"], 2000))
    assert max(chunk.rows for chunk in chunks) > 1000 and len(chunks) < 6
    assert [text for chunk in chunks for text in chunk.columns["text"]] == texts


def test_text_that_is_not_utf_8_is_named_with_its_row(tmp_path: Path) -> None:
    offsets = pa.py_buffer(np.array([0, 2, 3], dtype=np.int32).tobytes())
    bad = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"ab\xff")])
    pq.write_table(pa.table({"text": bad}), tmp_path / "posts.parquet")
    with pytest.raises(DataError, match=r"posts\.parquet row 1, text: expected UTF-8 text"):
        load_posts(tmp_path / "posts.parquet")


@pytest.mark.parametrize(
    ("seconds", "unit", "expected"),
    [
        (490_918_000_000, "s", "17526-07-29 07:06:40.000"),
        (3_093_527_980_800, "s", None),
        (1_000_000_000_123_456_789, "ns", "2001-09-09T01:46:40.123456"),
    ],
)
def test_far_times_are_text_or_missing(
    seconds: int, unit: str, expected: str | None, tmp_path: Path
) -> None:
    times = pa.array([seconds], pa.timestamp(unit))
    pq.write_table(pa.table({"text": ["a"], "created_at": times}), tmp_path / "posts.parquet")
    assert load_posts(tmp_path / "posts.parquet")[0].created_at == expected


def test_text_in_unmarked_bytes_is_text(tmp_path: Path) -> None:
    table = pa.table({"id": [b"1"], "text": pa.array(["café".encode()], pa.large_binary())})
    pq.write_table(table, tmp_path / "posts.parquet")
    (post,) = load_posts(tmp_path / "posts.parquet")
    assert (post.id, post.text) == ("1", "café")


def test_classes_of_hugging_face_are_read_by_their_names(tmp_path: Path) -> None:
    names = '{"names": ["cat", "dog"], "_type": "ClassLabel"}'
    about = f'{{"info": {{"features": {{"label": {names}, "more": {{"of": {names}}}}}}}}}'
    table = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1], "more": [{"of": 1}] * 3})
    table = table.replace_schema_metadata({"huggingface": about})
    pq.write_table(table, tmp_path / "posts.parquet")
    posts = load_posts(tmp_path / "posts.parquet", extra=("more.of",))
    assert posts.column("label") == ["dog", "cat", None]
    assert posts.extra["more.of"] == ["dog"] * 3
