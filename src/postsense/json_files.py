"""JSON files that may come from anyone → what is in them."""

import json
import os
import stat
from pathlib import Path
from typing import Any

LARGEST = 32 * 2**20  # bytes; what is read of them takes some twenty times as much memory


def read_json_file(file: Path) -> Any:
    """The value in a file of JSON in UTF-8.

    Raises: OSError: missing, or not to be read. ValueError: not a regular file, too large, not
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
    with os.fdopen(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("not a regular file")
        if found.st_size > LARGEST:
            raise ValueError(f"{found.st_size} bytes, above {LARGEST}")
        return stream.read(LARGEST).decode("utf-8")


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
