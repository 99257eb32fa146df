"""Fixtures that every test may use: real posts, synthetic posts, tiny checkpoints (a plugin)."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CLASSES = ("negative", "neutral", "positive")
WORDS = {"negative": "awful rain again", "neutral": "bus line", "positive": "what a lovely day"}
SPLITS = ("train", "train", "train", "val", "test")
pytest_plugins = ["tiny_checkpoints"]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of several test processes only wait


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real posts beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real posts in {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder of kept features and exported encoders for all tests of a session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSTSENSE_CACHE", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield folder


@pytest.fixture(scope="session", autouse=True)
def no_waiting() -> Iterator[None]:
    """Nothing here outlives the power: files are not flushed, weights are verified once."""
    from postsense.encoders import builtin

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(builtin, "_verify", functools.cache(builtin._verify))
        yield


@pytest.fixture(scope="session", autouse=True)
def run_as_in_use() -> Iterator[Callable[..., Any]]:
    """What runs encoders; other checkpoints than the built-in ones stay in torch, unexported.

    An export takes seconds. Tests of what is exported put what is given here back.
    """
    from postsense.encoders import builtin, frozen

    real, kept = frozen._runner, (builtin.TEXT_SHA256[:32], builtin.IMAGE_SHA256[:32])

    def run(
        backbone: Any, example: Any, one: Any, dynamic: Any, file: Path, device: Any
    ) -> Callable[..., Any]:
        if any(name in file.name for name in kept):
            return real(backbone, example, one, dynamic, file, device)
        return frozen._torch_runner(backbone.eval().requires_grad_(False).to(device), device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "_runner", run)
        yield real


@pytest.fixture
def exporting(run_as_in_use: Callable[..., Any]) -> Iterator[None]:
    """Every encoder is exported, as it is for users."""
    from postsense.encoders import frozen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "_runner", run_as_in_use)
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Gives a file system of so many KiB; called again, the same one with another size."""
    place = tmp_path / "small_disk"

    def mount(kib: int) -> Path:
        again = "remount," if place.is_dir() else ""
        place.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"{again}size={kib}k", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a file system")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True)


@pytest.fixture
def float64_by_default() -> Iterator[None]:
    """Tensors and modules that a test makes are float64; see `tolerances.double_precision`."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def known_words() -> list[str]:
    """The words of the 45 posts, which the tokenizers of the tiny checkpoints know."""
    return " ".join(WORDS.values()).split()


@pytest.fixture(scope="session")
def post_rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """45 labelled posts, 15 a class, 27 train, 9 val and 9 test, each with a small picture."""
    folder, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows = []
    for number in range(45):
        label, split = CLASSES[number % 3], SPLITS[number // 3 % 5]
        picture = folder / f"{number}.png"
        pixels = generator.integers(0, 120, (24, 24, 3), dtype=np.uint8)
        pixels[..., number % 3] += 130
        Image.fromarray(pixels).save(picture)
        text = f"{WORDS[label]} {number}"
        rows.append(
            {
                "id": f"p{number}",
                "text": text,
                "image": str(picture),
                "label": label,
                "split": split,
            }
        )
    return rows


@pytest.fixture(scope="session")
def posts_file(tmp_path_factory: pytest.TempPathFactory, post_rows: list[dict[str, Any]]) -> Path:
    """The 45 posts as a JSONL table."""
    file = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in post_rows))
    return file


@pytest.fixture
def draw_picture(tmp_path: Path) -> Callable[[str, int], str]:
    """`draw_picture(name, seed)` writes a small picture and returns its path."""

    def draw(name: str, seed: int) -> str:
        pixels = np.random.default_rng(seed).integers(0, 255, (24, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        return str(tmp_path / name)

    return draw


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, posts_file: Path) -> Path:
    """A run of preset concat on the 45 posts, with the two seeds 0 and 1. Not to be changed."""
    from postsense.config.loading import load_config
    from postsense.data.loading import load_posts
    from postsense.runs.training import train_run

    values = {"training.epochs": 8, "training.learning_rate": 0.01, "training.device": "cpu"}
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_run(load_posts(posts_file), load_config("concat", values=values), folder, seeds=2)
    return folder


@pytest.fixture(scope="session")
def synthetic_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 150 synthetic posts with comments, indexed. Not to be changed."""
    from postsense.config import CorpusSettings
    from postsense.corpus.building import build_corpus
    from postsense.data.synthetic import write_synthetic_posts
    from postsense.retrieval.indexing import index_corpus

    folder = tmp_path_factory.mktemp("synthetic")
    table = write_synthetic_posts(folder / "posts", posts=150, seed=7)
    build_corpus([table], folder / "corpus", CorpusSettings(require_comments=False))
    index_corpus(folder / "corpus")
    return folder / "corpus"


@dataclass(frozen=True)
class Outcome:
    """What one call of the command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def postsense(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """`postsense(*arguments)` runs the command line in this process."""
    from postsense.commands.main import main

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["postsense", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Outcome(int(exit_.value.code or 0), captured.out, captured.err)

    return run
