"""Chunks of a table's raw columns → our columns."""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import pyarrow as pa

from postsense.data.cells import CellError
from postsense.data.chunks import Chunk
from postsense.data.sources import RawTable
from postsense.errors import DataError
from postsense.posts import SCHEMA

logger = logging.getLogger(__name__)


class ChunkConverter:
    """Turns the chunks of one table, in their order, into tables in our columns.

    A cell of a column that is read must hold what the column can; in one that is not read it is
    null otherwise, and counted.
    """

    def __init__(
        self,
        raw: RawTable,
        sources: Mapping[str, str],
        reads: Collection[str],
        converters: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        """sources: our column → the table's. reads: of ours. converters: see `cell_converters`."""
        self.raw, self.sources, self.converters = raw, sources, converters
        self.reads = {"id", *reads}
        self._rows = 0  # of the chunks before
        self._misfits: dict[str, list[CellError]] = {}

    def __call__(self, chunk: Chunk) -> pa.Table:
        """The chunk in our columns; those it lacks are null. Raises: DataError: a wrong cell."""
        arrays = [self._column(field.name, field.type, chunk) for field in SCHEMA]
        self._rows += chunk.rows
        return pa.Table.from_arrays(arrays, schema=SCHEMA)

    def _column(self, name: str, kind: pa.DataType, chunk: Chunk) -> pa.Array:
        values = chunk.columns.get(self.sources.get(name, ""))
        if values is None:
            given = self.raw.split if name == "split" else None
            return pa.repeat(pa.scalar(given, kind), chunk.rows)
        if name not in self.reads:
            misfit = self._misfits.setdefault(name, []).append
            return _arrow_array(_convert_fitting(values, self.converters[name], misfit), kind)
        place = partial(_place, self.raw.name, name, chunk.lines, self._rows)
        return _arrow_array(_convert_all(values, self.converters[name], place), kind)

    def warn_of_misfits(self) -> None:
        """Say how many cells of columns that are not read hold what their column cannot."""
        for column, errors in self._misfits.items():
            if errors:
                logger.warning(
                    "%s: column '%s' is not read here, and left out where it does not hold %s"
                    " (%d cells, the first with %s)",
                    self.raw.name,
                    self.sources[column],
                    errors[0].expected,
                    len(errors),
                    errors[0].found,
                )


def _convert_all(
    values: list[Any], convert: Callable[[Any], Any], place: Callable[[int], str]
) -> list[Any]:
    converted = []
    for row, value in enumerate(values):
        try:
            converted.append(convert(value))
        except CellError as error:
            raise DataError(place(row), error.expected, error.found, error.fix) from None
    return converted


def _convert_fitting(
    values: list[Any], convert: Callable[[Any], Any], misfit: Callable[[CellError], None]
) -> list[Any]:
    """The values, None where a cell holds what its column cannot."""
    converted = []
    for value in values:
        try:
            converted.append(convert(value))
        except CellError as error:
            converted.append(None)
            misfit(error)
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
