"""Fixtures that every test may use: real posts, synthetic posts, tiny checkpoints."""

import json
import os
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
            {"id": f"p{number}", "text": text, "image": str(picture), "label": label, "split": split}
        )
    return rows


@pytest.fixture(scope="session")
def posts_file(tmp_path_factory: pytest.TempPathFactory, post_rows: list[dict[str, Any]]) -> Path:
    """The 45 posts as a JSONL table."""
    file = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in post_rows))
    return file


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT checkpoint of width 16 and two layers that knows the words of the 45 posts."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *" ".join(WORDS.values()).split()]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    folder = tmp_path_factory.mktemp("tiny-bert")
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )
    fast.save_pretrained(folder)
    return folder


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
    from postsense.cli import main

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["postsense", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Outcome(int(exit_.value.code or 0), captured.out, captured.err)

    return run
