"""Frozen encoders in bfloat16: near to single precision, alike in any batch, named in the key."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from corpus.made_posts import build, row, tiny_settings
from postsense.config import EncoderSettings
from postsense.config.loading import load_config, parse_config
from postsense.corpus.reading import open_corpus
from postsense.data.loading import load_posts
from postsense.encoders import precision
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.encoders.precision import bf16_runner, settled_precision
from postsense.errors import EncoderError
from postsense.prediction.classifier import average_predictions
from postsense.runs.training import load_run, train_run
from postsense.saving.places import from_root

CPU = torch.device("cpu")
ROUNDING = 2.0**-8  # of bfloat16, which keeps 8 bits of a number


def settings_of(cache: Path | None = None, **parts: dict[str, Any]) -> EncoderSettings:
    return parse_config({"encoders": {**parts, "cache": cache}}).encoders


def text_encoder(folder: Path | str, cache: Path, chosen: str) -> FrozenTextEncoder:
    text = {"name": str(folder), "max_length": 16, "precision": chosen}
    return FrozenTextEncoder(settings_of(cache, text=text), CPU)


def image_encoder(folder: Path | str, cache: Path, chosen: str) -> FrozenImageEncoder:
    image = {"name": str(folder), "precision": chosen}
    return FrozenImageEncoder(settings_of(cache, image=image), CPU)


def distance(found: Any, expected: Any) -> float:
    """How far found is from expected, as a share of its length."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(params=[True, False], ids=["with", "without"])
def capable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the machine has instructions for bfloat16."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: request.param)
    return bool(request.param)


