"""Tables of posts → Posts: maps columns, joins pictures, refuses bad ids."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from postsense.config import Columns
from postsense.data.cells import cell_converters
from postsense.data.conversion import ChunkConverter
from postsense.data.identities import Identified, ids_of_tables
from postsense.data.label_kinds import cell_kinds, common_kind
from postsense.data.reading import Reading
from postsense.data.sources import RawTable, open_tables
from postsense.data.spreadsheets import LOST_DIGITS, ids_without_digits
from postsense.errors import DataError, nearest
from postsense.posts import SCHEMA, LabelKind, Posts

logger = logging.getLogger(__name__)
DEFAULT_COLUMNS = Columns()
ALL = tuple(SCHEMA.names)
_SHOWN_NAMES = 20


def load_posts(
    source: Any,
    columns: Columns = DEFAULT_COLUMNS,
    require: Collection[str] = (),
    optional: Collection[str] = (),
    extra: Collection[str] = (),
    reads: Collection[str] = ALL,
    reading: Reading | None = None,
) -> Posts:
    """The posts of a table in a file, a folder or in memory: see `open_tables`.

    Pictures become absolute paths: relative ones start at the table's folder, or at the current
    folder if the table is in memory; those inside the table become files in the cache folder. Blank
    texts, labels and splits become null; splits get the names train, val and test. Posts of a
    table without ids are named by their row, from 0, or so that no other table's ids are used
    again. `Posts.label_kind` says what labels were.

    Args:
        source: what `open_tables` reads, or Posts (returned as is).
        columns: the table's names for our columns. One that differs from its default must be
            there; one at its default is null if absent.
        require: our names of columns that must be there, such as ("label",).
        optional: our names of columns that may be absent even if they differ from their default;
            text and image, of which one must be there, may both be absent if both are named.
        extra: the table's names of columns to keep in `Posts.extra`, nested ones with dots. They
            must be there.
        reading: delimiter, folders of pictures; None: as the settings are by default.
        reads: our names of columns that the caller reads, beside ids. What the others hold that
            their column cannot is null, with a warning, and no reason to refuse the table.
    Raises: DataError: the table, a column or an id cannot be used; the message says where and why.
    """
    if isinstance(source, Posts):
        return source
    reading = reading or Reading()
    tables = open_tables(source, reading.delimiter)
    parts = [
        _load(table, columns, _required_of(table, tables, require), optional, extra, reads, reading)
        for table in tables
    ]
    _refuse_different_parts(parts)
    name = parts[0].name if len(parts) == 1 else str(source)
    table = pa.concat_tables([part.table for part in parts])
    kept = {column: [value for part in parts for value in part.extra[column]] for column in extra}
    identified = [Identified(part.name, part.table["id"], part.lines) for part in parts]
    table = table.set_column(0, SCHEMA.field("id"), ids_of_tables(identified, name))
    lost = ids_without_digits(table["id"].to_pylist())
    if lost:
        logger.warning("%s: %d ids such as '%s' %s", name, len(lost), lost[0], LOST_DIGITS)
    kinds = {kind for part in parts for kind in part.label_kinds}
    return Posts(
        table,
        name,
        kept,
        label_kind=common_kind(kinds, name),
        made_ids=all(part.is_bare for part in identified),
    )


@dataclass(frozen=True)
class _Part:
    """One table in our columns, and the line of the file each row starts on, if it has lines.

    extra: the columns that are kept as they are. present: our names of the columns it has.
    """

    name: str
    split: str | None
    present: Collection[str]
    table: pa.Table
    lines: np.ndarray | None
    extra: Mapping[str, list[Any]]
    label_kinds: Collection[LabelKind]


def _load(
    raw: RawTable,
    columns: Columns,
    require: Collection[str],
    optional: Collection[str],
    extra: Collection[str],
    reads: Collection[str],
    reading: Reading,
) -> _Part:
    sources = _source_names(raw, columns)
    convert = ChunkConverter(raw, sources, reads, cell_converters(raw.folder, reading))
    tables: list[pa.Table] = []
    lines: list[list[int]] = []
    kept: dict[str, list[Any]] = {name: [] for name in extra}
    names, present, found, kinds = set[str](), set[str](), set[str](), set[LabelKind]()
    for chunk in raw.read({*sources.values(), *extra}):
        tables.append(convert(chunk))
        kinds |= cell_kinds(chunk.columns.get(sources["label"], ()))
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
    convert.warn_of_misfits()
    numbers = np.concatenate(lines) if lines else None
    table = pa.concat_tables(tables)
    return _Part(raw.name, raw.split, present, table, numbers, kept, kinds)


def _required_of(
    table: RawTable, tables: Sequence[RawTable], require: Collection[str]
) -> Collection[str]:
    """The columns that a table must have: one of the test split may lack labels beside others."""
    may_lack = len(tables) > 1 and table.split == "test"
    return [name for name in require if not (may_lack and name == "label")]


def _refuse_different_parts(parts: Sequence[_Part]) -> None:
    """Refuse parts of one split of which one has a column that another lacks, but for JSON."""
    first: dict[str | None, _Part] = {}
    for part in parts:
        known = first.setdefault(part.split, part)
        lacking = sorted(set(known.present) ^ set(part.present))
        if lacking and ".json" not in part.name and ".ndjson" not in part.name:
            has, lacks = (known, part) if lacking[0] in known.present else (part, known)
            expected = f"the columns of {has.name}, which has '{lacking[0]}'"
            fix = "Give both the same columns, or pass them one by one."
            raise DataError(lacks.name, expected, "no such column", fix)


def _source_names(raw: RawTable, columns: Columns) -> dict[str, str]:
    """Our column → the table's column; None of ours if a sub-folder gives the split."""
    sources = columns.sources
    if raw.is_image_folder and columns.image == DEFAULT_COLUMNS.image:
        sources["image"] = "file_name"
    if raw.split is not None and raw.is_image_folder and columns.split == DEFAULT_COLUMNS.split:
        del sources["split"]
    return sources


def _mapped(sources: Mapping[str, str], optional: Collection[str]) -> dict[str, str]:
    """The columns that the user named, and so expects; an image folder expects `file_name`."""
    defaults = DEFAULT_COLUMNS.sources
    return {
        field: source
        for field, source in sources.items()
        if source != defaults.get(field) and field not in optional
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
        if len(names) == 1:
            fix += " If its cells are parted by something unusual, name that in data.delimiter."
        shown = f"the columns {sorted(names)[:_SHOWN_NAMES]}"
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        raise DataError(name, expected, shown + more, fix)
