"""JSON in the forms that programs write tables in becomes the same rows."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from postsense.data import json_tables
from postsense.data.json_tables import read_json_lines, read_json_table
from postsense.data.loading import load_posts
from postsense.errors import DataError

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "one", "label": "x"},
    {"id": "b", "text": "two [{", "label": "y"},
    {"id": "c", "text": "three\n", "label": "x"},
]
FRAME = pd.DataFrame(ROWS)
FORMS = {
    "array": json.dumps(ROWS),
    "indented array": json.dumps(ROWS, indent=2),
    "empty lines": "\n\n" + json.dumps(ROWS).replace("}, ", "},\n\n ") + "\n",
    "lines": "\n".join(map(json.dumps, ROWS)),
    "indented objects": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "wrapped": json.dumps({"version": 1, "data": ROWS, "authors": ["a"]}),
    "by id": json.dumps({row["id"]: {"text": row["text"], "label": row["label"]} for row in ROWS}),
    "lists": json.dumps(FRAME.to_dict("list")),
    **{f"pandas {form}": FRAME.to_json(orient=form) for form in ("columns", "split", "table")},  # type: ignore[call-overload]
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_every_form_gives_the_same_rows(form: str, suffix: str, tmp_path: Path) -> None:
    data = FORMS[form].encode()
    file = tmp_path / f"posts{suffix}"
    file.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    posts = load_posts(file)
    assert [(post.id, post.text, post.label) for post in posts] == [
        tuple(row.values()) for row in ROWS
    ]


def test_an_array_is_read_object_by_object_with_the_line_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_tables, "_BLOCK", 5)
    (tmp_path / "posts.json").write_text(json.dumps(ROWS, indent=1))
    chunks = list(read_json_table(tmp_path / "posts.json", ["text"], 2))
    assert [chunk.columns["text"] for chunk in chunks] == [["one", "two [{"], ["three\n"]]
    assert [chunk.lines for chunk in chunks] == [[2, 7], [12]]


@pytest.mark.parametrize("name", ["posts.jsonl", "posts.ndjson", "posts.jsonl.gz"])
def test_an_array_that_is_called_lines_is_read_too(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(ROWS, indent=1))
    assert load_posts(tmp_path / name).column("id") == ["a", "b", "c"]


def test_one_object_that_is_a_row_stays_one(tmp_path: Path) -> None:
    row = {**ROWS[0], "comments": ["nice"], "entities": [{"at": 1}]}
    (tmp_path / "posts.json").write_text(json.dumps(row))
    (post,) = load_posts(tmp_path / "posts.json")
    assert (post.id, post.comments) == ("a", ("nice",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": 1},\n {"id": }]', ":2: .* found Expecting value"),
        ('[{"id": 1},\n {"id": 2}\n', ":3: .* found a list without its end"),
        ('[{"id": 1}, 3]', ":1: .* found a JSON int"),
        (
            '{"a": [{"x": 1}], "b": [{"x": 1}]}',
            r" expected .* several lists of objects, \['a', 'b'\]",
        ),
        ("[" * 100_000, ":1: .* found maximum recursion depth"),
        ('{"columns": ["id"], "data": [[1, 2]]}', " .* rows in 'data' that are not as long"),
    ],
)
def test_other_json_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "posts.json").write_text(text)
    with pytest.raises(DataError, match=rf"posts\.json:{message.removeprefix(':')}|{message}"):
        list(read_json_table(tmp_path / "posts.json", ["id"], 10))


def test_an_object_without_end_is_not_read_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_tables, "MAX_OBJECT", 1000)
    monkeypatch.setattr(json_tables, "_BLOCK", 100)
    (tmp_path / "posts.json").write_text('{"text": "' + "x" * 100_000)
    with pytest.raises(DataError, match="found an object of more than"):
        list(read_json_table(tmp_path / "posts.json", ["id"], 10))


def test_rows_nested_far_too_deep_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").write_text('{"a":' * 900 + "1" + "}" * 900 + "\n")
    (chunk,) = read_json_lines(tmp_path / "posts.jsonl", ["a"], 10)
    assert len(chunk.names) == 20
