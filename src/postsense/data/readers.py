"""Files and tables in memory → chunks of raw columns; one reader for each format."""

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from postsense.errors import DataError

CHUNK_ROWS = 8192
_ABSENT: Final = object()
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table, as Python values.

    columns: wanted columns only; one that no row has is left out. names: every column the rows
    have, dotted where nested. lines: the line of the file each row starts on, where it has lines.
    """

    rows: int
    columns: dict[str, list[Any]]
    names: list[str]
    lines: list[int] | None = None


def read_parquet(path: Path, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a Parquet file; other columns than the wanted are not read from disk."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _refuse_repeated(path, schema.names)
            needed = [name for name in schema.names if name in wanted or name in _heads(wanted)]
            for batch in file.iter_batches(CHUNK_ROWS, columns=needed):
                yield _chunk_of_batch(batch, schema, wanted)
    except (pa.ArrowException, OSError) as error:
        found = str(error).splitlines()[0].rstrip(".")
        raise DataError(path, "a whole Parquet file", found, "Write the file again.") from None


def read_jsonl(path: Path, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a UTF-8 file with one JSON object a line; blank lines are skipped."""
    with _open_text(path) as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if not line.isspace())
        for batch in _batches(numbered):
            rows = [_parse_line(path, number, line) for number, line in batch]
            yield _chunk_of_rows(rows, wanted, [number for number, _ in batch])


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    where, expected = f"{path}:{number}", "one JSON object a line"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        found = str(error).replace(": line 1 column", " at column").split(" (char")[0]
        raise DataError(where, expected, found, "Mend that line.") from None
    if not isinstance(row, dict):
        raise DataError(where, expected, f"a JSON {type(row).__name__}", "Mend that line.")
    return row


def read_csv(path: Path, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a UTF-8 file of cells parted by commas, under a header; every cell is a string."""
    with _open_text(path) as file:
        rows = _csv_rows(path, file)
        _, header = next(rows, (0, []))
        _refuse_repeated(path, header)
        for batch in _batches(rows):
            cells = list(zip(*(row for _, row in batch), strict=True))
            columns = {name: list(cells[i]) for i, name in enumerate(header) if name in wanted}
            yield Chunk(len(batch), columns, header, [line for line, _ in batch])


def _csv_rows(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows, each with the line it starts on; blank lines are skipped."""
    reader, start, width = csv.reader(file, strict=True), 1, 0
    try:
        for row in reader:
            width = width or len(row)
            if row and len(row) != width:
                found, fix = f"{len(row)}", "Quote cells that contain commas or line breaks."
                raise DataError(f"{path}:{start}", f"{width} cells, as in the header", found, fix)
            if row:
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        fix = "Mend the quotes there, or save the table as Parquet or JSONL."
        raise DataError(f"{path}:{start}", "a row of CSV", str(error), fix) from None


def read_arrow(table: pa.Table, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a pyarrow.Table."""
    _refuse_repeated("pyarrow.Table", table.column_names)
    for batch in table.to_batches(CHUNK_ROWS):
        yield _chunk_of_batch(batch, table.schema, wanted)


def read_frame(frame: Any, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a pandas.DataFrame; its NaN, NaT and NA become None."""
    names = [str(name) for name in frame.columns]
    _refuse_repeated("DataFrame", names)
    needed = [i for i, name in enumerate(names) if name in wanted or name in _heads(wanted)]
    for start in range(0, len(frame), CHUNK_ROWS):
        part = frame.iloc[start : start + CHUNK_ROWS, needed]
        values = part.astype(object).where(part.notna(), None).to_numpy().tolist()
        kept = [names[i] for i in needed]
        chunk = _chunk_of_rows([dict(zip(kept, row, strict=True)) for row in values], wanted)
        yield Chunk(len(part), chunk.columns, sorted({*names, *chunk.names}))


def read_rows(rows: Sequence[Any], wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a list with a dict for each post."""
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows[start : start + CHUNK_ROWS]
        for number, row in enumerate(part, start):
            if not isinstance(row, Mapping):
                where, found = f"list of rows, row {number}", f"'{type(row).__name__}'"
                raise DataError(where, "a dict for each post", found, "Pass dicts.")
        yield _chunk_of_rows(part, wanted)


def _chunk_of_batch(batch: pa.RecordBatch, schema: pa.Schema, wanted: Collection[str]) -> Chunk:
    names = list(_field_names(schema))
    columns = {name: _arrow_values(batch, name) for name in wanted if name in names}
    return Chunk(batch.num_rows, columns, names)


def _field_names(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[str]:
    for field in fields:
        yield prefix + field.name
        if pa.types.is_struct(field.type):
            yield from _field_names(field.type, f"{prefix}{field.name}.")


def _arrow_values(batch: pa.RecordBatch, name: str) -> list[Any]:
    if name not in batch.schema.names:
        column, *path = name.split(".")
        return list(pc.struct_field(batch[column], path).to_pylist())
    return list(batch[name].to_pylist())


def _chunk_of_rows(
    rows: Sequence[Mapping[str, Any]], wanted: Collection[str], lines: list[int] | None = None
) -> Chunk:
    columns = {}
    for name in wanted:
        values = [_dig(row, name) for row in rows]
        if any(value is not _ABSENT for value in values):
            columns[name] = [None if value is _ABSENT else value for value in values]
    names = {name for row in rows[:100] for name in _key_names(row)}
    return Chunk(len(rows), columns, sorted(names), lines)


def _dig(row: Mapping[str, Any], name: str) -> Any:
    """The value under a literal name, else under a dotted path."""
    if name in row:
        return row[name]
    head, _, rest = name.partition(".")
    inner = row.get(head)
    return _dig(inner, rest) if rest and isinstance(inner, Mapping) else _ABSENT


def _key_names(row: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in row.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _key_names(value, f"{prefix}{key}.")


def _heads(wanted: Collection[str]) -> set[str]:
    return {name.partition(".")[0] for name in wanted}


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, CHUNK_ROWS)):
        yield batch


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 file, with or without a byte-order mark; decoding errors name the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        fix = "Save the file as UTF-8."
        raise DataError(_undecodable_line(path), "UTF-8 text", "other bytes", fix) from None
    except OSError as error:
        raise DataError(path, "a readable file", str(error.strerror), "Check the file.") from None


def _undecodable_line(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f"{path}:{number}"
    return str(path)


def _refuse_repeated(where: object, names: Sequence[str]) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise DataError(where, "every column once", f"{repeated} more than once", "Rename them.")
