"""Predictions and bad rows → files."""

import glob
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from postsense.data.bad_rows import BadRow
from postsense.errors import DataError
from postsense.files.atomic import replacing

FORMULA = "^[=+@\\-\t\r\n＝＋－＠]"
SUFFIXES = (".csv", ".jsonl", ".parquet")


def check_suffix(file: Path) -> None:
    """Refuse a file name whose format we do not write. Raises: DataError."""
    if file.suffix not in SUFFIXES:
        raise DataError(file, f"a name that ends in one of {list(SUFFIXES)}", f"'{file.suffix}'")


def refuse_unfit_output(out: Path, read: Iterable[Path]) -> None:
    """Refuse a file to write that is read, or beside which a list of bad rows has no place.

    read: the tables of the command, and what else must not be written over; of a folder all files.
    Raises: DataError: it is one of these, a folder, of a format we do not write, or the file that
        bad rows would go to is none of ours.
    """
    check_suffix(out)
    fix = "Choose another --out."
    if out.is_dir():
        raise DataError(out, "a file to write", "a folder", fix)
    for path in read:
        if out.exists() and any(file.samefile(out) for file in _files_at(path, out.name)):
            raise DataError(out, "another file than those that are read", "one of them", fix)
    beside = _bad_rows_beside(out)
    if beside.exists() and not _lists_bad_rows(beside):
        raise DataError(beside, "a list of bad rows, or no such file", "another file", fix)


def _files_at(path: Path, name: str) -> Iterator[Path]:
    """A file, those of this name in a folder, or those that a pattern names."""
    if path.is_dir():
        yield from path.rglob(glob.escape(name))
    elif path.exists():
        yield path
    else:
        yield from (Path(found) for found in glob.glob(str(path)))  # noqa: PTH207  from the root too


def _bad_rows_beside(out: Path) -> Path:
    return out.with_name(out.name + ".bad_rows.jsonl")


def _lists_bad_rows(file: Path) -> bool:
    """Whether a file is a list of bad rows, to be written over."""
    if not file.is_file():
        return False
    try:
        with file.open(encoding="utf-8") as lines:
            return all(json.loads(line).keys() <= {"id", "reason"} for line in lines)
    except (OSError, ValueError, AttributeError):
        return False


def write_table(table: pa.Table, file: Path, *, csv_safe: bool = False) -> None:
    """Write a table in the format its name asks for, atomically.

    csv_safe: in CSV, put ' before texts that a spreadsheet would take for a formula; without it
        the file gives back exactly what was in the table.
    """
    check_suffix(file)
    with replacing(file) as temporary:
        if file.suffix == ".parquet":
            pyarrow.parquet.write_table(table, temporary)
        elif file.suffix == ".csv":
            flat = _flat(table)
            pyarrow.csv.write_csv(_without_formulas(flat) if csv_safe else flat, temporary)
        else:
            _write_jsonl(table, temporary)


def write_bad_rows(bad: Sequence[BadRow], file: Path) -> None:
    """Write one JSON object a bad row: id and reason."""
    with replacing(file) as temporary:
        lines = [json.dumps(vars(row), ensure_ascii=False) + "\n" for row in bad]
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


def write_bad_rows_beside(out: Path, bad: Sequence[BadRow]) -> Path:
    """Write bad rows beside the file out, or remove those of before if there are none now."""
    file = _bad_rows_beside(out)
    if bad:
        write_bad_rows(bad, file)
    elif _lists_bad_rows(file):
        file.unlink()
    return file


def _flat(table: pa.Table) -> pa.Table:
    """The table with nested columns written as JSON, since a CSV cell is one text."""
    for place, field in enumerate(table.schema):
        if pa.types.is_boolean(field.type):  # a label, by its name
            names = [None if cell is None else str(cell) for cell in table[field.name].to_pylist()]
            table = table.set_column(place, field.name, pa.array(names, pa.string()))
        if pa.types.is_nested(field.type):
            texts = [_json_or_none(cell) for cell in table[field.name].to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _without_formulas(table: pa.Table) -> pa.Table:
    """The table with ' before each text that begins as a formula does; numbers stay numbers.

    Source: OWASP, CSV Injection: = + - @, tab and line breaks, also as full-width letters.
    """
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = table[field.name]
            quoted = pc.binary_join_element_wise("'", texts, "")
            marked = pc.if_else(pc.match_substring_regex(texts, FORMULA), quoted, texts)
            table = table.set_column(place, field.name, marked)
    return table


def _json_or_none(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _write_jsonl(table: pa.Table, file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for batch in table.to_batches(max_chunksize=4096):
            for row in batch.to_pylist():
                clean = {key: None if _is_nan(value) else value for key, value in row.items()}
                stream.write(json.dumps(clean, ensure_ascii=False) + "\n")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
