"""What a user passes as posts: a file, a folder or a table in memory → tables that can be read."""

import glob
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
    read_dataset,
    read_frame,
    read_json,
    read_jsonl,
    read_parquet,
    read_rows,
)
from postsense.data.split_names import known_split
from postsense.errors import DataError
from postsense.files.regular import UnreadableFileError, refuse_irregular

SUFFIXES = (".csv", ".jsonl", ".parquet")  # of the metadata of image folders
ALL_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet")
_DELIMITED = (".csv", ".tsv", ".tab", ".txt")
_READERS: Final[Mapping[str, Callable[[Path, Collection[str]], Iterator[Chunk]]]] = {
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
}
_OTHERS: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(
        (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"),
        ("a spreadsheet", "Save it there as 'CSV UTF-8 (comma delimited)', and pass that file."),
    ),
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"),
        ("an archive", "Unpack it, and pass the table in it."),
    ),
}


@dataclass(frozen=True)
class RawTable:
    """A table that can be read, chunk by chunk and only the wanted columns, with `read(wanted)`.

    Pictures are relative to `folder`. `split` is what a file, folder or dictionary is named after;
    `is_image_folder` if the pictures are under `file_name`, as in Hugging Face's imagefolder.
    """

    name: str
    folder: Path
    read: Callable[[Collection[str]], Iterator[Chunk]]
    split: str | None = None
    is_image_folder: bool = False


def open_tables(source: Any, delimiter: str | None = None) -> list[RawTable]:
    """The tables behind a path, a pattern such as "posts/*.parquet", or an object in memory.

    A path is a file that ends in one of ALL_SUFFIXES, gzipped or not; an image folder; a folder
    of class folders; or a folder with the parts of a table. An object is a pandas.DataFrame, a
    pyarrow.Table, another Arrow table, a datasets.Dataset or a dictionary of such, or a list of
    dicts. There is more than one table if there are parts, or splits of their own.

    Args:
        delimiter: what parts the cells of text files; None: a guess.
    Raises: DataError: nothing there, or a kind of table that is not read.
    """
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), delimiter)
    here = Path.cwd()
    if isinstance(source, pa.Table):
        return [RawTable("pyarrow.Table", here, partial(read_arrow, source))]
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return [RawTable("DataFrame", here, partial(read_frame, source))]
    if _is_dataset(source):
        return [RawTable("Dataset", here, partial(read_dataset, source))]
    if isinstance(source, Mapping) and source and all(map(_is_dataset, source.values())):
        return [
            RawTable(
                f"Dataset '{name}'",
                here,
                partial(read_dataset, part),
                split=known_split(str(name)) or str(name),
            )
            for name, part in source.items()
        ]
    if hasattr(source, "__arrow_c_stream__"):
        table = pa.table(source)
        return [RawTable(type(source).__name__, here, partial(read_arrow, table))]
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        return [RawTable("list of rows", here, partial(read_rows, source))]
    raise DataError(
        "posts",
        "a path, a pandas.DataFrame, a pyarrow.Table, a datasets.Dataset or a list of dicts",
        f"'{type(source).__name__}'",
        "Pass one of these.",
    )


def open_file(path: Path, delimiter: str | None = None) -> RawTable:
    """The table in a file, whose name tells the format. Raises: DataError."""
    try:
        refuse_irregular(path)
    except UnreadableFileError as error:
        raise DataError(path, "a table", error.found, "Check the path.") from None
    suffix = format_of(path)
    if suffix in _DELIMITED:
        return RawTable(str(path), _folder_of(path), partial(read_csv, path, delimiter=delimiter))
    if suffix in _READERS:
        return RawTable(str(path), _folder_of(path), partial(_READERS[suffix], path))
    found = f"'{path.suffix}'" if path.suffix else "no suffix"
    found, fix = _OTHERS.get(suffix, (found, "Save the table in one of these formats."))
    raise DataError(path, f"a table that ends in {any_of(ALL_SUFFIXES)}", found, fix)


def format_of(path: Path) -> str:
    """The end of a file's name that tells the format, without `.gz`."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def any_of(names: Sequence[str]) -> str:
    """The names as words: `a, b or c`."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _open_path(path: Path, delimiter: str | None) -> list[RawTable]:
    from postsense.data.folders import open_files, open_folder

    if path.is_dir():
        return open_folder(path, delimiter)
    if not path.exists() and glob.has_magic(str(path)):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        files = [file for file in found if not file.is_dir()]
        if not files:
            raise DataError(path, "tables whose names are like this", "none", "Check the pattern.")
        return open_files(files, delimiter)
    return [open_file(path, delimiter)]


def _folder_of(path: Path) -> Path:
    return path.absolute().parent


def _is_dataset(source: Any) -> bool:
    """Whether it is a datasets.Dataset, by what it can do: the package need not be there."""
    has_all = all(hasattr(source, name) for name in ("with_format", "features", "column_names"))
    if has_all and not hasattr(source, "__len__"):
        fix = "Load it without streaming=True."
        raise DataError("posts", "a datasets.Dataset", f"'{type(source).__name__}'", fix)
    return has_all
