"""Image-text losses on MVSA-Single: without, with ITC, with ITM, with both; and where they help.

Usage: python benchmarks/itc_itm.py FOLDER [--out RUNS] [--only frozen,fine-tuned] [--seeds N]
                                   [--models Conc,Att] [--splits clmlf,grouped]

FOLDER holds posts.jsonl of MVSA-Single. `frozen`: both built-in encoders frozen, a trained
projection over each, two splits, five seeds. `fine-tuned`: MiniLM trained in bfloat16, EfficientNet
frozen, the grouped split, three seeds. Runs are kept in RUNS and resumed. Prints Markdown: every
difference is against the same model without the losses, with a paired t-test over seeds and a 95 %
bootstrap interval over the test posts, for all posts and by whether text and picture carry one
label.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comparison_rows import against, scores
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.runs.comparison import compare_run_folders
from postsense.runs.training import train_run

LOSSES = {
    "base": {},
    "+ITC": {"losses.itc": 0.1},
    "+ITM": {"losses.itm": 0.1},
    "+both": {"losses.itc": 0.1, "losses.itm": 0.1},
}
FUSIONS = {"Conc": "concat", "Att": "cross_attention"}
AGREEMENT = "labels.text==labels.image"
HEADER = (
    "| model | accuracy | weighted F1 | macro F1 | weighted F1 against base | 95 % over posts | p |"
    "\n|---|---|---|---|---|---|---|"
)
# Conc's were chosen by the base model's accuracy on val of the grouped split, before any loss was
# added; Att's, which project all 49 regions of a picture, by what two cores can train in minutes.
FROZEN = {
    "Conc": {"encoders.projection": 512, "training.learning_rate": 2e-4},
    "Att": {
        "encoders.projection": 128,
        "training.patience": 2,
        "training.mixed_precision": "bf16",
    },
}
_QUICK = {"training.patience": 0, "training.mixed_precision": "bf16"}
FINE_TUNED = {"Conc": _QUICK, "Att": _QUICK}


def train_all(
    given: argparse.Namespace,
    split: str,
    preset: str,
    settings: Mapping[str, Mapping[str, Any]],
    seeds: int,
) -> dict[str, list[Path]]:
    """Runs of every model with every choice of losses, by model; base first."""
    runs: dict[str, list[Path]] = {}
    table, out = given.folder / "posts.jsonl", given.out / preset
    for name in given.models.split(","):
        for losses, weights in LOSSES.items():
            values = {"fusion.name": FUSIONS[name], "data.columns.split": f"splits.{split}"}
            config = load_config(preset, values={**values, **settings[name], **weights})
            folder = out / f"{split}-{name}{losses.replace('base', '')}"
            train_run(load_posts(table, config.data.columns), config, folder, seeds=seeds)
            runs.setdefault(name, []).append(folder)
    return runs


def print_tables(title: str, runs: Mapping[str, list[Path]], table: Path) -> None:
    """All posts, then the groups whose text and picture have one label or two."""
    compared = {
        name: compare_run_folders(folders, by=AGREEMENT, table=table)
        for name, folders in runs.items()
    }
    first = next(iter(compared.values()))
    print(f"\n{title}, all {first['posts']} test posts\n\n{HEADER}")
    for name, comparison in compared.items():
        print_rows(name, comparison)
    for number, group in enumerate(first["by"]["groups"]):
        print(f"\n{title}, {group['value']}: {group['posts']} test posts\n\n{HEADER}")
        for name, comparison in compared.items():
            print_rows(name, comparison["by"]["groups"][number])


def print_rows(model: str, comparison: Mapping[str, Any]) -> None:
    """One row for each choice of losses."""
    for run, losses in zip(comparison["runs"], LOSSES, strict=True):
        gain = against(comparison, run, "weighted_f1")
        print(f"| {model} {losses} | {scores(run)} | {gain} |", flush=True)


def main() -> None:
    """Train what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "itc-itm")
    parser.add_argument("--only", default="frozen,fine-tuned")
    parser.add_argument("--models", default=",".join(FUSIONS))
    parser.add_argument("--splits", default="clmlf,grouped")
    parser.add_argument("--seeds", type=int, default=None)
    given = parser.parse_args()
    table = given.folder / "posts.jsonl"
    if "frozen" in given.only.split(","):
        for split in given.splits.split(","):
            runs = train_all(given, split, "concat", FROZEN, given.seeds or 5)
            print_tables(f"Frozen encoders, {split}", runs, table)
    if "fine-tuned" in given.only.split(","):
        runs = train_all(given, "grouped", "fine-tune-text", FINE_TUNED, given.seeds or 3)
        print_tables("MiniLM fine-tuned, grouped", runs, table)


if __name__ == "__main__":
    main()
