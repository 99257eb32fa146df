"""One cell of a table → the value that our column of that name holds."""

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from postsense.data.blanks import is_blank
from postsense.data.embedded_pictures import PictureKeeper, path_in_struct
from postsense.data.paths import AmbiguousPathError, PictureFinder
from postsense.data.reading import Reading
from postsense.data.split_names import known_split
from postsense.registry.inputs import INPUTS

_NO_COMMENTS: Final = "Mend that cell; data.columns.comments names the column to use."
_TWITTER_TIME: Final = "%a %b %d %H:%M:%S %z %Y"  # Wed Apr 17 18:57:37 +0000 2013


class CellError(ValueError):
    """A cell holds something that its column cannot. fix: what to do about it."""

    def __init__(self, expected: str, found: str, fix: str = "Mend that cell.") -> None:
        self.expected, self.found, self.fix = expected, found, fix
        super().__init__(f"expected {expected}, found {found}")


def cell_converters(
    folder: Path, reading: Reading | None = None
) -> Mapping[str, Callable[[Any], Any]]:
    """For each of our columns, the function from a cell to our value (null: None).

    Args:
        folder: where relative picture paths start.
        reading: where else pictures are, and where those inside the table are kept.
    The functions raise CellError.
    """
    reading = reading or Reading()
    finder = PictureFinder(folder, reading.image_root)
    keeper = PictureKeeper(reading.cache)
    return {
        "id": _name,
        "text": _text,
        "image": lambda value: _picture_path(value, finder, keeper),
        "regions": lambda value: _file_path(value, finder),
        "label": _name,
        "split": _split,
        "comments": _comments,
        "attributes": _words,
        "created_at": _time,
        **{name: _text for name, one in INPUTS.items() if one.optional},
    }


def _text(value: Any) -> str | None:
    """The words as they are; blank ones are null."""
    text = _string(value)
    return None if text is None or is_blank(text) else text


def _name(value: Any) -> str | None:
    text = _string(value)
    return None if text is None or is_blank(text) else text.strip()


def _split(value: Any) -> str | None:
    name = _name(value)
    return known_split(name) or name if name is not None else None


def _picture_path(value: Any, finder: PictureFinder, keeper: PictureKeeper) -> str | None:
    """The picture's file: one that is named, or one made of a picture inside the table."""
    if not isinstance(value, str) or value[:5].lower() == "data:":
        kept = keeper.path_of(value)
        if kept is not None:
            return kept
    value = path_in_struct(value)
    if isinstance(value, Mapping | np.ndarray | list):
        found = f"an array of {value.dtype}, {value.shape}" if isinstance(value, np.ndarray) else ""
        found = found or ("several values" if isinstance(value, list) else "a nested value")
        raise CellError("the path of a picture file, or one picture (pixels as uint8)", found)
    return _file_path(value, finder, strict=True)


def _file_path(value: Any, finder: PictureFinder, *, strict: bool = False) -> str | None:
    """A path; None for anything else, which tables have in columns of that name, if not strict."""
    if not strict and not isinstance(value, str | Path):
        return None
    name = _name(str(value) if isinstance(value, Path) else value)
    try:
        return None if name is None else finder.find(name)
    except AmbiguousPathError as error:
        raise CellError("a file of its own for each path", str(error)) from None


def _words(value: Any) -> list[str] | None:
    """The words of a list, or of a text; None for anything else, which many tables have there."""
    if isinstance(value, str):
        return value.split() or None
    if isinstance(value, np.ndarray | tuple):
        value = list(value)
    return [str(word) for word in value if word] if isinstance(value, list) else None


def _comments(value: Any) -> list[str] | None:
    """The comments of a list or of a list written as JSON, without the blank ones."""
    if isinstance(value, str):
        value = _parse_list(value) if value.strip() else None
    if _is_missing(value):
        return None
    if isinstance(value, np.ndarray | tuple):
        value = list(value)
    if not isinstance(value, list):
        found = f"a value of type '{type(value).__name__}'"
        raise CellError("a list of comments", found, _NO_COMMENTS)
    try:
        texts = [_text(item) for item in value]
    except CellError as error:
        expected = "a list of comments, each a text"
        raise CellError(expected, f"in it {error.found}", _NO_COMMENTS) from None
    return [text for text in texts if text is not None]


def _parse_list(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        found = f"'{value[:30]}'" if len(value) <= 30 else f"'{value[:30]}...'"
        raise CellError("a list of comments, written as JSON", found, _NO_COMMENTS) from None


def _time(value: Any) -> str | None:
    """ISO 8601 of a timestamp, of Unix seconds or of Twitter's form; other strings are kept."""
    if isinstance(value, datetime.date):  # datetime and pandas.Timestamp too
        return value.isoformat()
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, int | float | np.number) and not _is_missing(value):
        return _unix_time(value)
    name = _name(value)
    if name is None or not name[0].isalpha():
        return name
    try:
        return datetime.datetime.strptime(name, _TWITTER_TIME).isoformat()
    except ValueError:
        return name


def _unix_time(seconds: float | np.number) -> str:
    try:
        return datetime.datetime.fromtimestamp(float(seconds), datetime.UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise CellError("a time as text or in Unix seconds", str(seconds)[:20]) from None


def _string(value: Any) -> str | None:
    """A scalar as text; an integral float is written as the integer it was before NaN joined it."""
    if isinstance(value, str):
        return value
    if _is_missing(value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool | int | float | str):
        return str(value)
    raise CellError("text or a number", f"a value of type '{type(value).__name__}'")


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
