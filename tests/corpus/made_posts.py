"""Small tables of posts and a corpus of them, with encoders of width 16."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.config import CorpusSettings
from postsense.corpus.building import BuildReport, build_corpus
from postsense.corpus.reading import open_corpus

SUBJECTS = ("river", "bridge", "garden", "market", "station", "harbor", "museum", "stadium")
KNOWN = ("what", "a", "lovely", "day", "awful", "rain", "again")  # to the tiny encoder
VERBS = ("flooded", "painted", "closed", "rebuilt", "visited", "photographed")


def sentence(number: int) -> str:
    """An English text that shares few words with those of other numbers."""
    subject, verb = SUBJECTS[number % 8], VERBS[number // 8 % 6]
    known = " ".join(word for bit, word in enumerate(KNOWN) if (number + 1) >> bit & 1)
    return f"{known}, the old {subject} was {verb} by people number{number} on day{number}"


def row(number: int, **values: Any) -> dict[str, Any]:
    """A post in English without a picture, with two comments."""
    comments = [f"what a lovely view of place{number}", f"I was there with person{number}"]
    post = {"id": f"p{number}", "text": sentence(number), "comments": comments}
    return {**post, "created_at": f"{2012 + number % 3}-05-01T10:00:00", **values}


def write_table(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """The rows as JSONL."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(values) + "\n" for values in rows), encoding="utf-8")
    return file


def draw(file: Path, seed: int, quality: int = 90) -> str:
    """A picture that looks like no other seed's; quality changes its file, not its looks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(cells).resize((64, 64), Image.Resampling.BICUBIC).save(file, quality=quality)
    return str(file)


def tiny_settings(bert: Path, vit: Path, **values: Any) -> CorpusSettings:
    """Settings that need neither pictures nor comments."""
    encoders = {"text": {"name": str(bert)}, "image": {"name": str(vit)}, "threads": 1}
    free = {"require_image": False, "require_comments": False}
    return CorpusSettings.model_validate({"encoders": encoders, **free, **values})


def build(
    folder: Path, rows: Sequence[dict[str, Any]], settings: CorpusSettings, name: str = "posts"
) -> BuildReport:
    """A corpus of the rows in folder; the table lies beside it."""
    table = write_table(folder.parent / f"{name}.jsonl", rows)
    return build_corpus([table], folder, settings)


def snapshot(folder: Path) -> tuple[Any, ...]:
    """All that a corpus answers: rows, vectors, what its manifest and its list of bad rows say."""
    corpus = open_corpus(folder)
    numbers = corpus.numbers
    vectors = [part.tobytes() for part in corpus.vectors(numbers)]
    comments = [[(c.text, c.vector.tobytes()) for c in post] for post in corpus.comments(numbers)]
    posts = corpus.posts(numbers).table.to_pylist()
    files = [(folder / name).read_bytes() for name in ("corpus.json", "bad_rows.jsonl")]
    return numbers.tolist(), posts, vectors, comments, files


class Killed(BaseException):
    """Stands for SIGKILL: nothing under test catches it."""


@contextmanager
def killed_at(module: Any, name: str, when: str = "before") -> Iterator[None]:
    """What is called in the block is stopped before, or after, its first call of module.name."""
    real = getattr(module, name)

    def stop(*arguments: Any, **options: Any) -> None:
        if when == "after":
            real(*arguments, **options)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, stop)
        try:
            yield
        except Killed:
            return
    raise AssertionError(f"{name} was never called")
