"""A full disk, however a library says it → one line that says what to do."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from postsense.errors import DiskFullError, PostsenseError

_CODES = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_WORDS = re.compile(  # of libraries that raise an exception of their own
    r"no space left on device|not enough (?:free )?space|disk quota exceeded|disk is full"
    r"|file too large|os error (?:27|28|112|122)\b|\d+ requested and \d+ written",  # NumPy's
    re.IGNORECASE,
)


@contextmanager
def needing_room(where: object) -> Iterator[None]:
    """While something is written to the disk.

    Raises: DiskFullError: there is no room left for it, whatever the writer makes of that.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PostsenseError) or not is_full(error):
            raise
        reason = (str(error).splitlines() or ["no space left"])[0]
        fix = "Make room, then give the same command again: what is whole is kept."
        raise DiskFullError(where, "room on the disk for it", f"none ({reason})", fix) from error


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, comes of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _CODES:
            return True
        if _WORDS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
