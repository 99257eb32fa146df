"""What preset `spp-scl` should be, judged on folds of the posts that no test set holds.

Usage: python benchmarks/spp_scl_settings.py FOLDER [--out RUNS] [--few] [--only NAME,NAME]

FOLDER holds posts.jsonl of MVSA-Single. The posts outside the test sets of clmlf and grouped are
cut into three folds; each is judged by a model trained on the others, of which a tenth is val.
Copies of a post are on one side. One seed. --few: a tenth of the train posts is labelled. Prints
Markdown: means over folds, and the differences in accuracy from the first row with their spread
over folds. Runs are kept in RUNS and resumed.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from comparison_rows import METRICS
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.runs.training import train_run

FOLDS, VAL = 3, 0.1
FEW = {"data.train_fraction": 0.1, "training.batch_size": 32}
VARIANTS: dict[str, dict[str, Any]] = {
    "concat": {},
    "spp-scl": {},
    "rate 1e-4": {"training.learning_rate": 1e-4, "training.patience": 20},
    "rate 3e-4": {"training.learning_rate": 3e-4},
    "rate 3e-3": {"training.learning_rate": 3e-3},
    "weight decay 1e-6": {"training.weight_decay": 1e-6},
    "dropout 0.1": {"fusion.input_dropout": 0.1, "fusion.dropout": 0.1},
    "dropout 0.3": {"fusion.input_dropout": 0.3, "fusion.dropout": 0.3},
    "batches not by length": {"training.length_pool": 0},
    "labels alone": {
        "losses.intra_text": 0.0,
        "losses.intra_image": 0.0,
        "losses.inter_modal": 0.0,
        "method": "supervised",
    },
}


def folds(folder: Path) -> list[list[dict[str, Any]]]:
    """For each fold all posts outside the test sets: those of the fold as test, the others not."""
    lines = (folder / "posts.jsonl").read_text("utf-8").splitlines()
    everything = [json.loads(line) for line in lines]
    tested = {_group(row) for row in everything if _is_tested(row)}
    rows = [row for row in everything if _group(row) not in tested]
    groups = list(dict.fromkeys(map(_group, rows)))
    generator, found = np.random.default_rng(0), []
    fold = dict(zip(groups, generator.integers(0, FOLDS, len(groups)).tolist(), strict=True))
    val = dict(zip(groups, (generator.random(len(groups)) < VAL).tolist(), strict=True))
    for number in range(FOLDS):
        found.append([])
        for row in rows:
            group = _group(row)
            split = "test" if fold[group] == number else "val" if val[group] else "train"
            kept = {name: row[name] for name in ("id", "text", "label")}
            found[-1].append({**kept, "image": str(folder / row["image"]), "split": split})
    return found


def _is_tested(row: Mapping[str, Any]) -> bool:
    return "test" in (row["splits"]["clmlf"], row["splits"]["grouped"])


def _group(row: Mapping[str, Any]) -> str:
    """The same for copies of a post."""
    return str(row.get("dup_group") or row["id"])


def scores_of(
    name: str, tables: list[list[dict[str, Any]]], values: Mapping[str, Any], out: Path
) -> np.ndarray[Any, Any]:
    """(FOLDS, metrics), each fold by a model trained on the others."""
    values = {**values, "training.mixed_precision": "no"}
    config = load_config("concat" if name == "concat" else "spp-scl", values=values)
    found = []
    for number, rows in enumerate(tables):
        folder = out / f"{name.replace(' ', '-')}-{number}"
        summary = train_run(load_posts(rows, config.data.columns), config, folder)
        found.append([summary.metrics[config.seed]["test"][metric] for metric in METRICS])
    return np.array(found)


def main() -> None:
    """Train what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "spp-scl-folds")
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--only", default=",".join(VARIANTS))
    given = parser.parse_args()
    tables, first = folds(given.folder), None
    print("| model | accuracy | weighted F1 | macro F1 | accuracy against the first |")
    print("|---|---|---|---|---|")
    for name in given.only.split(","):
        values, out = VARIANTS[name], given.out / ("few" if given.few else "all")
        found = scores_of(name, tables, values | FEW if given.few else values, out)
        first = found if first is None else first
        gain = (found - first)[:, 0]
        cells = " | ".join(f"{mean:.4f}" for mean in found.mean(axis=0))
        print(f"| {name} | {cells} | {gain.mean():+.4f} ± {gain.std():.4f} |", flush=True)


if __name__ == "__main__":
    main()
