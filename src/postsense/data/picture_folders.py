"""A folder of pictures without a table → posts, labelled by the sub-folder each picture is in."""

import logging
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from postsense.data import readers
from postsense.data.chunks import Chunk
from postsense.data.sources import RawTable
from postsense.errors import DataError

PICTURE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif"),
    *(".bmp", ".tif", ".tiff", ".avif", ".heic"),
}
FILE_NAME, LABEL = "file_name", "label"
logger = logging.getLogger(__name__)


def open_pictures(folder: Path) -> RawTable | None:
    """The pictures of a folder as a table; None if there are none.

    Those in sub-folders are labelled by the name of theirs, as in Hugging Face's imagefolder;
    those in the folder itself have no label. Files that are no pictures by their names, and hidden
    ones, are left out and counted in a line that is logged.
    Raises: DataError: pictures in sub-folders of sub-folders, whose class is not clear.
    """
    pictures, others = _look_in(folder)
    for inner in sorted(item for item in folder.iterdir() if _is_class_folder(item)):
        found, more = _look_in(inner)
        pictures += found
        others += more
        _refuse_deeper(folder, inner)
    if not pictures:
        return None
    if others:
        logger.warning(
            "%s: %d files that are no pictures are left out, the first '%s'",
            folder,
            len(others),
            others[0].relative_to(folder),
        )
    read = partial(_read_pictures, folder, pictures)
    return RawTable(str(folder), folder.absolute(), read, is_image_folder=True)


def _look_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder, and its other files."""
    files = sorted(item for item in folder.iterdir() if not item.is_dir())
    pictures = [file for file in files if _is_picture(file)]
    return pictures, [file for file in files if not _is_picture(file)]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")


def _is_class_folder(item: Path) -> bool:
    return item.is_dir() and not item.name.startswith((".", "__"))


def _refuse_deeper(folder: Path, inner: Path) -> None:
    for deeper in sorted(item for item in inner.iterdir() if _is_class_folder(item)):
        picture = next(filter(_is_picture, deeper.rglob("*")), None)
        if picture is not None:
            found = f"'{picture.relative_to(folder)}'"
            fix = "Move it, or write a metadata.csv with the columns file_name and label."
            raise DataError(folder, "pictures in class folders, such as cat/1.jpg", found, fix)


def _read_pictures(folder: Path, pictures: list[Path], wanted: Collection[str]) -> Iterator[Chunk]:
    for start in range(0, len(pictures), readers.CHUNK_ROWS):
        part = pictures[start : start + readers.CHUNK_ROWS]
        names = [str(picture.relative_to(folder)) for picture in part]
        columns: dict[str, list[Any]] = {FILE_NAME: names}
        classes = [None if each.parent == folder else each.parent.name for each in part]
        if any(classes):
            columns[LABEL] = classes
        kept = {name: values for name, values in columns.items() if name in wanted}
        yield Chunk(len(part), kept, list(columns))
