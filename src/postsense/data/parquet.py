"""Parquet files → chunks; what a file says of its sizes is looked at before anything is read."""

from collections.abc import Collection, Iterator, Sequence
from io import BufferedReader
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from postsense.data.arrow_tables import PICTURE_ROWS, chunk_of_batch, may_hold_pictures
from postsense.data.chunks import Chunk, heads, refuse_unfit_columns
from postsense.data.text_files import most_rows, most_unpacked
from postsense.errors import DataError
from postsense.files.regular import UnreadableFileError, file_size, open_regular

_BATCH_BYTES = 64 * 1024 * 1024  # that a batch may need at most, a single cell excepted
_NEXT_INTEGER = 0x15


def read_parquet_file(path: Path, wanted: Collection[str], chunk_rows: int) -> Iterator[Chunk]:
    """Chunks of a Parquet file; other columns than the wanted are not read from disk.

    Raises: DataError: not a Parquet file, a damaged one, or one that holds far more than its size
        allows: `most_rows`, `most_unpacked`.
    """
    try:
        with open_regular(path) as stream, pq.ParquetFile(stream) as file:
            yield from _chunks(path, file, stream, wanted, chunk_rows)
    except UnreadableFileError as error:
        raise DataError(path, "a Parquet file", error.found, "Check the path.") from None
    except (pa.ArrowException, OSError, UnicodeError, MemoryError) as error:
        found = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(path, "a whole Parquet file", found, "Write the file again.") from None


def _chunks(
    path: Path,
    file: pq.ParquetFile,
    stream: BufferedReader,
    wanted: Collection[str],
    chunk_rows: int,
) -> Iterator[Chunk]:
    schema, limit = file.schema_arrow, most_unpacked(file_size(stream))
    refuse_unfit_columns(path, schema.names)
    needed = [name for name in schema.names if name in wanted or name in heads(wanted)]
    pictures = {name for name in needed if may_hold_pictures(schema.field(name))}
    columns = [
        group.column(place)
        for group in map(file.metadata.row_group, range(file.metadata.num_row_groups))
        for place in range(group.num_columns)
        if _top_name(group.column(place), needed) is not None
    ]
    _refuse_bomb(path, file.metadata.num_rows, columns, file_size(stream))
    cell = _largest_cell(stream, columns)
    rows = min(chunk_rows, _BATCH_BYTES // cell)
    if pictures:
        announced = sum(column.total_uncompressed_size for column in columns)
        cell = max(cell, announced // max(1, file.metadata.num_rows))
        rows = min(rows, PICTURE_ROWS, _BATCH_BYTES // max(1, cell))
    start, unpacked = 0, 0
    for batch in _gathered(file.iter_batches(max(1, rows), columns=needed), chunk_rows):
        unpacked += sum(batch[name].nbytes for name in needed if name not in pictures)
        if unpacked > limit:
            raise _bomb_error(path, limit, "more")
        yield chunk_of_batch(str(path), batch, schema, wanted, start)
        start += batch.num_rows


def _gathered(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer batches, as far as these are small."""
    held: list[pa.RecordBatch] = []
    count, size = 0, 0
    for batch in batches:
        if held and (count + batch.num_rows > rows or size > _BATCH_BYTES // 8):
            yield pa.concat_batches(held)
            held, count, size = [], 0, 0
        held.append(batch)
        count, size = count + batch.num_rows, size + batch.nbytes
    if held:
        yield pa.concat_batches(held)


def _top_name(column: pq.ColumnChunkMetaData, names: Collection[str]) -> str | None:
    path = str(column.path_in_schema)
    return next((name for name in names if path == name or path.startswith(f"{name}.")), None)


def _refuse_bomb(
    path: Path, rows: int, columns: Sequence[pq.ColumnChunkMetaData], size: int
) -> None:
    values = max([rows, *(column.num_values for column in columns)])
    most = most_rows(size)
    if values > most:
        found, fix = f"{values} in {size} bytes", "Check where it came from."
        raise DataError(path, f"at most {most} rows or items in a file of that size", found, fix)
    announced, limit = (
        sum(column.total_uncompressed_size for column in columns),
        most_unpacked(size),
    )
    if announced > limit:
        raise _bomb_error(path, limit, f"{announced / 2**20:.0f} MiB")


def _bomb_error(path: Path, limit: int, found: str) -> DataError:
    expected = f"a table that unpacks to at most {limit / 2**20:.0f} MiB"
    fix = "If it is what you expect, save it as CSV or JSONL and pass that."
    return DataError(path, expected, found, fix)


def _largest_cell(stream: BufferedReader, columns: Sequence[pq.ColumnChunkMetaData]) -> int:
    """A bound for the bytes of a cell that a few bytes of the file may repeat in many rows."""
    largest = 1
    for column in columns:
        if column.physical_type not in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
            continue
        if "DELTA_BYTE_ARRAY" in column.encodings:  # a cell is told by how it differs from others
            largest = max(largest, column.total_uncompressed_size)
        elif column.has_dictionary_page and column.dictionary_page_offset is not None:
            known = _page_size(stream, column.dictionary_page_offset)
            largest = max(largest, column.total_uncompressed_size if known is None else known)
    return largest


def _page_size(stream: BufferedReader, offset: int) -> int | None:
    """The unpacked bytes of the page at an offset, which its header begins with; None: not told.

    Source: parquet.thrift, PageHeader: 1: type, 2: uncompressed_page_size, as 32-bit integers in
    Thrift's compact protocol, each behind a byte that says "the next field, an integer".
    """
    place = stream.tell()
    stream.seek(offset)
    header = stream.read(16)
    stream.seek(place)
    numbers: list[int] = []
    at = 0
    while len(numbers) < 2 and at < len(header) and header[at] == _NEXT_INTEGER:
        number, shift, at = 0, 0, at + 1
        while at < len(header):
            number |= (header[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if header[at - 1] < 0x80:
                break
        numbers.append(number >> 1)  # zigzag, of a number that is not negative
    return numbers[1] if len(numbers) == 2 else None
