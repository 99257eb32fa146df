"""Texts of strangers → what may be printed: nothing in it moves a cursor or turns a line around."""

import json
import logging
import re
import sys
import traceback
from types import TracebackType
from typing import Any

_LINES = "\n"
_UNPRINTABLE = re.compile(  # C0, DEL, C1, line separators, bidi controls, bytes that are no UTF-8
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def shown(text: str) -> str:
    r"""The text in one line, its control characters as `\x1b`; all else stays as it is."""
    return _UNPRINTABLE.sub(_escaped, text)


def shown_lines(text: str) -> str:
    """The text with its line breaks and otherwise as `shown`."""
    return _LINES.join(shown(line) for line in text.split(_LINES))


def json_line(value: Any) -> str:
    r"""The value as JSON in one line, its control characters as `\u009b`, other letters as such."""
    written = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


class EscapedFormatter(logging.Formatter):
    """Messages of a log, in which only line breaks are not escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as it is written."""
        return shown_lines(super().format(record))


def escaped_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning as Python writes it, in place of warnings.formatwarning."""
    return f"{shown(filename)}:{lineno}: {category.__name__}: {shown_lines(str(message))}\n"


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print what a bug left, in place of sys.excepthook."""
    sys.stderr.write(shown_lines("".join(traceback.format_exception(kind, error, trace))))


def _escaped(found: re.Match[str]) -> str:
    sign = found[0]
    number = ord(sign)
    if 0xDC80 <= number <= 0xDCFF:  # how Python has a byte of a file name that is no UTF-8
        number -= 0xDC00
    return _SHORT.get(sign) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")
