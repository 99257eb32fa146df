"""What a post's own comments are worth, and what it costs that a fresh post has none.

Usage: python benchmarks/own_comments.py FOLDER_WITH_posts.jsonl folds|test
`folds` reads train and val alone: a plain regression over what the fusion `concat` reads, on six
times five folds, for every share of hidden posts and penalty, and the networks on two times five.
`test` trains on train and val what was chosen there and measures it once, the networks with five
seeds. Each model is measured twice, with the comments of the posts that it predicts and without.
Prints Markdown; intervals are paired bootstraps over posts.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from postsense.arrays import Array
from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.splitting import Splits, split_posts
from postsense.inputs.preparation import PreparedPosts, prepare_posts
from postsense.posts import Posts
from postsense.prediction.classifier import predict_rows
from postsense.training.comment_dropout import with_fresh_twins
from postsense.training.fitting import fit_classifier
from postsense.training.labeled import TrainingData, new_model

PENALTIES = (1e-3, 3e-3, 1e-2)
SHARES = (0.0, 0.3, 0.5)
VECTOR = {"blocks.comments": 1.0}
OWN = {"comments.own": True, "comments.count": 8}
INPUTS: dict[str, dict[str, Any]] = {"": {}, "vector": VECTOR}
NETWORKS: dict[str, dict[str, Any]] = {
    "concat": {},
    "concat, vector": VECTOR,
    "concat, attention": OWN,
    "concat, attention and vector": {**OWN, **VECTOR},
}
CHOSEN = {"": 1e-2, "vector": 3e-3}  # penalties, by `folds`
SHARE = 0.5  # hidden, by `folds`
SEEDS = 5
REPEATS = 6  # of five folds, of the regressions; the networks have two
HEADER = (
    "| model | hidden in training | comments | accuracy | against without | 95 % over posts |\n"
    "|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Right:
    """Which posts a model gets right, a share of its trials each: with comments and without."""

    present: Array
    absent: Array
    spread: float = 0.0


@dataclass(frozen=True)
class Measured:
    """The posts as a model reads them, with their comments and as if there were none."""

    config: Config
    splits: Splits
    prepared: PreparedPosts
    bare: PreparedPosts

    @classmethod
    def of(cls, posts: Posts, settings: Mapping[str, Any]) -> "Measured":
        """posts: labelled ones with splits."""
        config = load_config("concat", values=settings)
        column = posts.table.column_names.index("comments")
        nothing = pa.nulls(len(posts), posts.table.schema.field("comments").type)
        table = posts.table.set_column(column, "comments", nothing)
        splits = split_posts(posts, None, validation_fraction=0.1, seed=0)
        bare = prepare_posts(posts.with_table(table), config)
        return cls(config, splits, prepare_posts(splits.posts, config), bare)


def regression(data: Measured, train: Array, test: Array, share: float, penalty: float) -> Right:
    """A multinomial regression over what the fusion reads, standardised on train."""
    learned = data.prepared.dataset(train, data.splits.classes)
    model = new_model(TrainingData(learned, learned, data.splits.classes), data.config).eval()
    twins = with_fresh_twins(learned, share)

    @torch.no_grad()
    def read(dataset: Any) -> Array:
        vectors: Array = model(dataset[np.arange(len(dataset))]).fused.numpy()
        return vectors

    fit = LogisticRegression(C=penalty, max_iter=300)
    fit.fit(read(twins), twins.labels, sample_weight=twins.weights)
    parts = (one.dataset(test, data.splits.classes) for one in (data.prepared, data.bare))
    present, absent = (fit.predict(read(part)) == part.labels for part in parts)
    return Right(present.astype(float), absent.astype(float))


def network(data: Measured, train: Array, val: Array, test: Array, seed: int) -> Right:
    """A model as `postsense train` makes it."""
    splits = replace(data.splits, train=train, val=val, test=test)
    config = data.config.model_copy(update={"seed": seed})
    with tempfile.TemporaryDirectory() as folder:
        classifier = fit_classifier(splits, data.prepared, config, Path(folder)).classifier
    labels = data.prepared.dataset(test, splits.classes).labels
    present, absent = (
        predict_rows(classifier, prepared, test).logits.argmax(axis=1) == labels
        for prepared in (data.prepared, data.bare)
    )
    return Right(present.astype(float), absent.astype(float))


def folds(splits: Splits, repeats: int) -> Iterator[tuple[Array, Array]]:
    """Train and held-out posts of each fold; no test post is in any."""
    pool = np.union1d(splits.train, splits.val)
    labels = np.array(splits.posts.column("label"))[pool]
    for repeat in range(repeats):
        parts = StratifiedKFold(5, shuffle=True, random_state=repeat).split(pool, labels)
        yield from ((pool[train], pool[test]) for train, test in parts)


def averaged(parts: Sequence[tuple[Array, Right]], posts: int) -> Right:
    """What a model gets right of each post, over all trials that held it out."""
    sums, counts = np.zeros((2, posts)), np.zeros(posts)
    for rows, right in parts:
        sums[0, rows] += right.present
        sums[1, rows] += right.absent
        counts[rows] += 1
    seen = counts > 0
    trials = [right.present.mean() for _, right in parts]
    spread = float(np.std(trials, ddof=1)) if len(trials) > 1 else 0.0
    return Right(sums[0, seen] / counts[seen], sums[1, seen] / counts[seen], spread)


def interval(gain: Array) -> tuple[float, float]:
    """95 % of the means of posts drawn anew. gain: (N,) of each post."""
    drawn = np.random.default_rng(0).integers(0, len(gain), (5000, len(gain)))
    low, high = np.percentile(gain[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def show(name: str, share: float | None, right: Right, without: Right) -> None:
    """Two lines of the table, or one for a model that reads no comments."""
    spread = f" ± {right.spread:.4f}" if right.spread else ""
    if share is None:
        print(f"| {name} |  | not read | {right.present.mean():.4f}{spread} |  |  |", flush=True)
        return
    for said, values in (("there", right.present), ("none", right.absent)):
        gain = values - without.present
        low, high = interval(gain)
        shown = f"{values.mean():.4f}{spread if said == 'there' else ''}"
        cells = f"{shown} | {gain.mean():+.4f} | [{low:+.4f}, {high:+.4f}]"
        print(f"| {name} | {share:.1f} | {said} | {cells} |", flush=True)


def with_share(settings: Mapping[str, Any], share: float) -> dict[str, Any]:
    """The settings of a model, with the share of posts that training hides where it hides any."""
    reads = settings.keys() & {"comments.own", "blocks.comments"}
    return {**settings, **({"comments.absence": share} if reads else {})}


def choose(posts: Posts) -> None:
    """Everything on folds of train and val."""
    print(HEADER)
    without: Right | None = None
    for name, settings in INPUTS.items():
        data = Measured.of(posts, {"fusion.hidden": 0, **settings})
        for share in SHARES if settings else (None,):
            tried = {}
            for penalty in PENALTIES:
                parts = [
                    (test, regression(data, train, test, share or 0.0, penalty))
                    for train, test in folds(data.splits, REPEATS)
                ]
                tried[penalty] = averaged(parts, len(posts))
            best = max(PENALTIES, key=lambda one: tried[one].present.mean())
            without = without or tried[best]
            show(f"regression {name} (C={best})".replace("  ", " "), share, tried[best], without)
    for name, settings in NETWORKS.items():
        for share in (0.0, SHARE) if len(with_share(settings, 0.0)) > len(settings) else (None,):
            data = Measured.of(posts, with_share(settings, share or 0.0))
            parts = []
            for seed, (train, test) in enumerate(folds(data.splits, 2)):
                val = np.random.default_rng(seed).permutation(train)[: len(train) // 8]
                right = network(data, np.setdiff1d(train, val), val, test, seed)
                parts.append((test, right))
            right = averaged(parts, len(posts))
            without = right if share is None else without
            assert without is not None
            show(name, share, right, without)


def measure(posts: Posts) -> None:
    """What was chosen, on the test posts."""
    print(HEADER)
    without: Right | None = None
    for name, settings in INPUTS.items():
        data = Measured.of(posts, {"fusion.hidden": 0, **settings})
        train, test = np.union1d(data.splits.train, data.splits.val), data.splits.test
        for share in (0.0, SHARE) if settings else (None,):
            right = regression(data, train, test, share or 0.0, CHOSEN[name])
            without = without or right
            show(f"regression {name}".strip(), share, right, without)
    for name, settings in NETWORKS.items():
        share = SHARE if len(with_share(settings, SHARE)) > len(settings) else None
        data = Measured.of(posts, with_share(settings, SHARE))
        splits = data.splits
        parts = [
            (splits.test, network(data, splits.train, splits.val, splits.test, seed))
            for seed in range(SEEDS)
        ]
        right = averaged(parts, len(posts))
        without = right if share is None else without
        assert without is not None
        show(name, share, right, without)


def main(folder: str, part: str) -> None:
    """Print one of the two tables."""
    torch.set_num_threads(1)
    posts = load_posts(Path(folder) / "posts.jsonl").labeled()
    choose(posts) if part == "folds" else measure(posts)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
