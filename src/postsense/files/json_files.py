"""JSON files that may come from anyone → what is in them."""

import errno
import json
from pathlib import Path
from typing import Any

from postsense.files.regular import UnreadableFileError, read_regular

LARGEST = 32 * 2**20  # bytes; what is read of them takes some twenty times as much memory


def read_json_file(file: Path) -> Any:
    """The value in a file of JSON in UTF-8.

    Raises: FileNotFoundError: missing. ValueError: no regular file, not to be read, too large, not
        UTF-8 or not JSON, nested too deep, a key twice in one object, NaN or an infinite number.
    """
    text = _read(file)
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite
        )
        if "\\ud" in text.lower():  # half of a surrogate pair cannot be printed or written
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("lists or objects nested too deep") from None
    return value


def _read(file: Path) -> str:
    try:
        return read_regular(file, LARGEST).decode("utf-8")
    except UnreadableFileError as error:
        if error.is_missing:
            raise FileNotFoundError(errno.ENOENT, error.found, str(file)) from None
        raise ValueError(error.found) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in values if names.count(name) > 1)
        raise ValueError(f"the key '{repeated}' more than once")
    return values


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant}, which is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{number}, which is too large")
    return value
