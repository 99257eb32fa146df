import errno

import pytest

from postsense.errors import DiskFullError
from postsense.files.disk_space import needing_room

SAID = [
    OSError(errno.ENOSPC, "No space left on device", "/data/x"),
    OSError("LanceError(IO): Generic error: No space left on device (os error 28), x.rs:1"),
    RuntimeError("Error: 'ret == (size)' failed: write error in x: No space left on device"),
    OSError("8388608 requested and 4063232 written"),
]


@pytest.mark.parametrize("error", SAID, ids=lambda error: type(error).__name__)
def test_a_full_disk_is_one_line_however_a_library_says_it(error: Exception) -> None:
    with pytest.raises(DiskFullError) as caught, needing_room("corpus"):
        raise error
    assert str(caught.value).startswith("corpus: expected room on the disk for it, found none (")
    assert "give the same command again" in str(caught.value)


def test_a_full_disk_behind_another_error_is_found() -> None:
    error = ValueError("a damaged file")
    error.__cause__ = SAID[0]
    with pytest.raises(DiskFullError), needing_room("corpus"):
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(OSError, match="Permission denied"), needing_room("corpus"):
        raise OSError(errno.EACCES, "Permission denied")
