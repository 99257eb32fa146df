"""The methods together, on real posts of which a tenth has labels.

Usage: python benchmarks/combinations.py FOLDER [--out WORK] [--seeds N] [--precision bf16]
                                         [--only concat,cross_modal,warm]

FOLDER holds mvsa_single and the sets of the corpus, each with a posts.jsonl. Grouped split of
MVSA-Single, 10 % of the labels of train. `concat` and `cross_modal`, over frozen encoders: contrast
in two steps alone, with ITC/ITM, and inside comment-aware self-training. `warm`: the text encoder
fine-tuned from its checkpoint, and from where cluster pseudo-labels of all train posts, none
labelled, took it.
Prints Markdown; differences are against the first row, with a paired t-test over seeds and a 95 %
bootstrap interval over the test posts. Runs are kept in WORK and resumed.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cast import FEW, corpus_of, print_comparison, real_corpus
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.runs.comparison import compare_run_folders
from postsense.runs.training import train_run

CONTRAST = {
    "losses.classification": 5.0,
    "losses.intra_text": 1.0,
    "losses.intra_image": 1.0,
    "losses.inter_modal": 1.0,
    "losses.inter_step": "second",
}
ITC_ITM = {"losses.itc": 0.1, "losses.itm": 0.1}
SPLIT = {"data.columns.split": "splits.grouped"}
Runs = Mapping[str, tuple[str | None, Mapping[str, Any]]]


def runs_of_concat(cast: Mapping[str, Any]) -> Runs:
    """Preset and settings by name. cast: the settings of self-training."""
    return {
        "concat": (None, {}),
        "concat + two-step contrast": (None, CONTRAST),
        "concat + two-step contrast + ITC + ITM": (None, {**CONTRAST, **ITC_ITM}),
        "CAST": (None, cast),
        "CAST + two-step contrast": (None, {**cast, **CONTRAST}),
    }


def runs_of_cross_modal(cast: Mapping[str, Any]) -> Runs:
    """The same with SPP-SCL's own fusion."""
    return {
        "SPP-SCL": ("spp-scl", {}),
        "SPP-SCL + ITC + ITM": ("spp-scl", ITC_ITM),
        "SPP-SCL in CAST": ("spp-scl", cast),
    }


def train_all(given: argparse.Namespace, runs: Runs) -> list[Path]:
    """The folder of each run, trained with a tenth of the labels."""
    folders = []
    for name, (preset, settings) in runs.items():
        config = load_config(preset, values={**SPLIT, **FEW, **settings})
        posts = load_posts(given.folder / "mvsa_single" / "posts.jsonl", config.data.columns)
        folders.append(given.out / name)
        train_run(posts, config, folders[-1], seeds=given.seeds)
    return folders


def print_frozen(given: argparse.Namespace, fusion: str) -> None:
    """Two-step contrast and ITC/ITM, alone and in self-training."""
    cast = corpus_of(real_corpus(given.folder, given.out / "corpus"))
    runs = runs_of_concat(cast) if fusion == "concat" else runs_of_cross_modal(cast)
    print_comparison(f"{fusion}, 10 % of labels", compare_run_folders(train_all(given, runs)))


def print_warm(given: argparse.Namespace) -> None:
    """Fine-tuning from the checkpoint and from clusters of all posts of train, seed by seed."""
    precision = {"training.mixed_precision": given.precision}
    clusters = {**SPLIT, **precision, "clustering.clusters": 3}
    config = load_config("itrp-text", values=clusters)
    posts = load_posts(given.folder / "mvsa_single" / "posts.jsonl", config.data.columns)
    start = given.out / "itrp-text"
    train_run(posts, config, start, seeds=given.seeds)
    runs: Runs = {
        "fine-tuned": ("fine-tune-text", precision),
        "fine-tuned from ITRp": ("fine-tune-text", {**precision, "training.start_from": start}),
    }
    compared = compare_run_folders(train_all(given, runs))
    print_comparison("text encoder trained, 10 % of labels", compared)


def main() -> None:
    """Run what --only names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "combinations")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--precision", default="bf16", choices=["no", "bf16"])
    parser.add_argument("--only", default="concat,cross_modal,warm")
    given = parser.parse_args()
    for part in given.only.split(","):
        if part == "warm":
            print_warm(given)
        else:
            print_frozen(given, part)


if __name__ == "__main__":
    main()
