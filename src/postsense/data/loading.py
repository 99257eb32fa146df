"""Tables of posts → Posts: maps columns, joins pictures, refuses bad ids."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postsense.config import Columns
from postsense.data.cells import CellError, cell_converters
from postsense.data.readers import Chunk
from postsense.data.sources import RawTable, open_tables
from postsense.errors import DataError, nearest
from postsense.posts import SCHEMA, Posts

DEFAULT_COLUMNS = Columns()
_SHOWN = 3


def load_posts(
    source: Any,
    columns: Columns = DEFAULT_COLUMNS,
    require: Collection[str] = (),
    optional: Collection[str] = (),
    extra: Collection[str] = (),
) -> Posts:
    """The posts of a .parquet, .jsonl or .csv file, an image folder or a table in memory.

    Pictures become absolute paths: relative ones start at the table's folder, or at the current
    folder if the table is in memory. Blank texts, labels and splits become null; splits get the
    names train, val and test. Posts of a table without ids are named by their row, from 0.

    Args:
        source: path, pandas.DataFrame, pyarrow.Table, list of dicts, or Posts (returned as is).
        columns: the table's names for our columns. One that differs from its default must be
            there; one at its default is null if absent.
        require: our names of columns that must be there, such as ("label",).
        optional: our names of columns that may be absent even if they differ from their default;
            text and image, of which one must be there, may both be absent if both are named.
        extra: the table's names of columns to keep in `Posts.extra`, nested ones with dots. They
            must be there.
    Raises: DataError: the table, a column or an id cannot be used; the message says where and why.
    """
    if isinstance(source, Posts):
        return source
    parts = [_load(table, columns, require, optional, extra) for table in open_tables(source)]
    name = parts[0].name if len(parts) == 1 else str(source)
    table = pa.concat_tables([part.table for part in parts])
    kept = {column: [value for part in parts for value in part.extra[column]] for column in extra}
    if table["id"].null_count == len(table):
        rows = pa.array(np.arange(len(table))).cast(pa.string())
        return Posts(table.set_column(0, SCHEMA.field("id"), rows), name, kept)
    _refuse_missing_ids(table["id"], parts, name)
    _refuse_repeated_ids(table["id"], parts, name)
    return Posts(table, name, kept)


@dataclass(frozen=True)
class _Part:
    """One table in our columns, and the line of the file each row starts on, if it has lines.

    extra: the columns that are kept as they are.
    """

    name: str
    table: pa.Table
    lines: np.ndarray | None
    extra: Mapping[str, list[Any]]


def _load(
    raw: RawTable,
    columns: Columns,
    require: Collection[str],
    optional: Collection[str],
    extra: Collection[str],
) -> _Part:
    sources = _source_names(raw, columns)
    tables: list[pa.Table] = []
    lines: list[list[int]] = []
    kept: dict[str, list[Any]] = {name: [] for name in extra}
    names, present, found = set[str](), set[str](), set[str]()
    for chunk in raw.read({*sources.values(), *extra}):
        tables.append(_convert(chunk, sources, raw, first_row=sum(map(len, tables))))
        lines += [chunk.lines] if chunk.lines is not None else []
        names.update(chunk.names)
        present.update(field for field, source in sources.items() if source in chunk.columns)
        found.update(chunk.columns)
        for name, values in kept.items():
            values += chunk.columns.get(name, [None] * chunk.rows)
    if not sum(map(len, tables)):
        raise DataError(raw.name, "at least one post", "none", "Check that the table has rows.")
    _refuse_absent(raw.name, {field: sources[field] for field in require}, names, present)
    _refuse_absent(raw.name, _mapped(sources, optional), names, present)
    _refuse_absent_extra(raw.name, extra, names, found)
    if not {"text", "image"} <= set(optional):
        _refuse_no_content(raw.name, sources, names, present)
    numbers = np.concatenate(lines) if lines else None
    return _Part(raw.name, pa.concat_tables(tables), numbers, kept)


def _source_names(raw: RawTable, columns: Columns) -> dict[str, str]:
    """Our column → the table's column; None of ours if a sub-folder gives the split."""
    sources: dict[str, str] = columns.model_dump()
    if raw.is_image_folder and columns.image == DEFAULT_COLUMNS.image:
        sources["image"] = "file_name"
    if raw.split is not None and columns.split == DEFAULT_COLUMNS.split:
        del sources["split"]
    return sources


