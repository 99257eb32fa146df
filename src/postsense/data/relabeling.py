"""A table of posts and a list of corrected labels → the table with them, or without those posts."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postsense.data.chunks import chunk_of_rows
from postsense.data.json_tables import rows_of_lines
from postsense.data.text_files import lines_of, open_text
from postsense.errors import DataError, nearest
from postsense.files.atomic import replacing
from postsense.files.regular import UnreadableFileError, refuse_irregular

_LINE = re.compile(r"([01]{2})\s*->\s*([01]{2})\s*:(.*)")
_ROW = re.compile(r"-?[0-9]{1,18}")
_JOINT = "label"


@dataclass(frozen=True)
class RelabelColumns:
    """Columns of the table, nested ones with dots.

    text, image: the two label columns, which hold 0 or 1. joint: the column that names the pair of
    both; a table need not have the default one; empty: none. paths: files relative to the table.
    """

    text: str = "labels.text_is_represented"
    image: str = "labels.image_adds"
    joint: str = _JOINT
    paths: tuple[str, ...] = ("image", "regions")


@dataclass(frozen=True)
class Change:
    """A correction of one post: its row from 0, its bits before and after, and where that stands.

    Bits are two characters, the text label and the image label: "01" is text 0, image 1.
    """

    row: int
    before: str
    after: str
    where: str


@dataclass(frozen=True)
class Relabeled:
    """How many posts the new table has, and how many the file of corrections named."""

    posts: int
    named: int


def relabel_table(
    table: Path,
    corrections: Path,
    out: Path,
    columns: RelabelColumns = RelabelColumns(),
    drop: bool = False,
) -> Relabeled:
    """Write the JSONL table out: table with corrected labels, or without the posts they are of.

    Source: ITRp (Neural Computing & Applications 2023), the file `controversial_samples.txt` of
    its authors: corrected labels make test_RL, the posts left out test_RM. Every other column is
    kept. Relative paths become absolute ones if out lies in another folder.
    Deviation: none.

    drop: leave the posts out.
    Raises: DataError: not JSONL, no such column, a line or a row that cannot be used, or labels
        that are not those the file says they were.
    """
    _refuse_unfit_files(table, corrections, out)
    labels = _read_labels(table, columns)
    changes = read_changes(corrections, len(labels.bits))
    _refuse_other_labels(table, labels, changes, columns)
    after = {change.row: change.after for change in changes}
    names = {} if drop else _joint_names(table, labels, set(after.values()), columns)
    moved = table.resolve().parent != out.resolve().parent
    folder = table.absolute().parent if moved else None
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for number, row in enumerate(_raw_rows(table)):
            if number in after and drop:
                continue
            if number in after:
                _correct(row, after[number], names, columns)
            if folder is not None:
                _make_absolute(row, folder, columns.paths)
            file.write(_one_line(row))
    return Relabeled(len(labels.bits) - (len(changes) if drop else 0), len(changes))


def read_changes(file: Path, rows: int) -> tuple[Change, ...]:
    """The corrections in a file of lines "AB->CD: i, j, ...", in the order of the file.

    A and C are the text label, B and D the image label, before -> after; i, j are rows of the
    table from 0. Blank lines are skipped.

    rows: how many the table has.
    Raises: DataError: a line of another form, a row that is no number, out of range or repeated.
    """
    changes: dict[int, Change] = {}
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        where, match = f"{file}:{number}", _LINE.fullmatch(line.strip())
        if match is None:
            form = "a line such as '01->11: 12, 40'"
            fix = "Give the bits of text and image before and after, then rows."
            raise DataError(where, form, f"'{_shortened(line)}'", fix)
        for item in match[3].split(","):
            row = _row_number(where, item.strip(), rows)
            if row in changes:
                found = f"row {row} again, first in {changes[row].where}"
                raise DataError(where, "each row once", found, "Keep one of them.")
            changes[row] = Change(row, match[1], match[2], where)
    if not changes:
        raise DataError(file, "at least one correction", "none", "Write lines as '01->11: 12, 40'.")
    return tuple(changes.values())


@dataclass(frozen=True)
class _Labels:
    """What the table says now. lines: where in the file each row is.

    bits: both labels of each row, None if they are not 0 or 1. joint: None without that column.
    """

    lines: list[int]
    bits: list[str | None]
    joint: list[Any] | None


def _row_number(where: str, item: str, rows: int) -> int:
    if _ROW.fullmatch(item) is None:
        found = f"'{_shortened(item)}'" if item else "nothing"
        raise DataError(where, "row numbers parted by commas", found, "Mend that line.")
    if not 0 <= int(item) < rows:
        fix = "Rows count from 0; use the table that the file was written for."
        raise DataError(where, f"rows from 0 to {rows - 1}", item, fix)
    return int(item)


def _lines(file: Path) -> list[str]:
    try:
        refuse_irregular(file)
        with open_text(file) as text:
            return list(lines_of(file, text))
    except UnreadableFileError as error:
        fix = "Write lines as '01->11: 12, 40'."
        raise DataError(file, "a text file of corrections in UTF-8", error.found, fix) from None


def _refuse_unfit_files(table: Path, corrections: Path, out: Path) -> None:
    for file in (table, out):
        if file.suffix.lower() != ".jsonl":
            fix = "Corrections are made in JSONL, whose nested columns are kept as they are."
            raise DataError(file, "a table that ends in .jsonl", f"'{file.suffix}'", fix)
    try:
        refuse_irregular(table)
    except UnreadableFileError as error:
        raise DataError(table, "a table", error.found, "Check the path.") from None
    for name, file in (("the table", table), ("the corrections", corrections)):
        if out.exists() and file.exists() and out.samefile(file):
            raise DataError(out, f"another file than {name}", name, "Choose another --out.")


def _read_labels(table: Path, columns: RelabelColumns) -> _Labels:
    wanted = [columns.text, columns.image, *([columns.joint] if columns.joint else [])]
    values: dict[str, list[Any]] = {name: [] for name in wanted}
    lines, found, names = list[int](), set[str](), set[str]()
    for number, row in rows_of_lines(table):
        chunk = chunk_of_rows([row], wanted, [number])
        lines += chunk.lines or []
        found.update(chunk.columns)
        names.update(chunk.names)
        for name in values:
            values[name] += chunk.columns.get(name, [None] * chunk.rows)
    required = wanted[:2] if columns.joint == _JOINT else wanted
    for name in required:
        if name not in found:
            raise DataError(table, f"a column '{name}'", "no such column", nearest(name, names))
    pairs = zip(values[columns.text], values[columns.image], strict=True)
    bits = [_bit(text) + _bit(image) for text, image in pairs]
    usable = columns.joint in found and columns.joint not in (columns.text, columns.image)
    known = [pair if "?" not in pair else None for pair in bits]
    return _Labels(lines, known, values[columns.joint] if usable else None)


def _bit(value: Any) -> str:
    """The bit in a number, a truth value or a text; "?" if it holds none."""
    if isinstance(value, bool | float) and value in (0, 1):
        value = int(value)
    return str(value) if str(value) in ("0", "1") else "?"


def _refuse_other_labels(
    table: Path, labels: _Labels, changes: Sequence[Change], columns: RelabelColumns
) -> None:
    for change in changes:
        bits = labels.bits[change.row]
        if bits != change.before:
            expected = f"row {change.row} with the labels '{change.before}'"
            found = f"'{bits}'" if bits is not None else "labels that are not 0 or 1"
            names = f"'{columns.text}' and '{columns.image}'"
            fix = f"Those of {names} are in {table}:{labels.lines[change.row]}; rows count from 0."
            raise DataError(change.where, expected, found, fix)


def _joint_names(
    table: Path, labels: _Labels, needed: set[str], columns: RelabelColumns
) -> Mapping[str, Any]:
    """The joint label that goes with each pair of bits, as the table has it; {} without one."""
    if labels.joint is None:
        return {}
    seen: dict[str, set[str]] = defaultdict(set)
    names: dict[str, Any] = {}
    for bits, name in zip(labels.bits, labels.joint, strict=True):
        if bits is not None and name is not None:
            seen[bits].add(str(name))
            names[bits] = name
    fix = "Name the column of joint labels with --joint, or give --joint '' to leave it as it is."
    for bits in sorted({*seen, *needed}):
        if len(seen[bits]) != 1:
            where = f"{table}, {columns.joint}"
            found = f"{sorted(seen[bits])[:3]}" if seen[bits] else "none"
            raise DataError(where, f"one name for the labels '{bits}'", found, fix)
    return names


def _raw_rows(table: Path) -> Iterator[dict[str, Any]]:
    for _, row in rows_of_lines(table):
        yield row


def _correct(
    row: dict[str, Any], bits: str, names: Mapping[str, Any], columns: RelabelColumns
) -> None:
    for name, bit in zip((columns.text, columns.image), bits, strict=True):
        holder, key = _place(row, name)
        holder[key] = type(holder[key])(int(bit))  # text stays text, a truth value one
    if names:
        holder, key = _place(row, columns.joint)
        if holder.get(key) is not None:
            holder[key] = names[bits]


def _make_absolute(row: dict[str, Any], folder: Path, paths: Sequence[str]) -> None:
    for name in paths:
        holder, key = _place(row, name)
        value = holder.get(key)
        if isinstance(value, str) and value.strip() and "://" not in value:
            holder[key] = str(folder / value.strip())


def _place(row: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """The dict and its key that a literal name, else a dotted path, leads to."""
    head, _, rest = name.partition(".")
    inner = row.get(head)
    if name in row or not rest or not isinstance(inner, dict):
        return row, name
    return _place(inner, rest)


def _one_line(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair can only be written escaped
        text = json.dumps(row)
    return text + "\n"


def _shortened(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 40 else text[:40] + "..."
