"""Corrected labels: what a file of them may say, and the tables with and without those posts."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from postsense.data.loading import load_posts
from postsense.data.relabeling import Change, RelabelColumns, read_changes, relabel_table
from postsense.errors import DataError

Rows = list[dict[str, Any]]
TEXT, IMAGE = RelabelColumns().text, RelabelColumns().image
NAMES = {"00": "neither", "01": "adds", "10": "repeats", "11": "both"}


def row(number: int, bits: str, **more: Any) -> dict[str, Any]:
    labels = {"text_is_represented": int(bits[0]), "image_adds": int(bits[1]), "other": "x"}
    image = f"{number}.jpg"
    return {"id": f"p{number}", "image": image, "label": NAMES[bits], "labels": labels, **more}


def write(file: Path, rows: Rows) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return file


def read(file: Path) -> Rows:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Eight posts with the bits 00, 01, 10, 11 twice."""
    rows = [row(number, bits) for number, bits in enumerate([*NAMES, *NAMES])]
    return write(tmp_path / "posts.jsonl", rows)


@pytest.fixture
def corrections(tmp_path: Path) -> Path:
    (tmp_path / "changes.txt").write_text("00->11: 0, 4\n\n10->01: 6\n")
    return tmp_path / "changes.txt"


def test_lines_give_rows_with_bits_before_and_after(corrections: Path) -> None:
    first, second, third = read_changes(corrections, rows=8)
    assert first == Change(0, "00", "11", f"{corrections}:1")
    assert (second.row, third) == (4, Change(6, "10", "01", f"{corrections}:3"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_corrections_are_read_in_the_encodings_of_tables(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "changes.txt").write_bytes("00->11: 0, 4\r\n".encode(encoding))
    assert [change.row for change in read_changes(tmp_path / "changes.txt", rows=8)] == [0, 4]


@pytest.mark.parametrize(
    ("text", "place", "expected", "found"),
    [
        ("00->01: 1\n00=>01: 2", ":2", "a line such as", "'00=>01: 2'"),
        ("02->01: 1", ":1", "a line such as", "'02->01: 1'"),
        ("00->01: 1, two", ":1", "row numbers", "'two'"),
        ("00->01: 1, 2.0", ":1", "row numbers", "'2.0'"),
        ("00->01:", ":1", "row numbers", "nothing"),
        ("00->01: 1, 8", ":1", "rows from 0 to 7", "8"),
        ("00->01: -1", ":1", "rows from 0 to 7", "-1"),
        ("00->01: 1\n01->00: 3, 1", ":2", "each row once", "row 1 again"),
        ("\n", "", "at least one correction", "none"),
    ],
)
def test_a_line_that_cannot_be_used_is_refused(
    tmp_path: Path, text: str, place: str, expected: str, found: str
) -> None:
    file = tmp_path / "changes.txt"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        read_changes(file, rows=8)
    assert error.value.where == f"{file}{place}"
    assert expected in error.value.expected
    assert found in error.value.found


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"00->01: 1 \xe9")
    with pytest.raises(DataError, match="no such file"):
        read_changes(tmp_path / "none.txt", rows=8)
    with pytest.raises(DataError, match="UTF-8"):
        read_changes(tmp_path / "latin.txt", rows=8)


def test_labels_are_replaced_and_all_else_is_kept(
    table: Path, corrections: Path, tmp_path: Path
) -> None:
    report = relabel_table(table, corrections, tmp_path / "new.jsonl")
    expected = read(table)
    for number, bits in ((0, "11"), (4, "11"), (6, "01")):
        expected[number] = row(number, bits)
    assert read(tmp_path / "new.jsonl") == expected
    assert (report.posts, report.named) == (8, 3)


def test_dropped_posts_are_gone_and_the_others_as_they_were(
    table: Path, corrections: Path, tmp_path: Path
) -> None:
    report = relabel_table(table, corrections, tmp_path / "new.jsonl", drop=True)
    left = [one for number, one in enumerate(read(table)) if number not in (0, 4, 6)]
    assert read(tmp_path / "new.jsonl") == left
    assert (report.posts, report.named) == (5, 3)


def test_labels_that_are_not_those_before_are_refused(table: Path, tmp_path: Path) -> None:
    (tmp_path / "changes.txt").write_text("00->11: 0, 5\n")
    with pytest.raises(DataError, match=r"row 5 with the labels '00', found '01'.*posts.jsonl:6"):
        relabel_table(table, tmp_path / "changes.txt", tmp_path / "new.jsonl")
    assert not (tmp_path / "new.jsonl").exists()


def test_a_missing_label_is_not_the_one_before(tmp_path: Path, corrections: Path) -> None:
    rows = [row(number, bits) for number, bits in enumerate([*NAMES, *NAMES])]
    rows[4]["labels"]["image_adds"] = None
    table = write(tmp_path / "gaps.jsonl", rows)
    with pytest.raises(DataError, match="found labels that are not 0 or 1"):
        relabel_table(table, corrections, tmp_path / "new.jsonl")


def test_paths_still_lead_to_the_pictures_from_another_folder(
    table: Path, corrections: Path, tmp_path: Path
) -> None:
    rows = read(table)
    rows[1]["image"], rows[2]["image"], rows[3]["image"] = None, "https://x.org/2.jpg", "/2.jpg"
    rows[5]["regions"] = "boxes/5.npz"
    write(table, rows)
    out = tmp_path / "elsewhere" / "new.jsonl"
    relabel_table(table, corrections, out)
    new = read(out)
    assert [one["image"] for one in new[:4]] == [
        *(str(tmp_path / "0.jpg"), None, "https://x.org/2.jpg", "/2.jpg")
    ]
    assert new[5]["regions"] == str(tmp_path / "boxes" / "5.npz")
    assert load_posts(out).column("image") == load_posts(table).column("image")


@pytest.mark.parametrize("values", [("0", "1"), (False, True), (0.0, 1.0)])
def test_a_label_keeps_its_type_under_columns_of_other_names(
    tmp_path: Path, values: tuple[Any, Any]
) -> None:
    rows = [{"a.b": values[0], "image_bit": values[1], "text": "cut \ud83d"} for _ in range(2)]
    table = write(tmp_path / "flat.jsonl", rows)
    (tmp_path / "changes.txt").write_text("01->10: 1\n")
    columns = RelabelColumns("a.b", "image_bit")
    relabel_table(table, tmp_path / "changes.txt", tmp_path / "new.jsonl", columns)
    rows[1] |= {"a.b": values[1], "image_bit": values[0]}
    assert [list(map(repr, one.values())) for one in read(tmp_path / "new.jsonl")] == [
        list(map(repr, one.values())) for one in rows
    ]


def test_a_joint_label_without_one_name_a_pair_is_refused(
    table: Path, corrections: Path, tmp_path: Path
) -> None:
    write(table, [{**one, "label": ["sad", "glad"][n // 4]} for n, one in enumerate(read(table))])
    with pytest.raises(DataError, match=r"one name for the labels '00', found \['glad', 'sad'\]"):
        relabel_table(table, corrections, tmp_path / "new.jsonl")
    relabel_table(table, corrections, tmp_path / "new.jsonl", RelabelColumns(joint=""))
    assert [one["label"] for one in read(tmp_path / "new.jsonl")] == ["sad"] * 4 + ["glad"] * 4


def test_a_pair_that_the_table_has_no_name_for_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path / "posts.jsonl", [row(0, "00"), row(1, "01")])
    (tmp_path / "changes.txt").write_text("00->11: 0\n")
    with pytest.raises(DataError, match="one name for the labels '11', found none"):
        relabel_table(table, tmp_path / "changes.txt", tmp_path / "new.jsonl")


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        (("posts.csv", "new.jsonl"), RelabelColumns(), "posts.csv: .* ends in .jsonl"),
        (("posts.jsonl", "new.csv"), RelabelColumns(), "new.csv: .* ends in .jsonl"),
        (("none.jsonl", "new.jsonl"), RelabelColumns(), "no such file"),
        (("posts.jsonl", "posts.jsonl"), RelabelColumns(), "another file than the table"),
        (("posts.jsonl", "new.jsonl"), RelabelColumns(text="labels.txt"), "column 'labels.txt'"),
        (("posts.jsonl", "new.jsonl"), RelabelColumns(joint="labels.x"), "column 'labels.x'"),
    ],
)
def test_files_and_columns_that_cannot_be_used_are_refused(
    table: Path, corrections: Path, names: Any, columns: RelabelColumns, message: str
) -> None:
    before = table.read_text()
    files = [table.with_name(name) for name in names]
    with pytest.raises(DataError, match=message):
        relabel_table(files[0], corrections, files[1], columns)
    assert table.read_text() == before


def test_the_corrections_are_not_written_over(table: Path, tmp_path: Path) -> None:
    corrections = tmp_path / "changes.jsonl"
    corrections.write_text("00->11: 0\n")
    with pytest.raises(DataError, match="another file than the corrections"):
        relabel_table(table, corrections, corrections)
    assert corrections.read_text() == "00->11: 0\n"


@pytest.fixture
def released(real_data: Path) -> tuple[Path, Path]:
    folder = real_data / "itr_tir_text"
    return folder / "posts.jsonl", folder / "controversial_samples.txt"


def bits_of(rows: Rows) -> dict[str, int]:
    pairs = [one["labels"] for one in rows]
    return Counter(f"{one['text_is_represented']}{one['image_adds']}" for one in pairs)


@pytest.mark.real
def test_the_authors_corrections_give_the_classes_of_their_test_set(
    released: tuple[Path, Path], tmp_path: Path
) -> None:
    report = relabel_table(*released, tmp_path / "new.jsonl")
    old, new = read(released[0]), read(tmp_path / "new.jsonl")
    assert (report.named, report.posts, len(new)) == (218, 4471, 4471)
    assert bits_of(old[3576:]) == {"11": 177, "10": 190, "01": 239, "00": 289}
    assert bits_of(new[3576:]) == {"11": 122, "10": 156, "01": 362, "00": 255}
    assert sum(one != other for one, other in zip(old, new, strict=True)) == 218
    name_of = {json.dumps(one["labels"]): one["label"] for one in old}
    assert all(one["label"] == name_of[json.dumps(one["labels"])] for one in new)


@pytest.mark.real
def test_the_authors_corrections_leave_677_test_posts_when_dropped(
    released: tuple[Path, Path], tmp_path: Path
) -> None:
    relabel_table(*released, tmp_path / "new.jsonl", drop=True)
    old, new = read(released[0]), read(tmp_path / "new.jsonl")
    assert [one["id"] for one in new[:3576]] == [one["id"] for one in old[:3576]]
    assert (len(old[3576:]), len(new[3576:])) == (895, 677)
