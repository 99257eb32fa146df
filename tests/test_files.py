"""Only regular files are read, and no more of them than they say they hold."""

import os
import socket
from pathlib import Path

import pytest

from postsense.files.regular import UnreadableFileError, open_regular, read_regular


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_regular(tmp_path / "a", limit=3) == b"abc"


def test_a_larger_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2**20))
    with pytest.raises(UnreadableFileError) as caught:
        read_regular(tmp_path / "a", limit=100)
    assert caught.value.found == "1 MiB"


def test_a_pipe_and_links_to_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a pipe"), ("zero", "a device")):
        with pytest.raises(UnreadableFileError) as caught:
            open_regular(tmp_path / name)
        assert caught.value.found == f"neither a file nor a folder but {kind}"


def test_a_socket_and_a_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
        with pytest.raises(UnreadableFileError, match="but a socket"):
            open_regular("s")
    with pytest.raises(UnreadableFileError, match="a folder"):
        open_regular(tmp_path)


@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/environ"])
def test_a_file_of_the_system_without_a_size_counts_as_empty(path: str) -> None:
    if not os.access(path, os.R_OK):
        pytest.skip(f"needs a readable {path}")
    assert read_regular(path, limit=100) == b""


@pytest.mark.parametrize("path", ["nothing", "a\0b", "x" * 5000])
def test_what_is_not_there_says_so(path: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        open_regular(tmp_path / path)
    assert caught.value.is_missing == (path == "nothing")
