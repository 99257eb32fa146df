"""How long `postsense --help` takes, and that it does not import torch.

Usage: python benchmarks/startup.py
"""

import subprocess
import sys
from statistics import median
from time import perf_counter

HELP = "import sys; sys.argv = ['postsense', '--help']; from postsense.commands.main import main"


def main() -> None:
    """Print the median of seven runs, after one that does not count."""
    seconds = []
    for _ in range(8):
        start = perf_counter()
        subprocess.run(
            [sys.executable, "-m", "postsense", "--help"], check=True, capture_output=True
        )
        seconds.append(perf_counter() - start)
    code = f"{HELP}\ntry:\n    main()\nfinally:\n    print('torch' in sys.modules, file=sys.stderr)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    print(f"postsense --help: {median(seconds[1:]):.2f} s; imports torch: {shown.stderr.strip()}")


if __name__ == "__main__":
    main()
