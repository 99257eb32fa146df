"""Files and tables in memory → chunks of raw columns; one reader for each format."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from postsense.data.arrow_tables import PICTURE_ROWS, chunk_of_batch, may_hold_pictures
from postsense.data.chunks import Chunk, chunk_of_rows, heads, refuse_unfit_columns
from postsense.data.delimited import read_delimited
from postsense.data.json_tables import read_json_lines, read_json_table
from postsense.data.parquet import read_parquet_file
from postsense.errors import DataError

__all__ = [
    "Chunk",
    "read_arrow",
    "read_csv",
    "read_dataset",
    "read_frame",
    "read_json",
    "read_jsonl",
    "read_parquet",
    "read_rows",
]
CHUNK_ROWS = 8192


def read_parquet(path: Path, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a Parquet file; other columns than the wanted are not read from disk."""
    return read_parquet_file(path, wanted, CHUNK_ROWS)


def read_jsonl(path: Path, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a text file with one JSON object a line, or of one array; blank lines go."""
    return read_json_lines(path, wanted, CHUNK_ROWS)


def read_json(path: Path, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a JSON file, in any of the forms that programs write tables in."""
    return read_json_table(path, wanted, CHUNK_ROWS)


def read_csv(path: Path, wanted: Collection[str], delimiter: str | None = None) -> Iterator[Chunk]:
    """Chunks of a text file of cells under a header; delimiter: None: a guess, which is logged."""
    return read_delimited(path, wanted, CHUNK_ROWS, delimiter)


def read_arrow(table: pa.Table, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a pyarrow.Table."""
    refuse_unfit_columns("pyarrow.Table", table.column_names)
    start = 0
    for batch in table.to_batches(_rows_at_once(table.schema, wanted)):
        yield chunk_of_batch("pyarrow.Table", batch, table.schema, wanted, start)
        start += batch.num_rows


def read_dataset(dataset: Any, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a datasets.Dataset, its pictures as the bytes they are kept as."""
    columns = dataset.with_format("arrow")
    refuse_unfit_columns("Dataset", dataset.column_names)
    start, rows = 0, PICTURE_ROWS
    while start < len(dataset):
        part = columns[start : start + rows].combine_chunks()
        rows = _rows_at_once(part.schema, wanted)
        for batch in part.to_batches():
            yield chunk_of_batch("Dataset", batch, part.schema, wanted, start)
            start += batch.num_rows


def read_frame(frame: Any, wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a pandas.DataFrame; its NaN, NaT and NA become None."""
    names = [str(name) for name in frame.columns]
    refuse_unfit_columns("DataFrame", names)
    needed = [i for i, name in enumerate(names) if name in wanted or name in heads(wanted)]
    for start in range(0, len(frame), CHUNK_ROWS):
        part = frame.iloc[start : start + CHUNK_ROWS, needed]
        values = part.astype(object).where(part.notna(), None).to_numpy().tolist()
        kept = [names[i] for i in needed]
        chunk = chunk_of_rows([dict(zip(kept, row, strict=True)) for row in values], wanted)
        yield Chunk(len(part), chunk.columns, sorted({*names, *chunk.names}))


def read_rows(rows: Sequence[Any], wanted: Collection[str]) -> Iterator[Chunk]:
    """Chunks of a list with a dict for each post."""
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows[start : start + CHUNK_ROWS]
        for number, row in enumerate(part, start):
            if not isinstance(row, Mapping):
                where, found = f"list of rows, row {number}", f"'{type(row).__name__}'"
                raise DataError(where, "a dict for each post", found, "Pass dicts.")
        yield chunk_of_rows(part, wanted)


def _rows_at_once(schema: pa.Schema, wanted: Collection[str]) -> int:
    """Rows of a chunk: few where cells may be pictures."""
    read = [field for field in schema if field.name in wanted or field.name in heads(wanted)]
    return min(CHUNK_ROWS, PICTURE_ROWS) if any(map(may_hold_pictures, read)) else CHUNK_ROWS
