"""Peak memory of training and predicting at 1, 4 and 16 times the posts.

Usage: python benchmarks/memory.py [POSTS]      POSTS: number at 1 time, default 1000
Each size runs in a process of its own. `anonymous` is what the process itself allocated; the rest
of the resident set is files mapped into memory (libraries, weights, kept features), which the
system takes back when it needs to.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MiB = 2**20


def measure(table: Path, cache: Path) -> dict[str, float]:
    """Train and predict in this process while a thread watches its memory."""
    peak = {"resident": 0.0, "anonymous": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            status = dict(
                line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
            )
            for name, key in (("resident", "VmRSS"), ("anonymous", "RssAnon")):
                peak[name] = max(peak[name], int(status[key].split()[0]) / 1024)
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    from postsense import PostClassifier

    settings = {"encoders.cache": str(cache), "training.epochs": 2}
    classifier = PostClassifier(**settings).fit(str(table))
    classifier.predict(str(table))
    done.set()
    return peak


def main(posts: int) -> None:
    """Print one row a size."""
    from postsense.data.synthetic import write_synthetic_posts

    print("| posts | peak resident, MiB | of it anonymous, MiB | kept features, MiB |")
    print("|---|---|---|---|")
    for times in (1, 4, 16):
        with tempfile.TemporaryDirectory() as temporary:
            folder, cache = Path(temporary), Path(temporary) / "cache"
            table = write_synthetic_posts(folder / "posts", posts=times * posts)
            command = [sys.executable, __file__, "--measure", str(table), str(cache)]
            shown = subprocess.run(command, check=True, capture_output=True, text=True)
            peak = json.loads(shown.stdout)
            kept = sum(file.stat().st_size for file in (cache / "features").rglob("*.npy"))
        print(
            f"| {times * posts} | {peak['resident']:.0f} | {peak['anonymous']:.0f} "
            f"| {kept / MiB:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]))))
        sys.stdout.flush()
        os._exit(0)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
