"""A folder → its tables: image folders, folders of class folders, parts of one table."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from postsense.data.picture_folders import open_pictures
from postsense.data.sources import (
    SUFFIXES,
    RawTable,
    any_of,
    format_of,
    open_file,
)
from postsense.data.split_names import known_split
from postsense.errors import DataError

_PARTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
_DESCRIPTIONS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
_NUMBERS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|[0-9]+")
_SPLIT = re.compile(r"([A-Za-z]+)(?:[-_.].*)?")
_SHOWN = 5


def open_folder(folder: Path, delimiter: str | None = None) -> list[RawTable]:
    """The tables of a folder.

    In this order: its metadata file; those of its train, validation and test sub-folders; the
    parts of a table in it, or in those sub-folders, or in a sub-folder `data`; pictures in class
    folders, or in no folder.
    Raises: DataError: none of these.
    """
    metadata = _metadata_file(folder)
    if metadata is not None:
        return [_open_metadata(metadata, None)]
    inner = sorted(item for item in folder.iterdir() if item.is_dir())
    splits = [item for item in inner if known_split(item.name) is not None]
    tables = _tables_in(folder)
    if not tables or any(map(_metadata_file, splits)):
        others = [item for item in inner if item not in splits and _metadata_file(item) is not None]
        of_splits = [table for each in splits for table in _open_split(each, delimiter)]
        if of_splits:  # posts of a split with an unknown name are counted, though not used
            return of_splits + [table for each in others for table in _open_split(each, delimiter)]
    if not tables and (folder / "data").is_dir():
        folder = folder / "data" if _tables_in(folder / "data") else folder
        tables = _tables_in(folder)
    if tables and _are_parts(tables):
        return open_files(tables, delimiter)
    if not tables and (pictures := open_pictures(folder)) is not None:
        return [pictures]
    raise _no_metadata_error(folder, tables)


def open_files(files: Sequence[Path], delimiter: str | None = None) -> list[RawTable]:
    """The tables of several files in the order of their names, numbers in them by size.

    Where the names of all begin with that of a split, as `train-00000-of-00002.parquet`, they tell
    the splits of tables that have no column of them.
    """
    ordered = sorted(files, key=_number_order)
    tables = [open_file(file, delimiter) for file in ordered]
    splits = [_split_of(file) for file in ordered]
    if None in splits:
        return tables
    return [replace(table, split=split) for table, split in zip(tables, splits, strict=True)]


def _open_split(folder: Path, delimiter: str | None) -> list[RawTable]:
    """What is in the sub-folder of a split."""
    split, metadata = known_split(folder.name) or folder.name, _metadata_file(folder)
    if metadata is not None:
        return [_open_metadata(metadata, split)]
    tables = _tables_in(folder)
    if tables and _are_parts(tables):
        return [replace(table, split=split) for table in open_files(tables, delimiter)]
    pictures = None if tables else open_pictures(folder)
    return [] if pictures is None else [replace(pictures, split=split)]


def _open_metadata(path: Path, split: str | None) -> RawTable:
    return replace(open_file(path), split=split, is_image_folder=True)


def _metadata_file(folder: Path) -> Path | None:
    found = [folder / f"metadata{suffix}" for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        names = [path.name for path in found]
        raise DataError(folder, "one metadata file", f"{names}", "Keep one, or pass its path.")
    return found[0] if found else None


def _tables_in(folder: Path) -> list[Path]:
    files = (item for item in folder.iterdir() if item.name[0] not in "._")
    found = [item for item in files if format_of(item) in _PARTS and item.is_file()]
    return sorted(item for item in found if item.name not in _DESCRIPTIONS)


def _are_parts(files: Sequence[Path]) -> bool:
    """Whether the names are those of parts of one table: all splits, or alike but for numbers."""
    if len({format_of(file) for file in files}) > 1:
        return False
    if all(_split_of(file) is not None for file in files):
        return True
    stems = {_NUMBERS.sub("#", file.name.lower()) for file in files}
    alone = len(files) == 1 and format_of(files[0]) == ".parquet"
    return len(stems) == 1 and ("#" in next(iter(stems)) or alone)


def _split_of(file: Path) -> str | None:
    whole, begin = known_split(file.name.partition(".")[0]), _SPLIT.fullmatch(file.name)
    return known_split(begin[1]) if whole is None and begin is not None else whole


def _number_order(file: Path) -> list[tuple[int, str]]:
    """A key that puts `part-2` before `part-10`."""
    pieces = re.split(r"([0-9]+)", str(file))
    return [(int(piece) if piece.isdigit() else -1, piece) for piece in pieces]


def _no_metadata_error(folder: Path, tables: Sequence[Path]) -> DataError:
    if len(tables) > 1:
        names = [table.name for table in tables]
        shown = f"{names[:_SHOWN]}" + (f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else "")
        pattern = f"'{folder / '*'}{tables[0].suffix}'"
        fix = f"Pass one of them; if they are parts of one table, a pattern in quotes: {pattern}."
        return DataError(folder, "one table or its numbered parts", f"the tables {shown}", fix)
    return DataError(
        folder,
        f"metadata{any_of(SUFFIXES)} in the folder or in its train, validation, test sub-folders",
        "a folder without one",
        f"Pass the table itself: '{tables[0]}'." if tables else "Write one row for each picture.",
    )
