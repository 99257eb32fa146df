"""Steps of fine-tuning: posts prepared once and batched by length, against the usual way.

Usage: python benchmarks/fine_tuning.py FOLDER_WITH_posts.jsonl [POSTS] [STEPS]
Prints Markdown. Built-in encoders, concat fusion, batches of 16; a step is forward, cross-entropy,
backward and AdamW. The usual way, that of the code released with the papers: every text is padded
to 128 tokens, every picture is decoded in every epoch and frozen encoders run in every epoch. Both
train the same model from the same weights in one run, by turns; steps that warm up do not count,
nor does what ours does once, which is told apart. Last, what image-text matching adds to a step of
ours: with the encoder's output used again, and with a second pass of the whole model as released.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from postsense.config import Config
from postsense.config.loading import parse_config
from postsense.data.batching import epoch_batches
from postsense.data.images import decode_picture, normalize_pixels, read_picture
from postsense.data.loading import load_posts
from postsense.encoders.backbone import ImageEncoder, load_image_backbone
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.processors import picture_policy
from postsense.inputs.batches import Pixels, PostBatch, PostDataset, TokenIds
from postsense.inputs.preparation import PreparedPosts, prepare_posts
from postsense.losses.image_text import image_text_matching_loss
from postsense.model.post_model import PostModel
from postsense.posts import Posts
from postsense.training.labeled import TrainingData, new_model
from postsense.training.mismatches import show_mismatches
from postsense.training.optimizer import build_optimizer

MAX_LENGTH = 128
BATCH = 16
WARMUP = 1
TURN = 2  # steps of one side before the other's turn
Batches = list[np.ndarray]


@dataclass
class Side:
    """One way to train: its model, and how it makes the batches of an epoch."""

    model: PostModel
    batches: Iterator[PostBatch]
    config: Config
    objective: Callable[[PostModel, PostBatch], Tensor]
    turns: list[float] = field(default_factory=list)  # posts/s of each

    def __post_init__(self) -> None:
        self.model.train()
        self.optimizer = build_optimizer(self.model, self.config.training)

    def take_turn(self, steps: int) -> None:
        """Train so many steps and note the posts a second, batches and all."""
        start, posts = perf_counter(), 0
        for batch in islice(self.batches, steps):
            assert batch.labels is not None
            self.optimizer.zero_grad()
            self.objective(self.model, batch).backward()
            self.optimizer.step()
            posts += len(batch.labels)
        self.turns.append(posts / (perf_counter() - start))


def classify(model: PostModel, batch: PostBatch) -> Tensor:
    """Cross-entropy on the labels."""
    return F.cross_entropy(model(batch).logits, batch.labels)


def match_again(model: PostModel, batch: PostBatch) -> Tensor:
    """The same, and image-text matching with what the encoder gave."""
    output = model(batch)
    matches = batch.swaps == torch.arange(len(batch.swaps))
    matching = image_text_matching_loss(output.match_logits, matches)
    return F.cross_entropy(output.logits, batch.labels) + matching


def match_anew(model: PostModel, batch: PostBatch) -> Tensor:
    """The same, and image-text matching by a second pass over all posts."""
    matches = batch.swaps == torch.arange(len(batch.swaps))
    output = model(replace(batch, swaps=None))
    shown = model(
        replace(batch, swaps=None, read={**batch.read, "text": batch["text"].take(batch.swaps)})
    )
    matching = image_text_matching_loss(model.match_head(shown.fused), matches)
    return F.cross_entropy(output.logits, batch.labels) + matching


def usual_batches(
    prepared: PreparedPosts, dataset: PostDataset, batches: Batches, config: Config
) -> Iterator[PostBatch]:
    """Texts padded to the longest allowed, pictures decoded now, a frozen encoder run now."""
    paths, policy = prepared.posts.column("image"), picture_policy(None)
    frozen = ImageEncoder(load_image_backbone(None, None, "mean"), "mean").eval()
    for chosen in batches:
        rows = dataset.rows[chosen]
        files = [paths[row] for row in rows]
        decoded = [decode_picture(read_picture(path), path, policy) for path in files]
        pixels = torch.from_numpy(normalize_pixels(np.stack(decoded), policy))
        image: Pixels | Embeddings = Pixels(pixels, torch.ones(len(rows), dtype=torch.bool))
        if not config.encoders.image.trainable:
            with torch.no_grad():
                encoded = frozen(*vars(image).values())
            image = Embeddings(encoded.pooled, encoded.present)
        text = prepared.columns.read["text"].batch(rows)
        assert isinstance(text, TokenIds) and dataset.labels is not None
        yield PostBatch(
            {"text": padded(text), "image": image}, labels=torch.from_numpy(dataset.labels[chosen])
        )


def padded(text: TokenIds) -> TokenIds:
    """The same texts, MAX_LENGTH tokens each."""
    more = (0, MAX_LENGTH - text.ids.shape[1])
    return TokenIds(F.pad(text.ids, more), F.pad(text.mask, more))


def settings(folder: Path, *, train_image: bool) -> Config:
    """MiniLM trained, EfficientNet-Lite0 trained or frozen, joined by concat."""
    return parse_config(
        {
            "encoders": {
                "text": {"trainable": True, "max_length": MAX_LENGTH},
                "image": {"trainable": train_image},
                "cache": folder,
            },
            "losses": {"itm": 0.1},
            "training": {"batch_size": BATCH, "device": "cpu"},
        }
    )


def compare(posts: Posts, config: Config, steps: int) -> tuple[float, list[Side], list[int]]:
    """Seconds of what ours does once, the usual side and ours after their steps, and tokens.

    The tokens of an epoch: padded as usual, padded as ours, those of the texts.
    """
    start = perf_counter()
    prepared = prepare_posts(posts, config)
    once = perf_counter() - start
    classes = tuple(sorted({*posts.column("label")}))
    rows = np.flatnonzero(posts.table["image"].is_valid().to_numpy())
    dataset = prepared.dataset(np.intersect1d(rows, prepared.usable), classes)
    lengths = dataset.lengths
    assert lengths is not None
    usual = epoch_batches(len(dataset), BATCH, seed=0, epoch=0)
    alike = epoch_batches(len(dataset), BATCH, seed=0, epoch=0, lengths=lengths)
    models = [new_model(TrainingData(dataset, dataset, classes), config) for _ in range(2)]
    sides = [
        Side(models[0], usual_batches(prepared, dataset, cycled(usual), config), config, classify),
        Side(models[1], (dataset[chosen] for chosen in cycled(alike)), config, classify),
    ]
    take_turns(sides, steps)
    ours = sum(len(batch) * int(lengths[batch].max()) for batch in alike)
    return once, sides, [len(dataset) * MAX_LENGTH, ours, int(lengths.sum())]


def take_turns(sides: list[Side], steps: int) -> None:
    """Train all sides by turns, whose order turns around each time."""
    for side in sides:
        side.take_turn(WARMUP)
        side.turns.clear()
    for turn in range(-(-steps // TURN)):
        for side in sides if turn % 2 else sides[::-1]:
            side.take_turn(TURN)


def cost_of_matching(posts: Posts, config: Config, steps: int) -> list[float]:
    """How many times as long a step takes with matching, outputs used again or a second pass."""
    prepared = prepare_posts(posts, config)
    classes = tuple(sorted({*posts.column("label")}))
    dataset = prepared.dataset(prepared.usable, classes, aligns=True)
    lengths, view = dataset.lengths, show_mismatches(0.5)
    batches = cycled(epoch_batches(len(dataset), BATCH, seed=0, epoch=0, lengths=lengths))
    sides = []
    for objective in (classify, match_again, match_anew):
        model = new_model(TrainingData(dataset, dataset, classes), config)
        shown = (view(dataset[chosen], torch.Generator().manual_seed(0)) for chosen in batches)
        if objective is classify:
            shown = (dataset[chosen] for chosen in batches)
        sides.append(Side(model, shown, config, objective))
    take_turns(sides, steps)
    plain, *others = [np.array(side.turns) for side in sides]
    return [float(np.median(plain / other)) for other in others]


def cycled(batches: Batches) -> Batches:
    """Batches for several epochs, enough for any number of steps one has patience for."""
    return batches * 100


def main(folder: str, count: int, steps: int) -> None:
    """Print posts a second of both sides for a frozen and for a trained picture encoder."""
    posts = load_posts(Path(folder) / "posts.jsonl")[:count]
    cores = len(os.sched_getaffinity(0))
    print(f"{len(posts)} posts, {steps} steps of {BATCH} a side, {cores} cores; medians of turns\n")
    print("| picture encoder | usual, posts/s | postsense, posts/s | ratio | once before, s |")
    print("|---|---|---|---|---|")
    tokens: list[int] = []
    for name, train_image in (("frozen", False), ("trained", True)):
        with tempfile.TemporaryDirectory() as cache:
            config = settings(Path(cache), train_image=train_image)
            once, (usual, ours), tokens = compare(posts, config, steps)
        ratio = median(two / one for one, two in zip(usual.turns, ours.turns, strict=True))
        speeds = f"{median(usual.turns):.1f} | {median(ours.turns):.1f}"
        print(f"| {name} | {speeds} | {ratio:.1f} | {once:.1f} |", flush=True)
    padded_to, alike, words = tokens
    print(f"\nTokens an epoch: {words} of texts; usual {padded_to}, postsense {alike} with padding")
    with tempfile.TemporaryDirectory() as cache:
        config = settings(Path(cache), train_image=False)
        again, anew = cost_of_matching(posts, config, steps)
    print(f"A step with matching takes {again:.2f} times as long, {anew:.2f} with a second pass")


if __name__ == "__main__":
    arguments = [int(number) for number in sys.argv[2:]]
    main(sys.argv[1], *(arguments + [512, 16][len(arguments) :]))
