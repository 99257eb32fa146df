"""The fused index against exact search and against the published two-index procedure, in one run.

Usage: python benchmarks/retrieval.py FOLDER_WITH_posts.jsonl [--sizes 50000,200000,1000000]
           [--tune 200000] [--threads 2] [--folder SCRATCH]
Grows corpora from the vectors of real posts (`grown_vectors`) into files mapped into memory, and
prints Markdown. 500 queries, grown likewise, that are not in the corpus; K = 5; recall is the share
of the exact fused hits. Every side reads the same half-precision files, which are in the page cache
after the first pass. `exact` is a blocked float32 matrix product with top-k. The published side has
one cell for 103 posts, but 1,000 cells at most, and answers fewer queries at the largest size;
"probing less" is the same with a fifth of the cells, which hold twice the posts that it lists.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from grown_vectors import GrownSource, RealVectors, grow_source, grow_vectors, real_vectors
from postsense.retrieval.index import IndexReport, build_index, open_index
from postsense.retrieval.ranking import as_float32
from postsense.retrieval.released import build_released
from retrieval_tuning import print_tuning

ALPHAS = (0.0, 0.3, 0.5, 0.7, 1.0)
QUERIES, TOP_K, REPEATS = 500, 5, 5
MIN_RECALL = 0.98  # of the posts that the build asks with; the tables tell that of other queries
WILD_POSTS = 27_784_828  # of the corpus of Xu & Li 2022
MiB = 2**20


@dataclass
class Measured:
    """One size: seconds are for QUERIES queries."""

    posts: int
    report: IndexReport
    peak_mib: float
    ours_s: list[float]
    exact_s: list[float]
    convert_s: float
    published_s: float
    lean_s: float
    published_build_s: float
    published_recall: float
    recall: list[float]


def exact_search(source: GrownSource, image: np.ndarray, text: np.ndarray, k: int) -> np.ndarray:
    """Numbers (Q, k) of the best posts; image and text are weighted queries."""
    best = np.full((len(image), k), -np.inf, dtype=np.float32)
    numbers = np.full((len(image), k), -1)
    for start in range(0, len(source.numbers), 8192):
        rows = slice(start, start + 8192)
        scores = image @ as_float32(source.image[rows]).T
        scores += text @ as_float32(source.text[rows]).T
        top = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
        best = np.hstack([best, np.take_along_axis(scores, top, axis=1)])
        numbers = np.hstack([numbers, source.numbers[rows][top]])
        kept = np.argsort(-best, axis=1)[:, :k]
        best = np.take_along_axis(best, kept, axis=1)
        numbers = np.take_along_axis(numbers, kept, axis=1)
    return numbers


def convert_all(source: GrownSource) -> None:
    """What of `exact_search` is not arithmetic: read and convert every vector."""
    for start in range(0, len(source.numbers), 8192):
        as_float32(source.image[start : start + 8192])
        as_float32(source.text[start : start + 8192])


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Share of the exact hits that were found."""
    return float((found[:, :, None] == exact[:, None, :]).any(axis=1).mean())


