"""Speed of SPP-SCL's epochs and of ITRp's clustering, both sides of each ratio in one process.

Usage: python benchmarks/contrast_speed.py FOLDER [--posts N]

FOLDER holds posts.jsonl of MVSA-Single. Three figures, as Markdown: an epoch of SPP-SCL over kept
features against one that encodes every post at every step, as the released code does (both on N
posts, by the post); k-means against scikit-learn's with the same restarts, medians of three seeds
and the worst ratio of inertias; and the share that clustering has of a training run of ITRp with
the text encoder trained.
"""

import argparse
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
from sklearn.cluster import KMeans

from postsense.config import ClusteringSettings, Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.splitting import Splits
from postsense.posts import Posts
from postsense.runs.training import train_run
from postsense.training.clusters import cluster_vectors, equal_scaled
from postsense.training.fitting import prepare_splits, split_for_method
from postsense.training.labeled import TrainingData, labeled_phase, new_model
from postsense.training.loop import run_phase
from postsense.training.methods import cluster_pseudo_labels

RELEASED = {"encoders.text.fidelity": "released", "encoders.image.fidelity": "released"}
REPEATS = 3


def epoch_of(posts: Posts, config: Config) -> tuple[int, float]:
    """The posts that are trained on, and the seconds of the fastest of three epochs.

    One epoch before them does not count; val is left out.
    """
    splits: Splits = split_for_method(posts, None, config)
    prepared = prepare_splits(splits, config)
    times = []
    for _ in range(REPEATS + 1):
        train = prepared.dataset(splits.train, splits.classes, aligns=True)
        none = prepared.dataset(splits.train[:0], splits.classes)
        data = TrainingData(train, none, splits.classes)
        model = new_model(data, config)
        with tempfile.TemporaryDirectory() as folder:
            start = perf_counter()
            run_phase(labeled_phase("train", data, config), model, Path(folder))
            times.append(perf_counter() - start)
    return len(splits.train), min(times[1:])


def print_epochs(table: Path, count: int) -> None:
    """Kept features against encoding at every step."""
    one = {"method": "two_step_contrastive", "training.epochs": 1}
    config = load_config(values={**one, "data.columns.split": "splits.grouped"})
    posts = load_posts(table, config.data.columns)
    train = posts.split("train")
    few = train.take(np.arange(count))
    released = load_config(values={**one, **RELEASED, "data.columns.split": "splits.grouped"})
    whole, kept = epoch_of(train, config)
    some, same = epoch_of(few, config)
    _, encoding = epoch_of(few, released)
    print("| an epoch of SPP-SCL | posts | ms a post |\n|---|---|---|")
    print(f"| kept features | {whole} | {1000 * kept / whole:.2f} |")
    print(f"| kept features | {some} | {1000 * same / some:.2f} |")
    print(f"| encoded at every step | {some} | {1000 * encoding / some:.2f} |")
    print(f"\nratio {encoding / same:.0f}; 150 epochs of {whole}: {150 * kept / 60:.1f} min\n")


def print_k_means(vectors: np.ndarray[Any, Any]) -> None:
    """Seconds of both, medians of three seeds in turn, and the worst ratio of inertias."""
    print(
        "| k | ours, s | scikit-learn, s | ratio | inertia, ours / theirs |\n|---|---|---|---|---|"
    )
    for count in (2, 4, 8):
        settings = ClusteringSettings(clusters=count)
        ours, theirs, inertias = [], [], []
        for seed in range(REPEATS):
            start = perf_counter()
            found = cluster_vectors(vectors, settings, seed).inertia
            ours.append(perf_counter() - start)
            start = perf_counter()
            reference = KMeans(count, n_init=settings.restarts, random_state=seed).fit(vectors)
            theirs.append(perf_counter() - start)
            inertias.append(found / reference.inertia_)
        mine, other = np.median(ours), np.median(theirs)
        worst = max(inertias)
        print(f"| {count} | {mine:.2f} | {other:.2f} | {other / mine:.2f} | {worst:.4f} |")


def print_share(posts: Posts, config: Config) -> None:
    """How long a run clusters, of all that it takes."""
    spent = [0.0]

    def timed(*arguments: Any) -> Any:
        start = perf_counter()
        try:
            return cluster_vectors(*arguments)
        finally:
            spent[0] += perf_counter() - start

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(cluster_pseudo_labels, "cluster_vectors", timed),
    ):
        start = perf_counter()
        train_run(posts, config, Path(folder) / "run")
        whole = perf_counter() - start
    print(f"\nclustering: {spent[0]:.1f} s of {whole:.1f} s, {spent[0] / whole:.1%}")


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--posts", type=int, default=256)
    given = parser.parse_args()
    table = given.folder / "posts.jsonl"
    print_epochs(table, given.posts)
    values = {"data.columns.split": "splits.grouped", "clustering.clusters": 3}
    config = load_config("itrp-text", values=values)
    posts = load_posts(table, config.data.columns)
    frozen = load_config("itrp", values=values)
    prepared = prepare_splits(split_for_method(posts, None, frozen), frozen)
    columns: list[Any] = list(prepared.columns.read.values())
    parts = [column.batch(np.arange(len(posts))).pooled.numpy() for column in columns]
    print_k_means(equal_scaled(parts))
    print_share(posts, config)


if __name__ == "__main__":
    main()
