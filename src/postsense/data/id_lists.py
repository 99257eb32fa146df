"""A file that names posts → their ids, as the same cells of a table of posts would be read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from postsense.data.cells import CellError, cell_converters
from postsense.data.json_tables import MAX_OBJECT
from postsense.data.sources import format_of, open_file
from postsense.data.text_files import lines_of, open_text
from postsense.errors import DataError
from postsense.files.regular import UnreadableFileError, refuse_irregular

_NAMES = ("id", "ID", "Id")
_ONE_A_LINE = "Write one id a line."
_JSON = (".json", ".jsonl", ".ndjson")
_TABLES = (".csv", ".tsv", ".parquet", *_JSON)


def read_ids(file: Path) -> list[str]:
    """The ids in a file, in its order, each once.

    A table, by the end of its name, has them in its column `id`; one of a single column of another
    name is read as a list from its first line on. JSON may be a list of ids. Any other file is a
    text with one id a line, in quotes or not. Blanks around ids, blank lines and byte-order marks
    are no part of them.
    Raises: DataError: no such file, no column `id`, no id at all.
    """
    try:
        refuse_irregular(file)
    except UnreadableFileError as error:
        raise DataError(file, "a file of ids", error.found, _ONE_A_LINE) from None
    kind = format_of(file)
    if kind in _JSON and _is_of_scalars(file):
        values = _json_values(file)
    else:
        values = _table_values(file) if kind in _TABLES else _line_values(file)
    ids = dict.fromkeys(post_id for post_id in _ids(file, values) if post_id is not None)
    if not ids:
        raise DataError(file, "at least one id", "none", _ONE_A_LINE)
    return list(ids)


def _ids(file: Path, values: Iterator[Any]) -> Iterator[str | None]:
    convert = cell_converters(file.absolute().parent)["id"]
    for number, value in enumerate(values):
        try:
            yield convert(value)
        except CellError as error:
            where = f"{file}, id {number + 1}"
            raise DataError(where, error.expected, error.found, _ONE_A_LINE) from None


def _line_values(file: Path) -> Iterator[str]:
    with open_text(file) as text:
        for line in lines_of(file, text):
            yield _unquoted(line.strip().strip("\ufeff").strip())


def _unquoted(text: str) -> str:
    """The cell that stands alone in a line of CSV."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    return text


def _table_values(file: Path) -> Iterator[Any]:
    for chunk in open_file(file).read(_NAMES):
        found = [name for name in _NAMES if name in chunk.columns]
        if found:
            yield from chunk.columns[found[0]]
        elif len(chunk.names) == 1 and format_of(file) in (".csv", ".tsv"):
            yield from _line_values(file)
            return
        else:
            names = f"the columns {sorted(chunk.names)[:5]}"
            raise DataError(file, "a column 'id'", names, f"Name it so, or: {_ONE_A_LINE}")


def _is_of_scalars(file: Path) -> bool:
    """Whether a JSON file is a list of ids, or has one a line, rather than objects."""
    with open_text(file) as text:
        start = text.read(64).lstrip("\ufeff \t\r\n")
    return start != "" and not re.match(r"\[?\s*\{", start)


def _json_values(file: Path) -> Iterator[Any]:
    with open_text(file) as text:
        whole = text.read(MAX_OBJECT)
    try:
        values = json.loads(whole)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, list):
        yield from values
        return
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            yield json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            where, found = f"{file}:{number}", f"'{line.strip()[:30]}'"
            raise DataError(where, "an id as JSON", found, _ONE_A_LINE) from None
