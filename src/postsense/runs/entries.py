"""What compare is given, runs and baselines → the run and the file of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from postsense.errors import RunError, nearest
from postsense.runs.baselines import FILE
from postsense.runs.folder import read_json
from postsense.runs.training import finished_seeds

PREFIX = "baseline:"


@dataclass(frozen=True)
class Entry:
    """What is compared. folder: of the run. baseline: a simple answer of it, None: itself."""

    name: str
    folder: Path
    baseline: str | None = None

    @property
    def file(self) -> str:
        """What each seed keeps it in."""
        return "predictions.parquet" if self.baseline is None else FILE


def entries_of(given: Sequence[Path]) -> list[Entry]:
    """The entry of each; "baseline:NAME" is of the first run among them that has it.

    Raises: RunError: no run is among them, or none has that baseline.
    """
    runs = [one for one in given if not _is_baseline(one)]
    return [_find(str(one), runs) if _is_baseline(one) else Entry(str(one), one) for one in given]


def _is_baseline(given: Path) -> bool:
    return str(given).startswith(PREFIX)


def _find(name: str, runs: Sequence[Path]) -> Entry:
    wanted, kept = name.removeprefix(PREFIX), list[str]()
    for run in runs:
        found = baselines_of(run)
        if wanted in found:
            return Entry(name, run, wanted)
        kept += found
    if not runs:
        fix = "Name a run that it was measured beside: postsense compare baseline:NAME RUN."
        raise RunError(name, "a run folder beside it", "none", fix)
    names = ", ".join(map(str, runs))
    if not kept:
        fix = "Train again with another --out: earlier versions kept none."
        raise RunError(name, "simple answers kept by a run", f"none in {names}", fix)
    expected = f"a simple answer of {names}"
    raise RunError(name, expected, f"only {sorted(set(kept))}", nearest(wanted, kept, set(kept)))


def baselines_of(run: Path) -> list[str]:
    """The simple answers that a run keeps, by name."""
    metrics = read_json(finished_seeds(run)[0] / "metrics.json")
    return list(metrics.get("baselines", {}))
