"""Comment-aware self-training: what each part brings, on real posts and on posts made to need it.

Usage: python benchmarks/cast.py FOLDER [--out WORK] [--seeds 5] [--only synthetic,clmlf,grouped]

FOLDER holds mvsa_single, mediaeval16, caption_contest, threads_semeval17 and threads_reddit, each
with a posts.jsonl. Runs are kept in WORK and resumed.
"""

import argparse
import json
import random
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from postsense.config import Columns, CorpusSettings, RetrievalSettings
from postsense.config.loading import load_config
from postsense.corpus.building import build_corpus
from postsense.corpus.reading import open_corpus
from postsense.data.loading import load_posts
from postsense.data.synthetic import write_synthetic_posts
from postsense.posts import Posts
from postsense.retrieval.comments import GENERIC_PHRASES, genericness
from postsense.retrieval.indexing import index_once
from postsense.retrieval.queries import embed_queries, embed_words
from postsense.retrieval.search import open_searcher
from postsense.runs.ablation import ablate
from postsense.runs.comparison import compare_run_folders
from postsense.runs.training import train_run

CORPUS_SETS = ("mediaeval16", "caption_contest", "threads_semeval17", "threads_reddit")
FEW = {"data.train_fraction": 0.1, "training.batch_size": 32}
SPLITS = ("clmlf", "grouped")
SETTINGS_OF_THE_METHOD = ("neighbors", "retrieval", "generic", "pseudo-labels")


def real_corpus(data: Path, out: Path) -> Path:
    """The corpus of the four sets, built once."""
    settings = CorpusSettings(
        columns=Columns(created_at="time"), require_image=False, require_comments=False
    )
    start = perf_counter()
    build_corpus([data / name / "posts.jsonl" for name in CORPUS_SETS], out, settings)
    index_once(out)
    print(f"corpus: {len(open_corpus(out))} posts, {perf_counter() - start:.0f} s\n")
    return out


def synthetic(out: Path, seeds: int) -> None:
    """Posts whose link of picture and words is in comments: the gain, and without the link."""
    posts = load_posts(write_synthetic_posts(out / "posts", posts=600, seed=0))
    table = write_synthetic_posts(out / "corpus_posts", posts=2000, seed=1)
    corpora = {"told": table, "shuffled": shuffled(table)}
    for name, file in corpora.items():
        build_corpus([file], out / name, CorpusSettings())
        index_once(out / name)
    few = {"data.train_fraction": 0.2, "training.batch_size": 32}
    runs = {"base": {}, "full": corpus_of(out / "told")}
    runs["full, comments shuffled"] = corpus_of(out / "shuffled")
    for name, settings in runs.items():
        config = load_config(values={**few, **settings})
        train_run(posts, config, out / "runs" / name, seeds=seeds)
    print_lending(out / "told", posts, "synthetic posts")
    comparison = compare_run_folders([out / "runs" / name for name in runs])
    print_comparison("synthetic posts, 20 % of labels", comparison)


def corpus_of(folder: Path) -> dict[str, Any]:
    """The settings of the full method with this corpus."""
    return {"method": "self_training", "retrieval.corpus": folder}


