"""From table to evaluated model: the first run against later ones that find the features kept.

Usage: python benchmarks/cached_run.py FOLDER_WITH_posts.jsonl [SPLIT_COLUMN]
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter


def run(table: Path, split: str, out: Path, cache: Path) -> float:
    """Seconds of one whole `postsense train`, process start and evaluation included."""
    command = [sys.executable, "-m", "postsense", "train", str(table), "--out", str(out)]
    start = perf_counter()
    subprocess.run(
        [*command, "--split", split],
        check=True,
        capture_output=True,
        env={**os.environ, "POSTSENSE_CACHE": str(cache)},
    )
    return perf_counter() - start


def main(folder: str, split: str) -> None:
    """Print the first run, the median of three later ones and their ratio."""
    table = Path(folder) / "posts.jsonl"
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        first = run(table, split, base / "run-0", base / "cache")
        later = median(run(table, split, base / f"run-{i}", base / "cache") for i in (1, 2, 3))
    print(f"first run {first:.1f} s, features kept {later:.1f} s, ratio {first / later:.1f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "split")
