"""A run stopped before any change to its folder goes on and ends as if it had never stopped.

The stop is made in this process: from the n-th change on, every change to the folder raises, so
that what is on disk is what a SIGKILL at that moment would leave. Real kills are in test_runs.py.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.posts import Posts
from postsense.runs.training import train_run

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test catches it."""


class Killer:
    """An audit hook, armed for one folder at a time; hooks cannot be removed."""

    def __init__(self) -> None:
        self.folder, self.left = "", 0
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder and event in CHANGES and str(arguments[0]).startswith(self.folder):
            self.left -= 1
            if self.left <= 0:
                raise Killed

    @contextmanager
    def armed(self, folder: Path, change: int) -> Iterator[None]:
        """Raise at the change-th change to folder, from 1, and at every later one."""
        self.folder, self.left = str(folder), change
        try:
            yield
        finally:
            self.folder = ""


@pytest.fixture(scope="module")
def killer() -> Killer:
    return Killer()


@pytest.fixture
def posts(posts_file: Path) -> Posts:
    return load_posts(posts_file)


@pytest.fixture
def config(tiny_bert: Path) -> Config:
    encoder = {"fusion.name": "text_only", "encoders.text.name": str(tiny_bert)}
    quick = {"training.epochs": 2, "training.batch_size": 16, "training.device": "cpu"}
    return load_config(values={**encoder, **quick, "training.learning_rate": 0.01})


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def killed_and_resumed(
    posts: Posts, config: Config, folder: Path, killer: Killer, change: int
) -> bool:
    """Whether the run was killed at that change; it is then run again to its end."""
    try:
        with killer.armed(folder, change):
            train_run(posts, config, folder)
    except Killed:
        train_run(posts, config, folder)
        return True
    return False


@pytest.mark.parametrize(
    "step", [7, pytest.param(1, marks=pytest.mark.slow)], ids=["every seventh", "every"]
)
def test_a_run_stopped_before_any_change_of_its_folder_ends_the_same(
    posts: Posts, config: Config, tmp_path: Path, killer: Killer, step: int
) -> None:
    train_run(posts, config, tmp_path / "whole")
    expected, change = contents(tmp_path / "whole"), 1
    while killed_and_resumed(posts, config, tmp_path / f"{change}", killer, change):
        assert contents(tmp_path / f"{change}") == expected, f"stopped before change {change}"
        change += step
    assert change > 20