@pytest.mark.parametrize("name", ["tiny_bert", "builtin"])
def test_texts_in_bf16_are_near_to_those_in_fp32(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    folder = name if name == "builtin" else request.getfixturevalue(name)
    half, single = (text_encoder(folder, tmp_path, kind) for kind in ("bf16", "fp32"))
    ids = single.tokenizer(["what a lovely day"])

    (found,), (expected,) = half.encode(ids), single.encode(ids)

    assert found.pooled.dtype == np.float32
    assert 0 < distance(found.pooled, expected.pooled) < 6 * ROUNDING


@pytest.mark.parametrize("name", ["tiny_vit", "tiny_resnet", "builtin"])
def test_pictures_in_bf16_are_near_to_those_in_fp32(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    folder = name if name == "builtin" else request.getfixturevalue(name)
    half, single = (image_encoder(folder, tmp_path, kind) for kind in ("bf16", "fp32"))
    size = (3, *single.policy.size_px)
    pixels = [np.random.default_rng(0).normal(size=size).astype(np.float32)]

    (found,), (expected,) = half.encode(pixels), single.encode(pixels)

    assert 0 < distance(found.pooled, expected.pooled) < 12 * ROUNDING


def test_a_text_in_bf16_gets_the_same_bits_whatever_batch_it_is_in(tmp_path: Path) -> None:
    encoder = text_encoder("builtin", tmp_path, "bf16")
    ids = encoder.tokenizer([f"what a lovely day number {number}" for number in range(9)])

    whole = encoder.encode(ids)

    for size in (1, 2, 4):
        parts = [item for at in range(0, 9, size) for item in encoder.encode(ids[at : at + size])]
        for one, other in zip(whole, parts, strict=True):
            assert np.array_equal(one.pooled, other.pooled)


class Crowded(nn.Module):
    """Gives how many inputs there are, as networks do in the last bits of theirs."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return pixels, torch.full_like(pixels, len(pixels))


def test_posts_that_would_change_one_another_go_one_at_a_time() -> None:
    run = bf16_runner(Crowded(), [[torch.zeros(4, 2)]], CPU, "encoders.text")

    _, found = run([np.zeros((3, 2), dtype=np.float32)])

    assert found.tolist() == [[1.0, 1.0]] * 3


class Narrow(nn.Module):
    """Knows no bfloat16, or nothing that is finite."""

    def __init__(self, failing: bool) -> None:
        super().__init__()
        self.failing = failing

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        if self.failing:
            raise RuntimeError("no kernel for BFloat16\nmore lines")
        return pixels, pixels / 0.0


@pytest.mark.parametrize(
    ("failing", "found"), [(True, "no kernel for BFloat16"), (False, "infinite or not a number")]
)
def test_a_network_that_cannot_is_refused_in_a_line(failing: bool, found: str) -> None:
    with pytest.raises(EncoderError, match=rf"{found}\. Set encoders\.image\.precision=fp32\.$"):
        bf16_runner(Narrow(failing), [[torch.ones(1, 2)]], CPU, "encoders.image")


def test_the_key_names_a_precision_that_is_not_the_first(tiny_bert: Path, tmp_path: Path) -> None:
    single, half = (text_encoder(tiny_bert, tmp_path, kind).key for kind in ("fp32", "bf16"))

    assert (
        single
        == FrozenTextEncoder(settings_of(text={"name": str(tiny_bert), "max_length": 16}), CPU).key
    )
    assert half == single.replace("-all-", "-all-bf16-") != single


@pytest.mark.parametrize(
    ("text", "image", "expected"),
    [
        ("tiny_bert", "tiny_vit", ("bf16", "bf16")),
        ("tiny_siglip", "tiny_siglip", ("bf16", "bf16")),
        ("builtin", "builtin", ("fp32", "fp32")),
        ("tiny_bert", "tiny_resnet", ("bf16", "fp32")),
    ],
)
def test_auto_is_bf16_for_transformers_that_are_not_built_in_where_the_machine_has_it(
    request: pytest.FixtureRequest,
    capable: bool,
    text: str,
    image: str,
    expected: tuple[str, str],
) -> None:
    names = [one if one == "builtin" else request.getfixturevalue(one) for one in (text, image)]
    parts = [{"name": str(name), "precision": "auto"} for name in names]

    settled = settled_precision(settings_of(text=parts[0], image=parts[1]), CPU)

    found = (settled.text.precision, settled.image.precision)
    assert found == (expected if capable else ("fp32", "fp32"))


def test_what_a_run_keeps_says_what_auto_was(tiny_bert: Path, capable: bool) -> None:
    values = {"encoders.text.name": str(tiny_bert), "encoders.text.precision": "auto"}

    kept = from_root(load_config(values={**values, "training.device": "cpu"}))

    assert kept.encoders.text.precision == ("bf16" if capable else "fp32")
    assert from_root(kept) == kept


def test_what_a_corpus_keeps_says_what_auto_was(
    tiny_bert: Path, tiny_vit: Path, tmp_path: Path, capable: bool
) -> None:
    settings = tiny_settings(tiny_bert, tiny_vit)
    text = settings.encoders.text.model_copy(update={"precision": "auto"})
    encoders = settings.encoders.model_copy(update={"text": text, "cache": tmp_path / "cache"})

    build(tmp_path / "corpus", [row(0), row(1)], settings.model_copy(update={"encoders": encoders}))

    manifest = open_corpus(tmp_path / "corpus").manifest
    assert manifest.settings.encoders.text.precision == ("bf16" if capable else "fp32")
    assert ("-bf16-" in manifest.text_key) is capable


def test_a_run_in_bf16_comes_back_and_answers_as_it_did(
    tiny_bert: Path, post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    values = {"encoders.text.name": str(tiny_bert), "encoders.text.max_length": 16}
    values |= {"encoders.text.precision": "bf16", "fusion.name": "text_only"}
    config = load_config(values={**values, "training.epochs": 1, "training.device": "cpu"})
    posts = load_posts(post_rows)

    train_run(posts, config, tmp_path / "run")

    kept = pq.read_table(tmp_path / "run/seed-0/predictions.parquet").to_pylist()
    again = average_predictions(load_run(tmp_path / "run"), posts)
    by_id = dict(zip(again.ids, again.labels, strict=True))
    assert [row["predicted"] for row in kept] == [by_id[row["id"]] for row in kept]
