"""Ids are the same in whatever file they are listed."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense.data.id_lists import read_ids
from postsense.errors import DataError

IDS = ["007", "b c", "é,1"]
FILES = {
    "a.txt": "\n".join(IDS),
    "b.txt": "\ufeff" + "\r\n".join(f" {each}\t" for each in IDS) + "\r\n\r\n",
    "c.txt": "\r".join(f'"{each}"' for each in IDS),
    "d": "\n".join(IDS) + "\n" + IDS[0] + "\n",
    "e.csv": 'id\n007\nb c\n"é,1"\n',
    "f.csv": '\ufeffreason;ID\nold;007\nrude;"b c"\n;é,1\n;\n',
    "g.csv": '007\nb c\n"é,1"\n',
    "h.tsv": "id\treason\n007\tx\nb c\tx\né,1\tx\n",
    "i.jsonl": "\n".join(json.dumps({"id": each, "x": 1}) for each in IDS),
    "j.json": json.dumps(IDS),
    "k.jsonl": "\n".join(map(json.dumps, IDS)),
    "l.json": json.dumps([{"id": each} for each in IDS], indent=1),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_every_list_gives_the_same_ids(name: str, encoding: str, tmp_path: Path) -> None:
    text = FILES[name].removeprefix("\ufeff") if encoding == "utf-16" else FILES[name]
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert read_ids(tmp_path / name) == IDS


def test_numbers_are_read_as_in_tables(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1.0, 2.0, None, 620000000000000001.0]}), tmp_path / "i.parquet")
    assert read_ids(tmp_path / "i.parquet") == ["1", "2", "620000000000000000"]
    (tmp_path / "i.json").write_text("[1, 2.0, 620000000000000001]")
    assert read_ids(tmp_path / "i.json") == ["1", "2", "620000000000000001"]


def test_a_table_without_ids_is_refused(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("post,reason\n1,x\n")
    with pytest.raises(DataError, match=r"expected a column 'id', found the columns \['post', 're"):
        read_ids(tmp_path / "i.csv")


@pytest.mark.parametrize(("name", "found"), [("none", "no such file"), ("pipe", "but a pipe")])
def test_what_is_no_file_is_refused(name: str, found: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=f"{found}. Write one id a line."):
        read_ids(tmp_path / name)
