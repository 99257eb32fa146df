"""A file is either whole or absent, whatever happens while it is written."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from postsense.errors import DiskFullError
from postsense.files.atomic import allocate, replacing, write_json


def write_half(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("power cut")


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    target.write_text("old")

    with pytest.raises(RuntimeError, match="power cut"):
        write_half(target)

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_finished_write_replaces_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    target.write_text("old")

    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"

    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_lies_beside_its_target_with_the_same_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "features.npy") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npy"
        assert temporary.name.startswith(".")


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with replacing(tmp_path / "runs" / "first" / "log.txt") as temporary:
        temporary.write_text("hello")

    assert (tmp_path / "runs" / "first" / "log.txt").read_text() == "hello"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_file_gets_the_usual_permissions(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "shared.txt") as temporary:
            temporary.write_text("x")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)

    assert (tmp_path / "shared.txt").stat().st_mode & 0o777 == mode


def test_json_is_written_as_readable_utf_8(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"label": "größer", "score": 0.5})

    assert (tmp_path / "x.json").read_text(
        "utf-8"
    ) == '{\n  "label": "größer",\n  "score": 0.5\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_is_not_json_is_refused_and_the_old_file_stays(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "x.json", {"score": 1})

    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", {"score": value})

    assert json.loads((tmp_path / "x.json").read_text()) == {"score": 1}


def write_array(file: Path) -> None:
    np.save(file, np.zeros(500_000))


def write_tensors(file: Path) -> None:
    save_file({"x": torch.zeros(1_000_000)}, file)


def write_parquet(file: Path) -> None:
    pq.write_table(pa.table({"x": np.random.default_rng(0).random(500_000)}), file)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_array, "x.npy"),
        (write_tensors, "x.safetensors"),
        (write_parquet, "x.parquet"),
        (lambda file: file.write_bytes(bytes(4_000_000)), "x.html"),
    ],
)
def test_a_full_disk_is_one_error_whoever_writes(
    small_disk: Callable[[int], Path], write: Callable[[Path], None], name: str
) -> None:
    file = small_disk(1024) / name
    file.write_text("old")
    with pytest.raises(DiskFullError, match="expected room on the disk for it, found none"):  # noqa: SIM117
        with replacing(file) as temporary:
            write(temporary)
    assert [item.name for item in file.parent.iterdir()] == [name]
    assert file.read_text() == "old"


def sparse_file(path: Path) -> Path:
    """A file of three MiB and a bit that takes a few blocks of the disk."""
    path.write_bytes(b"head")
    os.truncate(path, (3 << 20) + 5)
    return path


@pytest.mark.parametrize("fallocate", ["as it is", "absent", "refused"])
def test_room_is_taken_for_the_whole_of_a_file_with_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fallocate: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if fallocate == "absent":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    elif fallocate == "refused":
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    file = sparse_file(tmp_path / "vectors.npy")

    allocate(file)

    assert file.stat().st_blocks * 512 >= file.stat().st_size
    assert file.read_bytes() == b"head" + bytes((3 << 20) + 1)


def test_a_file_for_which_there_is_no_room_is_refused(
    small_disk: Callable[[int], Path],
) -> None:
    file = sparse_file(small_disk(1024) / "vectors.npy")

    with pytest.raises(OSError, match="No space left on device"):
        allocate(file)