def _mapped(sources: Mapping[str, str], optional: Collection[str]) -> dict[str, str]:
    """The columns that the user named, and so expects; an image folder expects `file_name`."""
    defaults = DEFAULT_COLUMNS.model_dump()
    return {
        field: source
        for field, source in sources.items()
        if source != defaults[field] and field not in optional
    }


def _refuse_absent(
    name: str, wanted: Mapping[str, str], names: Collection[str], present: Collection[str]
) -> None:
    for field, source in wanted.items():
        if field not in present:
            expected = f"a column '{source}'" + (f" for {field}" if field != source else "")
            fix = f"{nearest(source, names)} data.columns.{field} names the column to use."
            raise DataError(name, expected, "no such column", fix)


def _refuse_absent_extra(
    name: str, extra: Collection[str], names: Collection[str], found: Collection[str]
) -> None:
    for column in extra:
        if column not in found:
            fix = nearest(column, names)
            raise DataError(name, f"a column '{column}'", "no such column", fix)


def _refuse_no_content(
    name: str, sources: Mapping[str, str], names: Collection[str], present: Collection[str]
) -> None:
    if "text" not in present and "image" not in present:
        expected = f"a column '{sources['text']}' or '{sources['image']}'"
        fix = "Name yours with data.columns.text and data.columns.image."
        raise DataError(name, expected, f"the columns {sorted(names)}", fix)


def _convert(chunk: Chunk, sources: Mapping[str, str], raw: RawTable, first_row: int) -> pa.Table:
    """The chunk in our columns; those it lacks are null."""
    converters, arrays = cell_converters(raw.folder), []
    for field in SCHEMA:
        values = chunk.columns.get(sources.get(field.name, ""))
        if field.name not in sources:
            arrays.append(pa.repeat(raw.split, chunk.rows))
        elif values is None:
            arrays.append(pa.nulls(chunk.rows, field.type))
        else:
            place = partial(_place, raw.name, field.name, chunk.lines, first_row)
            converted = _convert_all(values, converters[field.name], place)
            arrays.append(_arrow_array(converted, field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _convert_all(
    values: list[Any], convert: Callable[[Any], Any], place: Callable[[int], str]
) -> list[Any]:
    converted = []
    for row, value in enumerate(values):
        try:
            converted.append(convert(value))
        except CellError as error:
            raise DataError(place(row), error.expected, error.found, "Mend that cell.") from None
    return converted


def _place(name: str, column: str, lines: list[int] | None, first_row: int, row: int) -> str:
    where = f" row {first_row + row}" if lines is None else f":{lines[row]}"
    return f"{name}{where}, {column}"


def _arrow_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # half of a surrogate pair: JSON with a cut "\ud83d\ude00"
        return pa.array([_mend_surrogates(value) for value in values], kind)


def _mend_surrogates(value: Any) -> Any:
    if isinstance(value, list):
        return [_mend_surrogates(item) for item in value]
    if value is None:
        return None
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse_missing_ids(ids: pa.ChunkedArray, parts: list[_Part], name: str) -> None:
    if ids.null_count:
        rows = np.flatnonzero(ids.is_null().to_numpy())
        places = _listed([_row_name(int(row), parts) for row in rows])
        fix = "Give them ids, or leave the id column out to use row numbers."
        raise DataError(name, "an id for every post", f"{len(rows)} without ({places})", fix)


def _refuse_repeated_ids(ids: pa.ChunkedArray, parts: list[_Part], name: str) -> None:
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    rows_of = defaultdict(list)
    for row, post_id in enumerate(ids.to_pylist()):
        rows_of[post_id].append(row)
    repeated = {post_id: rows for post_id, rows in rows_of.items() if len(rows) > 1}
    examples = [
        f"'{post_id}' in {_listed([_row_name(row, parts) for row in rows])}"
        for post_id, rows in repeated.items()
    ]
    found = f"{len(repeated)} used more than once: {_listed(examples, separator='; ')}"
    fix = "Drop the repeated posts or give them ids of their own."
    raise DataError(name, "unique ids", found, fix)


def _row_name(row: int, parts: list[_Part]) -> str:
    """The place of a row of all parts, such as `line 7`, with its file if there are several."""
    part = 0
    while row >= len(parts[part].table):
        row -= len(parts[part].table)
        part += 1
    lines = parts[part].lines
    place = f"row {row}" if lines is None else f"line {lines[row]}"
    return place if len(parts) == 1 else f"{parts[part].name} {place}"


def _listed(items: list[str], separator: str = ", ") -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return separator.join([*items[:_SHOWN], *more])
