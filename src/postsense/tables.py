"""Predictions and bad rows → files."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from postsense.atomic import replacing
from postsense.errors import DataError
from postsense.inputs import BadRow

SUFFIXES = (".csv", ".jsonl", ".parquet")


def check_suffix(file: Path) -> None:
    """Refuse a file name whose format we do not write. Raises: DataError."""
    if file.suffix not in SUFFIXES:
        raise DataError(file, f"a name that ends in one of {list(SUFFIXES)}", f"'{file.suffix}'")


def write_table(table: pa.Table, file: Path) -> None:
    """Write a table in the format its name asks for, atomically."""
    check_suffix(file)
    with replacing(file) as temporary:
        if file.suffix == ".parquet":
            pyarrow.parquet.write_table(table, temporary)
        elif file.suffix == ".csv":
            pyarrow.csv.write_csv(_flat(table), temporary)
        else:
            _write_jsonl(table, temporary)


def write_bad_rows(bad: Sequence[BadRow], file: Path) -> None:
    """Write one JSON object a bad row: id and reason."""
    with replacing(file) as temporary:
        lines = [json.dumps(vars(row), ensure_ascii=False) + "\n" for row in bad]
        temporary.write_text("".join(lines), encoding="utf-8")


def write_bad_rows_beside(out: Path, bad: Sequence[BadRow]) -> Path:
    """Write bad rows beside the file out, or remove those of before if there are none now."""
    file = out.with_name(out.name + ".bad_rows.jsonl")
    if bad:
        write_bad_rows(bad, file)
    else:
        file.unlink(missing_ok=True)
    return file


def _flat(table: pa.Table) -> pa.Table:
    """The table with nested columns written as JSON, since a CSV cell is one text."""
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [_json_or_none(cell) for cell in table[field.name].to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _json_or_none(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _write_jsonl(table: pa.Table, file: Path) -> None:
    with file.open("w", encoding="utf-8") as stream:
        for batch in table.to_batches(max_chunksize=4096):
            for row in batch.to_pylist():
                clean = {key: None if _is_nan(value) else value for key, value in row.items()}
                stream.write(json.dumps(clean, ensure_ascii=False) + "\n")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
