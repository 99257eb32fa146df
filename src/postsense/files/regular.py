"""Paths → open files, regular ones alone: a device, a pipe or a socket is never waited for."""

import errno
import os
import stat
from io import BufferedReader, BytesIO, UnsupportedOperation
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "neither a file nor a folder but a pipe"),
    (stat.S_ISSOCK, "neither a file nor a folder but a socket"),
    (stat.S_ISCHR, "neither a file nor a folder but a device"),
    (stat.S_ISBLK, "neither a file nor a folder but a device"),
)
# No waiting for a writer of a pipe, no terminal taken over; systems without these need neither.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FLAGS |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class UnreadableFileError(OSError):
    """A path that is not read as a file. found: what is there, for a message."""

    def __init__(self, path: str | os.PathLike[str], found: str, code: int = errno.EINVAL) -> None:
        super().__init__(code, found, os.fspath(path))
        self.found = found

    @property
    def is_missing(self) -> bool:
        """Whether nothing is there."""
        return self.errno == errno.ENOENT


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """A regular file, opened to be read; one without a size (as in /proc) is an empty one.

    Raises: UnreadableFileError: nothing there, a folder, a device, a pipe, a socket, or forbidden.
    """
    try:
        _refuse_other(path, Path(path).stat())
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, error) from None
    try:
        status = os.fstat(descriptor)  # another file may have come to that place meanwhile
        _refuse_other(path, status)
        if status.st_size == 0:
            os.close(descriptor)
            return BufferedReader(BytesIO())
    except UnreadableFileError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def refuse_irregular(path: str | os.PathLike[str]) -> None:
    """Refuse what `open_regular` refuses, without opening it. Raises: UnreadableFileError."""
    try:
        _refuse_other(path, Path(path).stat())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def file_size(stream: BufferedReader) -> int:
    """The bytes of a file that `open_regular` opened."""
    try:
        return os.fstat(stream.fileno()).st_size
    except UnsupportedOperation:
        return 0


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a regular file, `limit` at most.

    Raises: UnreadableFileError: as `open_regular`, or a larger file, or one that fails when read.
    """
    with open_regular(path) as stream:
        size = file_size(stream)
        if size > limit:
            raise UnreadableFileError(path, f"{size / 2**20:.0f} MiB", errno.EFBIG)
        try:
            return stream.read(size) or b""
        except OSError as error:
            raise _unreadable(path, error) from None


def _refuse_other(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        found = (name for is_kind, name in _KINDS if is_kind(status.st_mode))
        raise UnreadableFileError(path, next(found, "neither a file nor a folder"))


def _unreadable(path: str | os.PathLike[str], error: OSError | ValueError) -> UnreadableFileError:
    if isinstance(error, UnreadableFileError):
        return error
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UnreadableFileError(path, "no such file", errno.ENOENT)
    if isinstance(error, OSError):
        return UnreadableFileError(path, error.strerror or str(error), error.errno or errno.EIO)
    return UnreadableFileError(path, str(error))
