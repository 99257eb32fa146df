"""What every preset says of the tests' posts, over tiny checkpoints: kept, or compared to a digit.

    python benchmarks/preset_numbers.py before.json             # with the code as it was
    python benchmarks/preset_numbers.py after.json before.json  # with the code as it is

The runs that the tests of the presets leave behind are read: the names and values of the weights,
the history, metrics and probabilities of each preset are written to the first file. What differs
from the second is listed, and the exit code is 1. Two files of one machine can be compared, no
others: numbers move with the CPU.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

TEST = Path(__file__).resolve().parents[1] / "tests" / "test_presets.py"


class Recorder:
    """A plugin of pytest that reads the run of each preset before its folder is removed."""

    def __init__(self) -> None:
        self.numbers: dict[str, Any] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            item.fixturenames.append("exporting")  # encoders run as they do for users

    def pytest_runtest_teardown(self, item: Any) -> None:
        for seed in item.funcargs["tmp_path"].glob("run/seed-*"):
            self.numbers[item.callspec.params["preset"]] = _read(seed)


def _read(seed: Path) -> dict[str, Any]:
    weights = load_file(seed / "model" / "weights.safetensors")
    return {
        "metrics": json.loads((seed / "metrics.json").read_text("utf-8")),
        "predictions": pq.read_table(seed / "predictions.parquet").to_pydict(),
        "weights": {
            name: hashlib.blake2b(weight.tobytes(), digest_size=8).hexdigest()
            for name, weight in weights.items()
        },
    }


def differences(before: Any, after: Any, place: str = "") -> list[str]:
    """Where two nested values differ, a line each."""
    if isinstance(before, dict) and isinstance(after, dict):
        lines = [
            differences(before.get(key), after.get(key), f"{place}/{key}")
            for key in {**before, **after}
        ]
        return [line for each in lines for line in each]
    return [] if before == after else [f"{place}: {before!r:.80} → {after!r:.80}"]


def main(out: Path, other: Path | None) -> int:
    """Write the numbers, list what differs from others, and return the exit code."""
    recorder = Recorder()
    chosen = ["-k", "comes_back_from_disk", "-q", "-p", "no:cacheprovider"]
    failed = pytest.main([str(TEST), *chosen], [recorder])
    numbers = json.loads(json.dumps(recorder.numbers))
    out.write_text(json.dumps(numbers, indent=1), "utf-8")
    lines = [] if other is None else differences(json.loads(other.read_text("utf-8")), numbers)
    summary = f"{len(numbers)} presets" + ("" if other is None else f", {len(lines)} differences")
    sys.stdout.write("\n".join([*lines, summary]) + "\n")
    return int(failed) or bool(lines)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
