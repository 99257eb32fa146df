"""Text files, plain or gzipped, → lines: the encoding by its mark, and nothing without a bound."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from postsense.errors import DataError
from postsense.files.regular import UnreadableFileError, file_size, open_regular

MAX_LINE = 32 * 1024 * 1024  # characters
MAX_UNPACKED = 64 * 1024 * 1024  # bytes that any file may unpack to; beyond, by its own size
MAX_RATIO = 200  # text packs 3 to 50 times smaller, a file of one repeated byte 1,000 times
MAX_PACKED_ROWS = 1_000_000  # rows that a packed file of any size may have
ROWS_A_BYTE = 8  # beyond those, by its own size; a packed post takes up a few bytes
_BUFFER = 256 * 1024
_MARKS = (  # the longer ones first: UTF-32 begins like UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = (
    (b"PK\x03\x04", "an Excel workbook or another zip file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"%PDF", "a PDF document"),
)


def most_unpacked(size: int) -> int:
    """Bytes that a packed file of `size` bytes may unpack to."""
    return MAX_UNPACKED + MAX_RATIO * size


def most_rows(size: int) -> int:
    """Rows that a packed file of `size` bytes may have."""
    return max(MAX_PACKED_ROWS, ROWS_A_BYTE * size)


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A text file with the ends of its lines as they are: UTF-8, or UTF-16 as its first bytes tell.

    Raises: DataError: not a regular file, other bytes than text (the line is named), a damaged
        gzip file or one that unpacks to more than `most_unpacked`.
    """
    try:
        with _open_bytes(path) as stream:
            encoding = _encoding(path, stream)
            with io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
                yield text
    except UnicodeError:
        raise _not_text(path) from None
    except UnreadableFileError as error:
        raise DataError(path, "a readable file", error.found, "Check the file.") from None
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise DataError(path, "a whole file", found.rstrip("."), "Fetch it again.") from None


def lines_of(path: Path, text: TextIO) -> Iterator[str]:
    """The lines of an open text file. Raises: DataError: one of more than MAX_LINE characters."""
    number = 1
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            expected = f"lines of at most {MAX_LINE // 2**20} million characters"
            fix = "Check that the file is a table of posts."
            raise DataError(f"{path}:{number}", expected, "a longer one", fix)
        yield line
        number += 1


@contextmanager
def _open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    with open_regular(path) as stream:
        if not stream.peek(2).startswith(b"\x1f\x8b"):
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield io.BufferedReader(_Bounded(unpacked, path, file_size(stream)), _BUFFER)


class _Bounded(io.RawIOBase):
    """Reads what a gzip file unpacks to, up to a limit in bytes."""

    def __init__(self, unpacked: gzip.GzipFile, path: Path, size: int) -> None:
        self.unpacked, self.path, self.limit = unpacked, path, most_unpacked(size)
        self.done, self.lines, self.most_lines = 0, 0, most_rows(size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.unpacked.read(len(buffer))
        self.done += len(data)
        self.lines += data.count(b"\n")
        if self.done > self.limit or self.lines > self.most_lines:
            expected = f"a table that unpacks to at most {self.limit / 2**20:.0f} MiB"
            expected += f" and {self.most_lines} lines"
            fix = "If it is what you expect, unpack it and pass that file."
            raise DataError(self.path, expected, "more", fix)
        buffer[: len(data)] = data
        return len(data)


def _encoding(path: Path, stream: io.BufferedReader) -> str:
    start = stream.peek(8)[:8]
    for magic, name in _OTHERS:
        if start.startswith(magic):
            fix = "Save it as CSV in UTF-8, JSONL or Parquet, and pass that."
            fix = fix if magic != b"PAR1" else "Give it a name that ends in .parquet."
            raise DataError(path, "a text file", name, fix)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if len(start) >= 4 and start[1] == start[3] == 0 and start[0] and start[2]:
        return "utf-16-le"  # no text in UTF-8 has a NUL there
    if len(start) >= 4 and start[0] == start[2] == 0 and start[1] and start[3]:
        return "utf-16-be"
    return "utf-8-sig"


def _not_text(path: Path) -> DataError:
    where, fix = _undecodable_line(path), "Save the file as UTF-8."
    return DataError(where, "UTF-8 text", "other bytes", fix)


def _undecodable_line(path: Path) -> str:
    with _open_bytes(path) as stream:
        if _encoding(path, stream) != "utf-8-sig":
            return str(path)
        number = 1
        while line := stream.readline(MAX_LINE):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f"{path}:{number}"
            number += line.endswith(b"\n")
    return str(path)
