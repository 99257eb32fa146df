"""Frozen built-in encoders against plain torch in eager mode, both in one run, repeated in turn.

Usage: python benchmarks/encoders.py FOLDER_WITH_posts.jsonl [POSTS]
Prints Markdown. Plain torch means: float32, inference mode, all cores, batches of 32; texts padded
to the longest of their batch, once in the order of the table and once sorted by length.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from postsense.config import EncoderSettings
from postsense.data.images import read_picture
from postsense.data.loading import load_posts
from postsense.encoders.backbone import load_image_backbone, load_text_backbone
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.features import FeatureColumn
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.posts import Posts

BATCH = 32
REPEATS = 3
THREADS = len(os.sched_getaffinity(0))
CPU = torch.device("cpu")


def plain_texts(texts: list[str], encoder: FrozenTextEncoder, *, by_length: bool) -> np.ndarray:
    """Mean of MiniLM's token states in eager torch, (N, 384)."""
    network = load_text_backbone(encoder.folder, None)
    tokenizer, start = encoder.tokenizer.tokenizer, perf_counter()
    order = np.argsort([len(text) for text in texts]) if by_length else np.arange(len(texts))
    out = np.zeros((len(texts), 384), dtype=np.float32)
    with torch.inference_mode():
        for first in range(0, len(texts), BATCH):
            rows = order[first : first + BATCH]
            tokens = tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=64,
                return_tensors="pt",
            )
            mask = tokens["attention_mask"]
            states, _ = network(tokens["input_ids"], mask)
            out[rows] = ((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy()
    plain_texts.seconds = perf_counter() - start  # type: ignore[attr-defined]
    return out


def plain_pictures(paths: list[str], encoder: FrozenImageEncoder) -> np.ndarray:
    """Mean of EfficientNet-Lite0's last feature map in eager torch, (N, 1280)."""
    network, start = load_image_backbone(None, None, "mean"), perf_counter()
    out = []
    with torch.inference_mode(), ThreadPoolExecutor(THREADS) as workers:
        for first in range(0, len(paths), BATCH):
            pixels = list(workers.map(lambda path: prepare(path, encoder), paths[first:][:BATCH]))
            regions, _ = network(torch.from_numpy(np.stack(pixels)))
            out.append(regions.mean(dim=1).numpy())
    plain_pictures.seconds = perf_counter() - start  # type: ignore[attr-defined]
    return np.concatenate(out)


def prepare(path: str, encoder: FrozenImageEncoder) -> np.ndarray:
    """Read, decode and scale one picture."""
    return encoder.prepare(read_picture(path), path)


def ours(encode: Callable[..., object], posts: Posts, encoder: object) -> tuple[float, np.ndarray]:
    """Seconds and features of our pipeline into an empty feature store, sessions already open."""
    with tempfile.TemporaryDirectory() as folder:
        encoder.cache = Path(folder)  # type: ignore[attr-defined]
        start = perf_counter()
        result = encode(posts, encoder, with_tokens=False, threads=THREADS)
        seconds = perf_counter() - start
        column = result[0] if isinstance(result, tuple) else result
        assert isinstance(column, FeatureColumn)
        return seconds, column.batch(np.arange(len(posts))).pooled.numpy()


def cosine(ours_: np.ndarray, plain: np.ndarray) -> float:
    """The lowest cosine between the two features of a post."""
    norms = np.linalg.norm(ours_, axis=1) * np.linalg.norm(plain, axis=1)
    return float(((ours_ * plain).sum(axis=1) / norms).min())


def main(folder: str, count: int) -> None:
    """Time both sides in turn and print medians, ratios and the lowest cosine."""
    posts = load_posts(Path(folder) / "posts.jsonl")
    posts = posts.take(np.arange(min(count, len(posts))))
    settings = EncoderSettings(cache=Path(tempfile.mkdtemp()))
    words, pictures = FrozenTextEncoder(settings, CPU), FrozenImageEncoder(settings, CPU)
    texts, paths = posts.column("text"), posts.column("image")
    distinct = len(set(texts)), len({read_picture(path) for path in paths})
    warm = posts.take(np.arange(64))
    ours(encode_texts, warm, words)
    ours(encode_pictures, warm, pictures)
    torch.set_num_threads(THREADS)
    seconds: dict[str, list[float]] = {}
    lowest: dict[str, float] = {}
    for _ in range(REPEATS):
        for name, sort in (("texts, table order", False), ("texts, sorted by length", True)):
            plain = plain_texts(texts, words, by_length=sort)
            seconds.setdefault(f"plain {name}", []).append(plain_texts.seconds)  # type: ignore[attr-defined]
            spent, features = ours(encode_texts, posts, words)
            seconds.setdefault(f"ours {name}", []).append(spent)
            lowest[name] = cosine(features, plain)
        plain = plain_pictures(paths, pictures)
        seconds.setdefault("plain pictures", []).append(plain_pictures.seconds)  # type: ignore[attr-defined]
        spent, features = ours(encode_pictures, posts, pictures)
        seconds.setdefault("ours pictures", []).append(spent)
        lowest["pictures"] = cosine(features, plain)
    print(f"{len(posts)} posts ({distinct[0]} distinct texts, {distinct[1]} distinct pictures), ")
    print(f"{THREADS} cores, median of {REPEATS}; from table to kept features\n")
    print("| what | plain torch, posts/s | postsense, posts/s | ratio | lowest cosine |")
    print("|---|---|---|---|---|")
    for name, value in lowest.items():
        plain_s, ours_s = median(seconds[f"plain {name}"]), median(seconds[f"ours {name}"])
        ratio = median(
            one / two
            for one, two in zip(seconds[f"plain {name}"], seconds[f"ours {name}"], strict=True)
        )
        speeds = f"{len(posts) / plain_s:.0f} | {len(posts) / ours_s:.0f}"
        print(f"| {name} | {speeds} | {ratio:.1f} | {value:.6f} |")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
