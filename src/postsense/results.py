"""Run folders → what compare prints."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from postsense.config import Columns
from postsense.data.loading import load_posts
from postsense.errors import ConfigError, RunError
from postsense.evaluation.compare import (
    RunPredictions,
    compare_runs,
    same_posts,
    seed_scores,
)
from postsense.evaluation.groups import columns_of, group_posts
from postsense.posts import SCHEMA, Posts
from postsense.run_folder import read_json
from postsense.runs import finished_seeds


def compare_run_folders(
    folders: Sequence[Path],
    split: str = "test",
    by: str | None = None,
    table: Any = None,
) -> dict[str, Any]:
    """Scores of each run and differences from the first, JSON-ready.

    by: a column of the table, or two as "a==b": `by` of the comparison then has scores and
        differences for each group of posts (see `group_posts`). The intervals and tests are those
        of each group alone; of many groups, some differ by chance.
    table: anything that `load_posts` reads, with the ids of the runs' posts.
    Raises: RunError: a run is missing or damaged, has no predictions on the split, or the runs
        were measured on different posts, or on others than the table's. DataError: see
        `load_posts` and `group_posts`. ConfigError: one of by and table without the other.
    """
    if (by is None) != (table is None):
        found = "only a table" if by is None else "only a column"
        raise ConfigError("compare", "a column and a table", found, "Give both --by and --table.")
    runs = [read_predictions(folder, split) for folder in folders]
    if not same_posts(runs):
        raise RunError(
            ", ".join(map(str, folders)),
            f"{split} predictions on the same posts",
            "different posts or labels",
            "Train all runs on one table with one --split.",
        )
    comparison = {"split": split, **_compared(runs)}
    if by is not None:
        posts = _posts_of_run(runs[0], folders[0], _load_table(table, folders[0], by))
        parts = [
            {"value": group.value, **_compared([run.take(group.rows) for run in runs])}
            for group in group_posts(posts, by)
        ]
        comparison["by"] = {"column": by, "groups": parts}
    return comparison


def _compared(runs: Sequence[RunPredictions]) -> dict[str, Any]:
    return {
        "posts": len(runs[0].ids),
        "runs": [_summary(run) for run in runs],
        "differences": [
            asdict(difference) for run in runs[1:] for difference in compare_runs(runs[0], run)
        ],
    }


def _load_table(table: Any, folder: Path, by: str) -> Posts:
    """The posts of a table with the column names of the run's; only ids must be there."""
    columns = Columns.model_validate(read_json(folder / "config.json")["data"]["columns"])
    others = [name for name in SCHEMA.names if name != "id"]
    return load_posts(table, columns, optional=others, extra=columns_of(by))


def _posts_of_run(run: RunPredictions, folder: Path, posts: Posts) -> Posts:
    """The posts that a run predicted, in its order."""
    row_of = {post_id: row for row, post_id in enumerate(posts.column("id"))}
    fix = "Pass the table that the runs were trained on."
    absent = [post_id for post_id in run.ids if post_id not in row_of]
    if absent:
        found = f"{len(absent)} that are not in it, such as '{absent[0]}'"
        raise RunError(posts.name, f"all {len(run.ids)} posts of '{folder}'", found, fix)
    chosen = posts.take([row_of[post_id] for post_id in run.ids])
    classes = _classes(folder)
    pairs = zip(chosen.column("label"), run.labels, strict=True)
    others = sum(label not in (None, classes[number]) for label, number in pairs)
    if others:  # row numbers instead of ids match the rows of any table
        raise RunError(posts.name, f"the labels of '{folder}'", f"{others} other labels", fix)
    return chosen


def read_predictions(folder: Path, split: str) -> RunPredictions:
    """The predictions of all finished seeds of a run on one split, posts sorted by id."""
    seeds = finished_seeds(folder)
    classes = _classes(folder)
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


def _classes(folder: Path) -> list[str]:
    """The classes of a run. Raises: RunError: it has none, as what 'discover' writes."""
    description = read_json(folder / "run.json")
    if "classes" not in description:
        expected, found = "a run of 'postsense train'", "one without labels, as of 'discover'"
        raise RunError(folder, expected, found, "Compare runs that were trained on labels.")
    return list(description["classes"])


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
