"""JSON, in the forms that programs write tables in → chunks of rows."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final, TextIO

from postsense.data.chunks import Chunk, batches, chunk_of_rows
from postsense.data.text_files import lines_of, open_text
from postsense.errors import DataError

MAX_OBJECT = 64 * 1024 * 1024  # characters of one that is not on a line of its own
_ARRAY = re.compile(r"\s*\[\s*(\{|$)")
_LINES: Final = "one JSON object a line"
_ROWS: Final = "JSON with a list of objects, or one object a line"
_AS_LINES: Final = "Save it with one object a line, as .jsonl."
_DECODER: Final = json.JSONDecoder()
_BLANKS: Final = re.compile(r"\s*")
_BLOCK: Final = 256 * 1024
_GLANCE: Final = 64
_NumberedRow = tuple[int, dict[str, Any]]


def read_json_lines(path: Path, wanted: Collection[str], chunk_rows: int) -> Iterator[Chunk]:
    """Chunks of a text file with one JSON object a line, or of one array; blank lines are skipped.

    Raises: DataError: other text; the line is named.
    """
    if _begins_as_array(path):
        yield from read_json_table(path, wanted, chunk_rows)
    else:
        yield from _chunks(rows_of_lines(path), wanted, chunk_rows)


def rows_of_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The object on each line that is not blank, and the number of the line from 1.

    Raises: DataError: a line that is no JSON object.
    """
    with open_text(path) as text:
        for number, line in enumerate(lines_of(path, text), 1):
            if not line.isspace():
                yield number, _parse_line(path, number, line)


def read_json_table(path: Path, wanted: Collection[str], chunk_rows: int) -> Iterator[Chunk]:
    """Chunks of a JSON file: an array of objects, objects one after another, or one around them.

    One object may hold the rows under some name, such as {"data": [...]}, by their ids, or column
    by column, as pandas writes them.
    Raises: DataError: other JSON.
    """
    with open_text(path) as file:
        text = _Text(path, file)
        is_array = text.peek() == "["
        rows = _objects(text)
        first, second = next(rows, None), next(rows, None)
        if first is not None and second is None and not is_array:
            line, value = first
            rows = ((line, row) for row in _unwrapped(path, value, wanted))
            first = None
        started = [row for row in (first, second) if row is not None]
        yield from _chunks(chain(started, rows), wanted, chunk_rows)


def _chunks(
    rows: Iterator[_NumberedRow], wanted: Collection[str], chunk_rows: int
) -> Iterator[Chunk]:
    for batch in batches(rows, chunk_rows):
        yield chunk_of_rows([row for _, row in batch], wanted, [number for number, _ in batch])


def _begins_as_array(path: Path) -> bool:
    with open_text(path) as file:
        return _ARRAY.match(file.read(_GLANCE)) is not None


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    where = f"{path}:{number}"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(where, _LINES, _reason(error), "Mend that line.") from None
    if not isinstance(row, dict):
        raise DataError(where, _LINES, f"a JSON {type(row).__name__}", "Mend that line.")
    return row


def _objects(text: "_Text") -> Iterator[_NumberedRow]:
    """Objects of an array or one after another, each with the line it starts on.

    One object at a time is in memory, of MAX_OBJECT characters at most.
    """
    inside = text.peek() == "["
    if inside:
        text.skip()
    while (mark := text.peek()) not in ("", "]"):
        if mark == "," and inside:
            text.skip()
            continue
        line, value = text.line, text.value()
        if not isinstance(value, dict):
            raise text.refusal(line, f"a JSON {type(value).__name__}")
        yield line, value
    if inside and not mark:
        raise text.refusal(text.line, "a list without its end")


class _Text:
    """A text that is read value by value, as far as the next one needs."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self.file = path, file
        self.line, self.text, self.place = 1, "", 0

    def peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            self._advance(_BLANKS.match(self.text, self.place).end())  # type: ignore[union-attr]
            if self.place < len(self.text):
                return self.text[self.place]
            if not self._read(_BLOCK):
                return ""

    def skip(self) -> None:
        """Go past the character that `peek` has shown."""
        self._advance(self.place + 1)

    def value(self) -> Any:
        """The JSON value that starts here. Raises: DataError: none, or too long a one."""
        wanted = _BLOCK
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.place)
                break
            except RecursionError as error:
                raise self.refusal(self.line, str(error)) from None
            except json.JSONDecodeError as error:
                if len(self.text) - self.place > MAX_OBJECT:
                    found = f"an object of more than {MAX_OBJECT // 2**20} million characters"
                    raise self.refusal(self.line, found) from None
                if not self._read(wanted):
                    line = self.line + self.text.count("\n", self.place, error.pos)
                    raise self.refusal(line, error.msg) from None
                wanted *= 4  # so that a long value is not tried block by block
            except ValueError as error:  # a number of too many digits
                raise self.refusal(self.line, str(error)) from None
        self._advance(end)
        return value

    def _advance(self, place: int) -> None:
        self.line += self.text.count("\n", self.place, place)
        self.place = place

    def _read(self, characters: int) -> bool:
        """Take that many more; False at the end of the file."""
        more = self.file.read(characters)
        self.text, self.place = self.text[self.place :] + more, 0
        return bool(more)

    def refusal(self, line: int, found: str) -> DataError:
        """The error for what is at a line."""
        return DataError(f"{self.path}:{line}", _ROWS, found, _AS_LINES)


def _unwrapped(path: Path, value: dict[str, Any], wanted: Collection[str]) -> list[dict[str, Any]]:
    """The rows inside the only object of a file; the object itself if it is a row."""
    tables = {name: inner for name, inner in value.items() if _all_are(dict, inner)}
    if (
        isinstance(value.get("columns"), list)
        and isinstance(value.get("data"), list)
        and not tables
    ):
        return _split_rows(path, value["columns"], value["data"])
    lists = list(value.values())
    if not tables and _all_are(list, lists) and len({*map(len, lists)}) == 1:
        return _zipped(value)
    is_row = not value.keys().isdisjoint(wanted)
    if _all_are(dict, lists):
        by_id = not is_row and not lists[0].keys().isdisjoint(wanted)
        return _rows_by_id(value) if by_id else _column_rows(value)
    if is_row or not tables:
        return [value]
    if len(tables) > 1:
        found = f"several lists of objects, {sorted(tables)[:5]}"
        raise DataError(path, _ROWS, found, "Save the list that holds the posts alone.")
    return next(iter(tables.values()))


def _all_are(kind: type, values: Any) -> bool:
    """Whether it is a list of that kind alone, and of one at least."""
    return isinstance(values, list) and bool(values) and all(isinstance(x, kind) for x in values)


def _zipped(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Rows of a list for each column."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _split_rows(path: Path, columns: list[Any], rows: list[Any]) -> list[dict[str, Any]]:
    """What pandas writes with orient="split"."""
    try:
        return [dict(zip(map(str, columns), row, strict=True)) for row in rows]
    except (TypeError, ValueError):
        found = "rows in 'data' that are not as long as 'columns'"
        raise DataError(path, _ROWS, found, _AS_LINES) from None


def _rows_by_id(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows under their names."""
    return [{"id": name, **row} for name, row in rows.items()]


def _column_rows(columns: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What pandas writes with orient="columns", its default: a value for each row's name."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [
        {column: values[name] for column, values in columns.items() if name in values}
        for name in names
    ]


def _reason(error: ValueError | RecursionError) -> str:
    return str(error).replace(": line 1 column", " at column").split(" (char")[0]