def seconds(work: Callable[[], object]) -> float:
    """How long work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Peak of the anonymous memory of this process above what it was, MiB, under "mib"."""

    def anonymous() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

    peak, done, before = {"mib": 0.0}, threading.Event(), anonymous()

    def watch() -> None:
        while not done.wait(0.02):
            peak["mib"] = max(peak["mib"], anonymous() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def measure(real: RealVectors, posts: int, folder: Path, tune: bool) -> Measured:
    """Grow a corpus, build and time every side."""
    start = time.perf_counter()
    source = grow_source(real, posts, folder)
    generator = np.random.default_rng(posts + 1)
    image = grow_vectors(real.image, QUERIES, generator)
    text = grow_vectors(real.text, QUERIES, generator)
    print(f"\n{posts:,} posts grown in {time.perf_counter() - start:.0f} s", flush=True)
    with watched() as peak:
        options = {"kind": "compressed", "min_recall": MIN_RECALL, "identity": "grown"}
        report = build_index(source, folder / f"index-{posts}", **options)
    index = open_index(folder / f"index-{posts}", source, identity="grown")
    exact, exact_s, ours_s, recalls = [], [], [], []
    for alpha in ALPHAS:
        weights = np.full(QUERIES, alpha, dtype=np.float32)
        hits = index.search(image, text, weights, TOP_K)  # maps the files
        ours = partial(index.search, image, text, weights, TOP_K)
        ours_s += [seconds(ours) for _ in range(REPEATS)]
        start = time.perf_counter()
        exact.append(exact_search(source, alpha * image, (1 - alpha) * text, TOP_K))
        exact_s.append(time.perf_counter() - start)
        recalls.append(recall(hits.numbers, exact[-1]))
    convert_s = seconds(lambda: convert_all(source))
    few = slice(0, QUERIES if posts < 500_000 else QUERIES // 5)
    published_build_s = -time.perf_counter()
    published = build_released(source, posts_per_cell=max(103, posts // 1000))
    published_build_s += time.perf_counter()
    half = np.full(len(image[few]), 0.5, dtype=np.float32)
    start = time.perf_counter()
    answer = published.search(image[few], text[few], half, TOP_K)
    published_s = (time.perf_counter() - start) * QUERIES / len(half)
    published_recall = recall(answer.numbers, exact[ALPHAS.index(0.5)][few])
    for part in (published.image, published.text):
        part.nprobe = -(-part.nprobe // 5)  # cells that hold 2 R posts instead of 10 R
    lean = partial(published.search, image[few], text[few], half, TOP_K)
    lean_s = seconds(lean) * QUERIES / len(half)
    if tune:
        print_tuning(source, image, text, dict(zip(ALPHAS, exact, strict=True)))
    return Measured(
        posts,
        report,
        peak["mib"],
        ours_s,
        exact_s,
        convert_s,
        published_s,
        lean_s,
        published_build_s,
        published_recall,
        recalls,
    )


def print_speed(rows: list[Measured]) -> None:
    """Seconds, ratios and recall."""
    print(f"\n### Speed: seconds for {QUERIES} queries (median; least to most)\n")
    print("| posts | fused index | exact | of it reading | published | probing less |", end="")
    print(" exact / fused | published / fused |\n" + "|---" * 8 + "|")
    for row in rows:
        ours, exact = median(row.ours_s), median(row.exact_s)
        print(
            f"| {row.posts:,} | {ours:.3f} ({min(row.ours_s):.3f} to {max(row.ours_s):.3f}) "
            f"| {exact:.2f} ({min(row.exact_s):.2f} to {max(row.exact_s):.2f}) "
            f"| {row.convert_s:.2f} | {row.published_s:.1f} | {row.lean_s:.1f} "
            f"| {exact / ours:.1f} "
            f"| {row.published_s / ours:.1f} |"
        )
    print(f"\n### Recall@{TOP_K} of the exact fused hits\n")
    print("| posts | cells probed | ranked |", *(f" alpha {a:g} |" for a in ALPHAS), end="")
    print(" measured by the build (95 %) | published, alpha 0.5 |\n" + "|---" * 10 + "|")
    for row in rows:
        told = row.report.recall
        assert told is not None
        low, high = told.interval
        print(
            f"| {row.posts:,} | {row.report.probed:.3f} | {row.report.depth} |",
            *(f" {value:.3f} |" for value in row.recall),
            f" {told.mean:.3f} ({low:.3f} to {high:.3f}) | {row.published_recall:.3f} |",
        )


def print_cost(rows: list[Measured]) -> None:
    """Building and memory, and what they come to for the corpus of the paper."""
    print("\n### Building and memory\n")
    print("| posts | build, s | peak anonymous memory, MiB | index, MiB | bytes a post |", end="")
    print(" published build, s |\n|---|---|---|---|---|---|")
    for row in rows:
        size = row.report.bytes
        print(
            f"| {row.posts:,} | {row.report.seconds:.0f} | {row.peak_mib:.0f} | {size / MiB:.0f} "
            f"| {size / row.posts:.0f} | {row.published_build_s:.0f} |"
        )
    if len(rows) < 2:
        return
    ours = [median(row.ours_s) for row in rows]
    for name, values, unit in (
        ("build", [row.report.seconds for row in rows], "s"),
        ("index in memory", [row.report.bytes / MiB for row in rows], "MiB"),
        (f"{QUERIES} queries", ours, "s"),
        (f"{QUERIES} queries, exact", [median(row.exact_s) for row in rows], "s"),
    ):
        slope = (values[-1] - values[-2]) / (rows[-1].posts - rows[-2].posts)
        total = values[-1] + slope * (WILD_POSTS - rows[-1].posts)
        print(f"\n{name} at {WILD_POSTS:,} posts, linear from the last two: {total:,.0f} {unit}")


def main() -> None:
    """Measure every size and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("posts", type=Path)
    parser.add_argument("--sizes", default="50000,200000,1000000")
    parser.add_argument("--tune", type=int, default=200_000, help="size tuned at; 0: none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the corpora are grown")
    options = parser.parse_args()
    real = real_vectors(options.posts, options.threads)
    rows = []
    with threadpool_limits(options.threads):
        faiss.omp_set_num_threads(options.threads)
        for posts in map(int, options.sizes.split(",")):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                rows.append(measure(real, posts, Path(folder), posts == options.tune))
            print_speed(rows[-1:])
    print(f"\n{len(real.image):,} real posts, {options.threads} threads")
    print_speed(rows)
    print_cost(rows)


if __name__ == "__main__":
    main()
