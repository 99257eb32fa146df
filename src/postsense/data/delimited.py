"""Files of cells parted by commas, semicolons or tabs → chunks, as spreadsheets write them too."""

import csv
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from postsense.data.chunks import Chunk, batches, refuse_unfit_columns
from postsense.data.text_files import lines_of, open_text
from postsense.errors import DataError

MAX_CELL = 16 * 1024 * 1024  # characters
MAX_HEADER = 1024 * 1024
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # what Excel reads and writes
_SAMPLE_LINES = 20
logger = logging.getLogger(__name__)


def read_delimited(
    path: Path, wanted: Collection[str], chunk_rows: int, delimiter: str | None = None
) -> Iterator[Chunk]:
    """Chunks of a text file of cells under a header; every cell is a string.

    Rows without any cell filled are skipped, blank names of columns and what is under them too.

    Args:
        delimiter: what parts the cells; None: what a line `sep=;` says, else a guess by the header
            and the first rows, which is logged if it is not what the file's name says.
    Raises: DataError: not such a file; the line is named.
    """
    with open_text(path) as text:
        rows = _rows(path, lines_of(path, text), wanted, delimiter)
        header = next(rows).cells
        for batch in batches(rows, chunk_rows):
            columns = {
                name: [row.cells[place] for row in batch]
                for place, name in enumerate(header)
                if name and name in wanted
            }
            names = [name for name in header if name]
            yield Chunk(len(batch), columns, names, [row.line for row in batch])


@dataclass(frozen=True)
class _Row:
    """The cells of a row and the line it starts on."""

    line: int
    cells: list[str]


def _rows(
    path: Path, lines: Iterator[str], wanted: Collection[str], delimiter: str | None
) -> Iterator[_Row]:
    """The header with blanks around its names removed, then the rows, as many cells each."""
    if csv.field_size_limit() < MAX_CELL:  # of the process; 131,072 where nobody has raised it
        csv.field_size_limit(MAX_CELL)
    sample = _sample(path, lines)
    told = _SEP_LINE.fullmatch(sample[0]) if sample else None
    skipped = 0 if told is None else 1
    if delimiter is None:
        delimiter = told[1] if told is not None else _guess(path, sample, wanted)
    lines = chain(sample[skipped:], lines)
    records = (row for row in _records(path, lines, delimiter, skipped) if not _is_blank(row.cells))
    first = next(records, _Row(1, []))
    header = _header(path, first.cells, wanted)
    yield _Row(first.line, header)
    for row in records:
        yield _fitted(path, row, len(header), delimiter)


def _sample(path: Path, lines: Iterator[str]) -> list[str]:
    """The first lines, as many as a guess needs."""
    sample: list[str] = []
    while len(sample) < _SAMPLE_LINES and sum(map(len, sample)) < MAX_HEADER:
        line = next(lines, None)
        if line is None:
            break
        sample.append(line)
    if sample and len(sample[0]) > MAX_HEADER:
        expected = f"a header of at most {MAX_HEADER} characters"
        fix = "Check that the file is a table of posts."
        raise DataError(f"{path}:1", expected, f"{len(sample[0])}", fix)
    return sample


def _header(path: Path, cells: Sequence[str], wanted: Collection[str]) -> list[str]:
    names = [cell if cell in wanted else cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    refuse_unfit_columns(path, [name for name in names if name])
    return names


def _fitted(path: Path, row: _Row, width: int, delimiter: str) -> _Row:
    """The row without empty cells beyond the header."""
    cells = row.cells
    if len(cells) < width or any(cells[width:]):
        expected = f"{width} cells, as in the header"
        fix = "Quote cells that contain commas or line breaks."
        if delimiter != ",":
            fix = f"Cells are parted by {_called(delimiter)}: quote those that contain such."
        if width == 1:
            fix += " If its cells are parted by something else, name that in data.delimiter."
        raise DataError(f"{path}:{row.line}", expected, f"{len(cells)}", fix)
    return _Row(row.line, cells[:width])


def _records(path: Path, lines: Iterator[str], delimiter: str, skipped: int) -> Iterator[_Row]:
    """What the csv module makes of the lines; blank ones are left out."""
    reader, start = csv.reader(lines, delimiter=delimiter, strict=True), skipped + 1
    try:
        for row in reader:
            if row:
                yield _Row(start, row)
            start = skipped + reader.line_num + 1
    except csv.Error as error:
        fix = "Mend the quotes there, or save the table as Parquet or JSONL."
        raise DataError(f"{path}:{start}", "a row of CSV", str(error), fix) from None


def _is_blank(cells: Sequence[str]) -> bool:
    """Whether a row is what spreadsheets write for an empty one, such as `;;;`."""
    return len(cells) > 1 and all(not cell or cell.isspace() for cell in cells)


def _guess(path: Path, sample: Sequence[str], wanted: Collection[str]) -> str:
    """The delimiter under which the header has most of the wanted names, then by the rows.

    Where nothing tells, that of the file's name, or the comma.
    """
    stem = path.name.lower().removesuffix(".gz")
    usual = _USUAL.get(Path(stem).suffix)
    first = usual or ","
    best = first
    for other in DELIMITERS:
        if _fit(sample, other, wanted) > _fit(sample, best, wanted):
            best = other
    if best != usual and _fit(sample, best, wanted)[1]:
        logger.warning(
            "%s: cells are parted by %s, as guessed from its header; data.delimiter sets it",
            path,
            _called(best),
        )
    return best


def _fit(sample: Sequence[str], delimiter: str, wanted: Collection[str]) -> tuple[int, bool, bool]:
    """How well a delimiter fits: wanted names, several columns, rows as wide as the header."""
    try:
        rows = [row for row in csv.reader(sample, delimiter=delimiter) if not _is_blank(row)]
    except csv.Error:
        rows = []
    if not rows:
        return 0, False, False
    names = {name.strip() for name in rows[0]}
    whole = rows[1:-1] or rows[1:]  # the last one may go on after the sample
    widths = {len(row) for row in whole}
    return len(names & set(wanted)), len(rows[0]) > 1, widths <= {len(rows[0])}


def _called(delimiter: str) -> str:
    return DELIMITERS.get(delimiter, f"'{delimiter}'")
