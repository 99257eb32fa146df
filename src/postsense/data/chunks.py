"""Some rows of a table as Python values, whatever they were read from."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from postsense.errors import DataError

MAX_COLUMNS = 10_000
_ABSENT: Final = object()
_SHOWN = 5
_MAX_DEPTH = 20
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


def chunk_of_rows(
    rows: Sequence[Mapping[str, Any]], wanted: Collection[str], lines: list[int] | None = None
) -> Chunk:
    """The chunk of a dict for each row; nested values are reached with dots."""
    columns = {}
    for name in wanted:
        values = [_dig(row, name) for row in rows]
        if any(value is not _ABSENT for value in values):
            columns[name] = [None if value is _ABSENT else value for value in values]
    names = {name for row in rows[:100] for name in _key_names(row)}
    return Chunk(len(rows), columns, sorted(names), lines)


def heads(wanted: Collection[str]) -> set[str]:
    """The outer columns of dotted names."""
    return {name.partition(".")[0] for name in wanted}


def batches(rows: Iterable[_Row], size: int) -> Iterator[list[_Row]]:
    """Lists of `size` rows, the last one shorter."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def refuse_unfit_columns(where: object, names: Sequence[str]) -> None:
    """Refuse a column that is there twice, and more columns than any table has.

    Raises: DataError.
    """
    if len(names) > MAX_COLUMNS:
        found, fix = f"{len(names)}", "Check that it is a table of posts."
        raise DataError(where, f"at most {MAX_COLUMNS} columns", found, fix)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        shown = f"{repeated[:_SHOWN]}"
        raise DataError(where, "every column once", f"{shown} more than once", "Rename them.")


def _dig(row: Mapping[str, Any], name: str) -> Any:
    """The value under a literal name, else under a dotted path."""
    if name in row:
        return row[name]
    head, _, rest = name.partition(".")
    inner = row.get(head)
    return _dig(inner, rest) if rest and isinstance(inner, Mapping) else _ABSENT


def _key_names(row: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[str]:
    for key, value in row.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            yield from _key_names(value, f"{prefix}{key}.", depth + 1)
