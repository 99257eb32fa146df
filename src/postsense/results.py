"""Run folders → what compare prints."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from postsense.errors import RunError
from postsense.evaluation.compare import (
    RunPredictions,
    compare_runs,
    same_posts,
    seed_scores,
)
from postsense.runs import finished_seeds, read_json


def compare_run_folders(folders: Sequence[Path], split: str = "test") -> dict[str, Any]:
    """Scores of each run and differences from the first, JSON-ready.

    Raises: RunError: a run is missing or damaged, has no predictions on the split, or the runs
        were measured on different posts.
    """
    runs = [read_predictions(folder, split) for folder in folders]
    if not same_posts(runs):
        raise RunError(
            ", ".join(map(str, folders)),
            f"{split} predictions on the same posts",
            "different posts or labels",
            "Train all runs on one table with one --split.",
        )
    return {
        "split": split,
        "posts": len(runs[0].ids),
        "runs": [_summary(run) for run in runs],
        "differences": [
            asdict(difference) for run in runs[1:] for difference in compare_runs(runs[0], run)
        ],
    }


def read_predictions(folder: Path, split: str) -> RunPredictions:
    """The predictions of all finished seeds of a run on one split, posts sorted by id."""
    seeds = finished_seeds(folder)
    classes = list(read_json(folder / "run.json")["classes"])
    tables = [_read(seed / "predictions.parquet", split) for seed in seeds]
    first = tables[0]
    return RunPredictions(
        name=str(folder),
        ids=tuple(first["id"].to_pylist()),
        seeds=tuple(int(seed.name.removeprefix("seed-")) for seed in seeds),
        labels=_numbers(first["label"], classes),
        predicted=np.stack([_numbers(table["predicted"], classes) for table in tables]),
        classes=len(classes),
    )


def _read(file: Path, split: str) -> pa.Table:
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(file, "predictions of a run", str(error), "Train the run again.") from None
    chosen = table.filter(pc.equal(table["split"], split)).sort_by("id")
    if not len(chosen):
        found = sorted(set(table["split"].to_pylist()))
        raise RunError(file, f"predictions on split '{split}'", f"only {found}", "Set --split.")
    return chosen


def _numbers(names: pa.ChunkedArray, classes: list[str]) -> np.ndarray[Any, Any]:
    return np.asarray(pc.index_in(names, pa.array(classes)).to_numpy(), dtype=np.int64)


def _summary(run: RunPredictions) -> dict[str, Any]:
    summary: dict[str, Any] = {"name": run.name, "seeds": list(run.seeds)}
    for metric, scores in seed_scores(run).items():
        spread = float(scores.std(ddof=1)) if len(scores) > 1 else None
        summary[metric] = {"mean": float(scores.mean()), "sd": spread}
    return summary
