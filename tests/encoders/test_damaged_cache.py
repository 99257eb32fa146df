"""Whatever happened to the files of a cache, posts get the features that they had."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from postsense.config import EncoderSettings
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.posts import Posts, posts_of_texts

Array = np.ndarray[Any, Any]
TRIALS = 30
TEXTS = ("what a lovely day", "awful rain", None, "awful rain again", "bus line", "a bus")


@pytest.fixture
def posts(draw_picture: Callable[[str, int], str]) -> Posts:
    """Six posts, of which one has no text and one no picture."""
    pictures = [None, *(draw_picture(f"{seed}.png", seed) for seed in range(5))]
    table = posts_of_texts(TEXTS, "posts").table
    place = table.schema.get_field_index("image")
    return Posts(table.set_column(place, table.schema.field(place), [pictures]), "posts")


def features(posts: Posts, cache: Path, bert: Path, vit: Path) -> list[Array]:
    """Vectors and tokens of the texts and of the pictures, through the cache."""
    named = {"text": {"name": str(bert)}, "image": {"name": str(vit)}, "cache": str(cache)}
    settings, device = EncoderSettings.model_validate(named), torch.device("cpu")
    text, image = FrozenTextEncoder(settings, device), FrozenImageEncoder(settings, device)
    words = encode_texts(posts, text, with_tokens=True, threads=1)
    pictures, _ = encode_pictures(posts, image, with_tokens=True, threads=1)
    batches = [column.batch(np.arange(len(posts))) for column in (words, pictures)]
    return [part.numpy() for b in batches for part in (b.pooled, b.tokens) if part is not None]


def damage(cache: Path, draw_from: random.Random) -> str:
    """Do one thing to what is kept of features; returns what."""
    file = draw_from.choice(
        sorted(file for file in (cache / "features").rglob("*.*") if file.is_file())
    )
    kind = draw_from.choice(["flip", "flip", "cut", "gone", "zeros", "turned"])
    data = bytearray(file.read_bytes())
    place = draw_from.randrange(len(data))
    if kind == "flip":
        data[place] ^= 1 << draw_from.randrange(8)
    elif kind == "zeros":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif kind == "turned" and file.suffix == ".npy":
        np.save(file, np.load(file)[::-1])
        return f"turned {file.name}"
    file.write_bytes(data[:place] if kind == "cut" else data)
    if kind == "gone":
        file.unlink()
    return f"{kind} {file.name} at {place}"


def test_a_damaged_cache_changes_no_feature_and_says_so_once(
    posts: Posts,
    tmp_path: Path,
    tiny_bert: Path,
    tiny_vit: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = tmp_path / "whole"
    expected, told = features(posts, whole, tiny_bert, tiny_vit), 0
    for trial in range(TRIALS):
        copy = shutil.copytree(whole, tmp_path / "copy")
        what = damage(copy, random.Random(trial))
        caplog.clear()
        found = features(posts, copy, tiny_bert, tiny_vit)
        assert all(map(np.array_equal, found, expected)), what
        assert len(caplog.records) <= 1, what
        told += len(caplog.records)
        shutil.rmtree(copy)
    assert told > TRIALS // 4
