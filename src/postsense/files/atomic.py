"""Files and folders that are either whole or absent: built beside, then renamed into place."""

import ctypes
import errno
import json
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from postsense.files.disk_space import needing_room

_BLOCK = 1 << 20
_NO_FALLOCATE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # of the file system
_LOCK, _BEFORE = "postsense-lock", "postsense-before"
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD; RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` on success and goes on failure.

    The temporary name keeps the suffix, so that writers which look at it choose the right format.

    Raises: DiskFullError: there is no room for it, whatever the writer makes of that.
    """
    target = Path(path)
    with needing_room(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            sync_file(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write value as indented UTF-8 JSON; NaN is refused, since it is not JSON."""
    with replacing(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")


def allocate(path: str | os.PathLike[str]) -> None:
    """Take room on the disk for all of a file that is about to be written through a memory map.

    A file of full size may have holes, such as `np.lib.format.open_memmap` makes; to write into one
    on a full disk ends the process by SIGBUS, which nothing can catch. What is in the file stays.

    Raises: OSError: there is no room.
    """
    with Path(path).open("r+b") as stream:
        size = os.fstat(stream.fileno()).st_size
        if not size:
            return
        try:
            os.posix_fallocate(stream.fileno(), 0, size)
        except AttributeError:  # not on macOS and Windows
            _fill_holes(stream, size)
        except OSError as error:
            if error.errno not in _NO_FALLOCATE:
                raise
            _fill_holes(stream, size)


def _fill_holes(stream: BinaryIO, size: int) -> None:
    """Write over a file what is in it: holes become zeros on the disk."""
    for start in range(0, size, _BLOCK):
        stream.seek(start)
        block = stream.read(_BLOCK)
        stream.seek(start)
        stream.write(block)
    stream.flush()
    os.fsync(stream.fileno())  # some file systems look for room only now


def sync_file(path: Path) -> None:
    """Return when the contents of a file are on the disk, whatever happens to the machine then."""
    with path.open("rb+") as stream:  # Windows refuses where a file is open to be read only
        os.fsync(stream.fileno())


def _sync_folder(path: Path) -> None:
    """The same for the names in a folder; Windows opens none, and keeps its names by itself."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`; it takes its place on success and goes on failure.

    On Linux and macOS the two change places in one step, so that there is a whole folder at every
    moment. Where the system or the disk cannot do that, the old one is set aside for the moment of
    a rename; `whole_folder` is then where a reader finds it. Two at once follow one another. What
    a killed process left beside goes with the next one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _sweep(folder)
        building = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
        building.mkdir()
        try:
            yield building
            _put_in_place(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def whole_folder(folder: Path) -> Path:
    """The folder itself, or where it is kept if a process was killed while it replaced it."""
    aside = _aside(folder)
    return aside if not folder.exists() and aside.is_dir() else folder


def leftover_names(name: str) -> str:
    """A regular expression of what a killed process leaves beside a folder of this name."""
    return rf"\.{re.escape(name)}\.(?:[0-9a-f]{{32}}|{_LOCK}|{_BEFORE})"


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{_BEFORE}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread replaces the folder, then keep them waiting."""
    file = folder.with_name(f".{folder.name}.{_LOCK}")
    with FileLock(file):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps an open file
                file.unlink(missing_ok=True)  # still held: whoever waits for it begins anew


def _sweep(folder: Path) -> None:
    """Put back what was set aside, and remove what was left half-written; nobody is at work."""
    if not folder.exists() and _aside(folder).is_dir():
        _aside(folder).rename(folder)
    for item in folder.parent.iterdir():
        ours = re.fullmatch(leftover_names(folder.name), item.name)
        if ours and item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)


def _put_in_place(building: Path, folder: Path) -> None:
    if not folder.exists() or not _exchanged(building, folder):
        _rename_aside(building, folder)
    _sync_folder(folder.parent)


def _exchanged(first: Path, second: Path) -> bool:
    """Whether the two have changed places in one step, for which Python has no call."""
    paths = os.fsencode(first), os.fsencode(second)
    try:
        if sys.platform == "linux":
            rename = ctypes.CDLL(None).renameat2
            return bool(rename(_HERE, paths[0], _HERE, paths[1], _EXCHANGE) == 0)
        if sys.platform == "darwin":
            return bool(ctypes.CDLL(None).renamex_np(*paths, _EXCHANGE) == 0)
    except (OSError, AttributeError):  # a C library without it
        pass
    return False


def _rename_aside(building: Path, folder: Path) -> None:
    aside = _aside(folder)
    if folder.exists():
        folder.rename(aside)
    try:
        building.rename(folder)
    except OSError:
        if aside.is_dir():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
