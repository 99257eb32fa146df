"""One command at a time writes to a folder; a second one is told which is at work."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from postsense.errors import BusyError

LOCK, HOLDER = ".postsense.lock", ".postsense.lock.json"
LOCK_FILES = (LOCK, HOLDER)


@contextmanager
def writing_to(folder: Path, command: str) -> Iterator[None]:
    """Hold a folder while this process writes to it; it is made if it is not there.

    A killed process holds nothing, though its lock files may stay. A folder that was made here and
    is left empty goes again, so that a command that failed at once can be given again.

    Args:
        command: what holds it, for the message that a second one gets, such as "corpus add".
    Raises: BusyError: another process, or another thread of this one, writes to the folder.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        lock = _acquire(folder, command)
        try:
            _name_holder(folder, command)
            yield
        finally:
            try:
                for name in (HOLDER, LOCK):  # still held: who opened a file that goes begins anew
                    with suppress(OSError):  # Windows keeps an open file
                        (folder / name).unlink(missing_ok=True)
            finally:
                lock.release()
    finally:
        for empty in made:
            with suppress(OSError):  # something is in it
                empty.rmdir()


def is_lock(path: Path) -> bool:
    """Whether a file is one of those that hold a folder, and nothing of the user's."""
    return path.name in LOCK_FILES


def _acquire(folder: Path, command: str) -> BaseFileLock:
    lock = FileLock(folder / LOCK)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
            return lock
        except Timeout:
            raise _busy(folder, command) from None
        except FileNotFoundError:  # a command that failed has just removed the folder it had made
            continue
        except FileExistsError:  # likewise, or a file is in its place
            if folder.is_file():
                raise


def _name_holder(folder: Path, command: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"command": command, "process": os.getpid(), "host": socket.gethostname()}
    with suppress(OSError):  # a full disk must not keep a command from freeing some
        (folder / HOLDER).write_text(json.dumps({**holder, "since": now}), encoding="utf-8")


def _busy(folder: Path, command: str) -> BusyError:
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        found = (
            f"'{holder['command']}' at work in it since {holder['since']}"
            f" (process {holder['process']} on {holder['host']})"
        )
    except (OSError, ValueError, LookupError, TypeError):  # it is just beginning, or ending
        found = "another command at work in it"
    fix = f"Wait until it has ended, then give '{command}' again."
    return BusyError(folder, "a folder that no other command writes to", found, fix)