def shuffled(table: Path) -> Path:
    """The same posts with each other's comments."""
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    comments = [row["comments"] for row in rows]
    random.Random(0).shuffle(comments)
    for row, others in zip(rows, comments, strict=True):
        row["comments"] = others
    file = table.with_name("shuffled.jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def real(data: Path, corpus: Path, split: str, out: Path, seeds: int) -> None:
    """Ablations on MVSA-Single, with all labels and with a tenth of them."""
    print_lending(corpus, load_posts(data / "mvsa_single" / "posts.jsonl"), "MVSA-Single")
    for title, few in (("all labels", {}), ("10 % of labels", FEW)):
        values = {"data.columns.split": f"splits.{split}", "retrieval.corpus": corpus, **few}
        config = load_config(values=values)
        posts = load_posts(data / "mvsa_single" / "posts.jsonl", config.data.columns)
        start = perf_counter()
        runs = out / f"{split}-{'few' if few else 'all'}"
        more = SETTINGS_OF_THE_METHOD if few and split == "grouped" else ()
        tables = ablate(posts, config, runs, seeds=seeds, groups=("parts", *more))
        for group, comparison in tables.items():
            print_comparison(f"{split}, {title}: {group}", comparison)
        print_kept(runs / "full")
        print_hinted(runs)
        print(f"{perf_counter() - start:.0f} s\n", flush=True)


def print_comparison(title: str, comparison: Mapping[str, Any]) -> None:
    """One markdown row a run: scores, and how the accuracy differs from the first run's."""
    print(f"| {title} ({comparison['posts']} posts) | accuracy | weighted F1 | macro F1 |", end="")
    print(" accuracy against first | 95 % over posts | p |\n|---|---|---|---|---|---|---|")
    found = {
        item["name"]: item for item in comparison["differences"] if item["metric"] == "accuracy"
    }
    for run in comparison["runs"]:
        cells = [Path(run["name"]).name]
        for metric in ("accuracy", "weighted_f1", "macro_f1"):
            cells.append(f"{run[metric]['mean']:.4f} ± {run[metric]['sd'] or 0:.4f}")
        other = found.get(run["name"])
        cells += ["", "", ""] if other is None else difference(other)
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def difference(item: Mapping[str, Any]) -> list[str]:
    """The cells of a difference in accuracy."""
    p_value = "-" if item["p_value"] is None else f"{item['p_value']:.3f}"
    interval = f"[{item['low']:+.4f}, {item['high']:+.4f}]"
    return [f"{item['difference']:+.4f}", interval, p_value]


def print_kept(run: Path) -> None:
    """Which of teacher and students won on val, seed by seed."""
    files = sorted(run.glob("seed-*/metrics.json"))
    kept = [json.loads(file.read_text(encoding="utf-8"))["kept"] for file in files]
    print(f"kept by the full method: {', '.join(kept)}")


def print_hinted(runs: Path) -> None:
    """How many test posts got hints, and how the base and the model with comments do on them."""
    right: dict[str, list[float]] = {"base": [], "comments": []}
    for file in sorted((runs / "comments").glob("seed-*/predictions.parquet")):
        hinted = read_rows(file)
        ids = {row["id"] for row in hinted if row["hints"]}
        share = len(ids) / len(hinted)
        for name, found in right.items():
            rows = read_rows(runs / name / file.parent.name / file.name)
            found.append(mean(row["label"] == row["predicted"] for row in rows if row["id"] in ids))
    scores = ", ".join(f"{name} {mean(found):.3f}" for name, found in right.items())
    print(f"test posts with hints: {share:.3f}; accuracy on them: {scores}")


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The predictions on test."""
    return [row for row in pq.read_table(file).to_pylist() if row["split"] == "test"]


def print_lending(corpus: Path, posts: Posts, title: str) -> None:
    """How similar the corpus is to posts, and how many of its comments are generic."""
    searcher = open_searcher(corpus, RetrievalSettings(min_score=-1))
    queries = embed_queries(posts, searcher.corpus)
    best = searcher.balanced(queries).search(queries, 1).scores[:, 0]
    phrases = embed_words(GENERIC_PHRASES, searcher.corpus)
    comments = [c for few in searcher.corpus.comments(searcher.corpus.numbers) for c in few]
    long = np.stack([c.vector for c in comments if len(c.text.split()) >= 3])
    generic = float((genericness(long, phrases) > 0.5).mean())
    print(
        f"{title}: best score {np.median(best):.2f} in the median; of {len(long)} comments of",
        end="",
    )
    print(f" three words and more {generic:.2%} are generic", flush=True)


def main() -> None:
    """Run what --only names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("cast-runs"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="synthetic,clmlf,grouped")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if "synthetic" in parts:
        synthetic(arguments.out / "synthetic", arguments.seeds)
    splits = [split for split in SPLITS if split in parts]
    corpus = real_corpus(arguments.folder, arguments.out / "corpus") if splits else None
    for split in splits:
        assert corpus is not None
        real(arguments.folder, corpus, split, arguments.out, arguments.seeds)


if __name__ == "__main__":
    main()
