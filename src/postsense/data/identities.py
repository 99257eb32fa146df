"""Ids of posts: given by a table, or made up so that nobody has them twice."""

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from postsense.data.spreadsheets import LOST_DIGITS, ids_without_digits
from postsense.errors import DataError

_SHOWN = 3


@dataclass(frozen=True)
class Identified:
    """The ids of one table's rows, and the line of the file each starts on, if it has lines.

    ids: null in all rows of a table that has none.
    """

    name: str
    ids: pa.ChunkedArray
    lines: np.ndarray | None

    @property
    def is_bare(self) -> bool:
        return bool(self.ids.null_count == len(self.ids))


def free_ids(names: Sequence[str], taken: Container[str], prefix: str) -> list[str]:
    """The names, all after as many prefixes as it takes for none to be among those taken."""
    before = ""
    while any(before + name in taken for name in names):
        before += prefix
    return [before + name for name in names]


def ids_of_tables(tables: Sequence[Identified], name: str) -> pa.Array:
    """An id for each row of all tables; rows of those without ids are named by their number.

    Raises: DataError: a table has ids for some of its rows only, or an id is used more than once.
    """
    for part, table in enumerate(tables):
        if not table.is_bare and table.ids.null_count:
            lacking = np.flatnonzero(table.ids.is_null().to_numpy())
            places = _listed([_place(part, int(row), tables) for row in lacking])
            fix = "Give them ids, or leave the id column out to use row numbers."
            found = f"{len(lacking)} without ({places})"
            raise DataError(name, "an id for every post", found, fix)
    given = [post_id for table in tables if not table.is_bare for post_id in table.ids.to_pylist()]
    if len(set(given)) < len(given):
        raise _repeated_error(tables, name)
    taken, ids, first = set(given), list[str](), 0
    for table in tables:
        if table.is_bare:
            rows = [str(row) for row in range(first, first + len(table.ids))]
            made = free_ids(rows, taken, f"{Path(table.name).stem}-")
            taken.update(made)
        ids += made if table.is_bare else table.ids.to_pylist()
        first += len(table.ids)
    return pa.array(ids, pa.string())


def _repeated_error(tables: Sequence[Identified], name: str) -> DataError:
    rows_of = defaultdict(list)
    for part, table in enumerate(tables):
        for row, post_id in enumerate(table.ids.to_pylist()):
            if post_id is not None:
                rows_of[post_id].append(_place(part, row, tables))
    repeated = {post_id: rows for post_id, rows in rows_of.items() if len(rows) > 1}
    examples = [f"'{post_id}' in {_listed(rows)}" for post_id, rows in repeated.items()]
    found = f"{len(repeated)} used more than once: {_listed(examples, separator='; ')}"
    fix = "Drop the repeated posts or give them ids of their own."
    if ids_without_digits(list(repeated)):
        fix = f"Ids like these {LOST_DIGITS}"
    return DataError(name, "unique ids", found, fix)


def _place(part: int, row: int, tables: Sequence[Identified]) -> str:
    """The place of a row, such as `line 7`, with its file if there are several."""
    lines = tables[part].lines
    place = f"row {row}" if lines is None else f"line {lines[row]}"
    return place if len(tables) == 1 else f"{tables[part].name} {place}"


def _listed(items: list[str], separator: str = ", ") -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return separator.join([*items[:_SHOWN], *more])
