"""What a user passes as posts: a file, a folder or a table in memory → tables that can be read."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from postsense.data.readers import (
    Chunk,
    read_arrow,
    read_csv,
    read_frame,
    read_jsonl,
    read_parquet,
    read_rows,
)
from postsense.errors import DataError

SUFFIXES = (".csv", ".jsonl", ".parquet")
SPLIT_ALIASES: Final[Mapping[str, str]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "dev": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class RawTable:
    """A table that can be read, chunk by chunk and only the wanted columns, with `read(wanted)`.

    Pictures are relative to `folder`. `split` is set if a sub-folder gives it; `is_image_folder`
    if the pictures are under `file_name`, as in Hugging Face's imagefolder.
    """

    name: str
    folder: Path
    read: Callable[[Collection[str]], Iterator[Chunk]]
    split: str | None = None
    is_image_folder: bool = False


def open_tables(source: Any) -> list[RawTable]:
    """The tables behind a path, a pandas.DataFrame, a pyarrow.Table or a list of dicts.

    There is more than one only for an image folder with a sub-folder for each split.
    Raises: DataError: nothing there, or a kind of table that is not read.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return _open_folder(path) if path.is_dir() else [_open_file(path)]
    if isinstance(source, pa.Table):
        return [RawTable("pyarrow.Table", Path.cwd(), partial(read_arrow, source))]
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return [RawTable("DataFrame", Path.cwd(), partial(read_frame, source))]
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        return [RawTable("list of rows", Path.cwd(), partial(read_rows, source))]
    raise DataError(
        "posts",
        "a path, a pandas.DataFrame, a pyarrow.Table or a list of dicts",
        f"'{type(source).__name__}'",
        "Pass one of these.",
    )


def _open_file(path: Path) -> RawTable:
    if not path.exists():
        raise DataError(path, "a table", "no such file", "Check the path.")
    readers: dict[str, Callable[[Path, Collection[str]], Iterator[Chunk]]] = {
        ".csv": read_csv,
        ".jsonl": read_jsonl,
        ".parquet": read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            path,
            f"a table that ends in {_any_of(SUFFIXES)}",
            f"'{path.suffix}'" if path.suffix else "no suffix",
            "Save the table in one of these formats.",
        )
    return RawTable(str(path), path.absolute().parent, partial(reader, path))


def _open_folder(folder: Path) -> list[RawTable]:
    """The metadata file of the folder, or those of its train, validation and test sub-folders."""
    metadata = _metadata_file(folder)
    if metadata is not None:
        return [_open_metadata(metadata, split=None)]
    tables = []
    for inner in sorted(item for item in folder.iterdir() if item.is_dir()):
        split, metadata = SPLIT_ALIASES.get(inner.name.lower()), _metadata_file(inner)
        if split is not None and metadata is not None:
            tables.append(_open_metadata(metadata, split))
    if not tables:
        raise _no_metadata_error(folder)
    return tables


def _open_metadata(path: Path, split: str | None) -> RawTable:
    table = _open_file(path)
    return RawTable(table.name, table.folder, table.read, split, is_image_folder=True)


def _metadata_file(folder: Path) -> Path | None:
    found = [folder / f"metadata{suffix}" for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        names = [path.name for path in found]
        raise DataError(folder, "one metadata file", f"{names}", "Keep one, or pass its path.")
    return found[0] if found else None


def _no_metadata_error(folder: Path) -> DataError:
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return DataError(
        folder,
        f"metadata{_any_of(SUFFIXES)} in the folder or in its train, validation, test sub-folders",
        "a folder without one",
        f"Pass the table itself: '{tables[0]}'." if tables else "Write one row for each picture.",
    )


def _any_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
