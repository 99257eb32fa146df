"""SPP-SCL on MVSA-Single: against concat, its ablations, and what the released code's quirks do.

Usage: python benchmarks/spp_scl.py FOLDER [--out RUNS] [--splits clmlf,grouped] [--seeds N]
                                    [--only main,ablations,released,rate,encoders] [--epochs N]

FOLDER holds posts.jsonl of MVSA-Single. Frozen built-in encoders, preset `spp-scl`: 150 epochs,
unless more than ten in a row are no better on val; five seeds. --epochs: another number of them.
Runs are kept in RUNS and resumed. Prints Markdown: differences are against concat on the same
features (main) or against the full method (the rest), with a paired t-test over seeds and a 95 %
bootstrap interval over the test posts. `released` is also judged with the test posts sorted by
label, as in the published files, shuffled, and one at a time: its attention goes across the batch.
`rate`: the paper's learning rate, weight decay and batches, until more than twenty epochs are no
better. `encoders` runs the frozen encoders at every step in training mode, as that code does:
hours, if not for few epochs.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from combinations import CONTRAST
from comparison_rows import against, scores
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.evaluation.metrics import classification_metrics
from postsense.inputs.preparation import prepare_posts
from postsense.prediction.classifier import Classifier
from postsense.runs.comparison import compare_run_folders
from postsense.runs.folder import read_json
from postsense.runs.training import load_run, train_run

FULL: dict[str, Any] = {}
MAIN = {"concat": FULL, "concat + two-step contrast": CONTRAST, "spp-scl": FULL}
ABLATIONS = {
    "full": FULL,
    "one step": {"losses.inter_step": "same", "method": "supervised"},
    "without intra": {"losses.intra_text": 0.0, "losses.intra_image": 0.0},
    "without inter": {"losses.inter_modal": 0.0, "method": "supervised"},
    "labels alone": {
        "losses.intra_text": 0.0,
        "losses.intra_image": 0.0,
        "losses.inter_modal": 0.0,
        "method": "supervised",
    },
    "last 3 layers": {"encoders.text.read_layers": 3},
    "last 2 layers": {"encoders.text.read_layers": 2},
    "last layer": {"encoders.text.read_layers": 1},
    "without fusion": {"fusion.interaction": "none"},
}
RELEASED = {
    "corrected": FULL,
    "+1 and gate": {"losses.fidelity": "released"},
    "batch attention": {"fusion.fidelity": "released"},
    "all three": {"losses.fidelity": "released", "fusion.fidelity": "released"},
}
RATE = {
    "spp-scl": FULL,
    "the paper's rate": {
        "training.learning_rate": 1e-4,
        "training.weight_decay": 1e-6,
        "training.length_pool": 0,
        "training.patience": 20,
    },
}
ENCODERS = {
    "corrected": FULL,
    "text encoder in training mode": {"encoders.text.fidelity": "released"},
    "picture encoder in training mode": {"encoders.image.fidelity": "released"},
}
HEADER = (
    "| model | accuracy | weighted F1 | macro F1 | accuracy against the first | 95 % over posts | p"
    " | second steps |\n|---|---|---|---|---|---|---|---|"
)
BATCH = 64  # of the released test script


def train_all(
    given: argparse.Namespace, split: str, variants: Mapping[str, Mapping[str, Any]]
) -> list[Path]:
    """A run folder for each variant; full and corrected are one run."""
    folders, table = [], given.folder / "posts.jsonl"
    for name, settings in variants.items():
        preset = "concat" if name.startswith("concat") else "spp-scl"
        values: dict[str, Any] = {"data.columns.split": f"splits.{split}", **settings}
        if preset == "spp-scl" and given.epochs:
            values["training.epochs"] = given.epochs
        config = load_config(preset, values={**values, "training.mixed_precision": "no"})
        called = "spp-scl" if settings is FULL and preset != "concat" else name.replace(" ", "-")
        folder = given.out / f"{split}-{called}-{config.training.epochs}"
        train_run(load_posts(table, config.data.columns), config, folder, seeds=given.seeds)
        folders.append(folder)
    return folders


def print_table(title: str, names: Sequence[str], folders: list[Path]) -> None:
    """One row a run; differences in accuracy from the first."""
    comparison = compare_run_folders(folders)
    print(f"\n{title}, {comparison['posts']} test posts\n\n{HEADER}")
    for name, run, folder in zip(names, comparison["runs"], folders, strict=True):
        gain = against(comparison, run, "accuracy")
        print(f"| {name} | {scores(run)} | {gain} | {second_steps(folder)} |", flush=True)


def second_steps(folder: Path) -> str:
    """The mean share of steps that a second one followed, '' for methods without one."""
    reports = [read_json(file) for file in sorted(folder.glob("seed-*/metrics.json"))]
    shares = [report["second_steps"] for report in reports if "second_steps" in report]
    return f"{np.mean(shares):.0%}" if shares else ""


def print_distances(names: Sequence[str], folders: list[Path]) -> None:
    """IID, TTD and ITD on test, means over seeds, for posts of one label and of two."""
    print("\n| model | posts | IID | TTD | ITD |\n|---|---|---|---|---|")
    for name, folder in zip(names, folders, strict=True):
        reports = [read_json(file) for file in sorted(folder.glob("seed-*/metrics.json"))]
        found = [one["test"]["distances"] for one in reports if "distances" in one["test"]]
        for posts in ("same_label", "different_label") if found else ():
            kinds = ("image_image", "text_text", "image_text")
            means = " | ".join(
                f"{np.mean([one[kind][posts] for one in found]):.3f}" for kind in kinds
            )
            print(f"| {name} | {posts.replace('_', ' ')} | {means} |")


def print_orders(table: Path, split: str, names: Sequence[str], folders: list[Path]) -> None:
    """Accuracy of each model on the same test posts in three orders, means over seeds."""
    print("\n| model | sorted by label | shuffled | one at a time |\n|---|---|---|---|")
    for name, folder in zip(names, folders, strict=True):
        found = np.array([orders_of(one, table, split) for one in load_run(folder)])
        spread = found.std(axis=0, ddof=min(1, len(found) - 1))
        shown = " | ".join(
            f"{mean:.4f} ± {sd:.4f}" for mean, sd in zip(found.mean(axis=0), spread, strict=True)
        )
        print(f"| {name} | {shown} |", flush=True)


def orders_of(classifier: Classifier, table: Path, split: str) -> list[float]:
    """Accuracy with the test posts sorted by label, shuffled, and one at a time."""
    posts = load_posts(table, classifier.config.data.columns).split("test")
    prepared = prepare_posts(posts, classifier.config)
    dataset = prepared.dataset(np.arange(len(posts)), classifier.classes)
    assert dataset.labels is not None
    by_label = np.argsort(dataset.labels, kind="stable")
    shuffled = np.random.default_rng(0).permutation(len(posts))
    accuracies = []
    for order, size in ((by_label, BATCH), (shuffled, BATCH), (by_label, 1)):
        batches = np.split(order, range(size, len(order), size))
        with torch.inference_mode():
            logits = [classifier.model(batch).logits for batch in dataset.loader(batches)]
        predicted = torch.cat(logits).argmax(dim=1).numpy()
        metrics = classification_metrics(dataset.labels[order], predicted, classifier.classes)
        accuracies.append(metrics["accuracy"])
    return accuracies


def main() -> None:
    """Train what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "spp-scl")
    parser.add_argument("--only", default="main,ablations,released")
    parser.add_argument("--splits", default="clmlf,grouped")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    wanted, table = given.only.split(","), given.folder / "posts.jsonl"
    groups = {"main": MAIN, "ablations": ABLATIONS, "released": RELEASED, "rate": RATE}
    groups["encoders"] = ENCODERS
    for split in given.splits.split(","):
        for group in wanted:
            names, folders = list(groups[group]), train_all(given, split, groups[group])
            print_table(f"{group}, {split}", names, folders)
            print_distances(names, folders)
            if group == "released":
                print_orders(table, split, names, folders)


if __name__ == "__main__":
    main()
