"""How long one post takes: everything opened for it, or a predictor that stays open.

Usage: python benchmarks/one_post.py [POSTS]

Both ways answer the same new posts, in turns, so that what else the machine does slows both alike.
Seconds of CPU are those of all threads of the process.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from postsense.config import CorpusSettings
from postsense.config.loading import load_config
from postsense.corpus.building import build_corpus
from postsense.data.loading import load_posts
from postsense.data.synthetic import write_synthetic_posts
from postsense.parallel.processes import available_cores
from postsense.posts import Posts
from postsense.prediction.classifier import Predictions, average_predictions
from postsense.predictor import Predictor
from postsense.retrieval.indexing import index_corpus
from postsense.runs.training import load_run, train_run

WARM_UP = 3  # posts that do not count
TARGET_MS = 60
Rows = list[dict[str, Any]]


def rows_of(table: Path, count: int) -> Rows:
    """New posts that have words and a picture, as a caller has them."""
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    whole = [row for row in rows if row["text"] and row["image"]]
    return [{**row, "image": str(table.parent / row["image"])} for row in whole[:count]]


def seconds(answer: Callable[[Posts], Predictions], row: dict[str, Any]) -> tuple[float, float]:
    """Seconds, and seconds of CPU, from a row to its answer."""
    start, cpu = perf_counter(), process_time()
    answer(load_posts([row]))
    return perf_counter() - start, process_time() - cpu


def compare(name: str, run: Path, rows: Rows) -> None:
    """Ask both ways about each row and print what they took."""
    classifiers = load_run(run)
    with Predictor(classifiers) as predictor:
        ways: dict[str, Callable[[Posts], Predictions]] = {
            "opened for it": lambda posts: average_predictions(classifiers, posts),
            "stays open": predictor.predict,
        }
        for row in rows[:WARM_UP]:
            expected, found = (answer(load_posts([row])).probs for answer in ways.values())
            assert np.array_equal(expected, found)
        taken = {way: [] for way in ways}  # type: dict[str, list[tuple[float, float]]]
        for number, row in enumerate(rows[WARM_UP:]):
            for way in sorted(ways, reverse=bool(number % 2)):
                taken[way].append(seconds(ways[way], row))
    print(f"\n{name}, {len(rows) - WARM_UP} posts")
    medians = []
    for way, measured in taken.items():
        wall, cpu = np.array(measured).T * 1000
        p50, p95 = np.percentile(wall, [50, 95])
        medians.append(p50)
        print(f"  {way:14s} p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   CPU {np.median(cpu):6.1f} ms")
    print(f"  {medians[0] / medians[1]:.1f} times as fast; p50 <= {TARGET_MS} ms is the target")


def main(count: int) -> None:
    """Train on synthetic posts without and with a corpus of comments, and ask about new ones."""
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{platform.machine()}, {platform.processor() or platform.system()}, "
        f"{available_cores()} cores{busy}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["POSTSENSE_CACHE"] = str(folder / "cache")
        table = write_synthetic_posts(folder / "posts", posts=300, seed=1)
        old = write_synthetic_posts(folder / "old_posts", posts=600, seed=2)
        new = write_synthetic_posts(folder / "new_posts", posts=6 * count + 90, seed=3)
        build_corpus([old], folder / "corpus", CorpusSettings(require_comments=False))
        index_corpus(folder / "corpus")
        rows = rows_of(new, 3 * (count + WARM_UP))
        settings = {"training.epochs": 5, "training.device": "cpu", "training.batch_size": 32}
        lent = {"retrieval.corpus": folder / "corpus"}
        for kind, config, asked in (
            ("the default, an ensemble", load_config(default_method="ensemble"), rows[::3]),
            ("preset concat", load_config("concat", values=settings), rows[1::3]),
            ("with comments", load_config("concat", values={**settings, **lent}), rows[2::3]),
        ):
            run = folder / kind.replace(" ", "-").replace(",", "")
            train_run(load_posts(table), config, run)
            compare(kind, run, asked)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
