"""A file is either whole or absent, whatever happens while it is written."""

import json
import os
from pathlib import Path

import pytest

from postsense.atomic import replacing, write_json


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
