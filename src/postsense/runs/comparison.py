"""Run folders → what compare prints."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from postsense.config.local import NO_LOCAL_SETTINGS, LocalSettings
from postsense.data.label_kinds import known_label, label_name
from postsense.data.loading import load_posts
from postsense.data.seen import Seen, joined_seen
from postsense.errors import ConfigError, RunError
from postsense.evaluation.compare import (
    RunPredictions,
    compare_runs,
    same_posts,
    seed_scores,
)
from postsense.evaluation.groups import columns_of, group_posts
from postsense.posts import SCHEMA, Posts
from postsense.runs.entries import Entry, entries_of
from postsense.runs.folder import ANEW, read_json, settings_of
from postsense.runs.training import finished_seeds
from postsense.saving.seen import read_seen

PREDICTED = ["split", "id", "label", "predicted"]  # columns of a seed's predictions that are read
LARGEST_TABLE = 2**30  # bytes of them
_CLASSES = Annotated[list[str], Field(min_length=1)]


def compare_run_folders(
    folders: Sequence[Path],
    split: str = "test",
    by: str | None = None,
    table: Any = None,
    local: LocalSettings = NO_LOCAL_SETTINGS,
) -> dict[str, Any]:
    """Scores of each run and differences from the first, JSON-ready.

    folders: of runs, or "baseline:NAME", which stands for a simple answer that was measured beside
        one of them: the first in the list that has it.
    by: a column of the table, or two as "a==b": `by` of the comparison then has scores and
        differences for each group of posts (see `group_posts`). The intervals and tests are those
        of each group alone; of many groups, some differ by chance.
    table: anything that `load_posts` reads, with the ids of the runs' posts.
    local: settings of whoever compares, such as the columns of that table.
    Raises: RunError: a run is missing or damaged, has no predictions on the split, or the runs
        were measured on different posts, or on others than the table's, or lack a baseline.
        DataError: see `load_posts` and `group_posts`. ConfigError: one of by and table without the
        other.
    """
    if (by is None) != (table is None):
        found = "only a table" if by is None else "only a column"
        raise ConfigError("compare", "a column and a table", found, "Give both --by and --table.")
    entries = entries_of(folders)
    runs = [_read_entry(entry, split) for entry in entries]
    seen = _seen_by(list(dict.fromkeys(entry.folder for entry in entries)), split)
    if not same_posts(runs):
        raise RunError(
            ", ".join(map(str, folders)),
            f"{split} predictions on the same posts",
            "different posts or labels" + "".join(f"; {line}" for line in _told(seen, split)),
            "Train all runs on one table with one --split.",
        )
    comparison = {"split": split, **_compared(runs)}
    if seen is None or seen:
        comparison["seen"] = seen
    if by is not None:
        first = entries[0].folder
        posts = _posts_of_run(runs[0], first, _load_table(table, first, by, local))
        parts = [
            {"value": group.value, **_compared([run.take(group.rows) for run in runs])}
            for group in group_posts(posts, by)
        ]
        comparison["by"] = {"column": by, "groups": parts}
    return comparison


def _seen_by(folders: Sequence[Path], split: str) -> list[dict[str, Any]] | None:
    """Of each run that was trained on posts that a run is measured on, how many those are.

    None: not known, as a model is gone or from an earlier version.
    """
    each = [(str(folder), _seen_of_run(folder)) for folder in folders]
    known = [(name, seen) for name, seen in each if seen is not None]
    if len(known) < len(each):
        return None
    measured = [seen.tested if split == "test" else seen.selected for _, seen in known]
    counts = {
        name: len(np.intersect1d(np.concatenate(measured), seen.trained)) for name, seen in known
    }
    return [{"name": name, "posts": count} for name, count in counts.items() if count]


def _seen_of_run(folder: Path) -> Seen | None:
    models = [seed / "model" for seed in finished_seeds(folder)]
    there = all((model / "model.json").is_file() for model in models)
    return joined_seen([read_seen(model) for model in models]) if there else None


def _told(seen: Sequence[dict[str, Any]] | None, split: str) -> list[str]:
    return [f"'{one['name']}' was trained on {one['posts']} {split} posts" for one in seen or ()]


def _compared(runs: Sequence[RunPredictions]) -> dict[str, Any]:
    return {
        "posts": len(runs[0].ids),
        "runs": [_summary(run) for run in runs],
        "differences": [
            asdict(difference) for run in runs[1:] for difference in compare_runs(runs[0], run)
        ],
    }


def _load_table(table: Any, folder: Path, by: str, local: LocalSettings) -> Posts:
    """The posts of a table with the column names of the run's; only ids must be there."""
    columns = local.over(settings_of(folder)).data.columns
    others = [name for name in SCHEMA.names if name != "id"]
    return load_posts(table, columns, optional=others, extra=columns_of(by), reads=("label",))


def _posts_of_run(run: RunPredictions, folder: Path, posts: Posts) -> Posts:
    """The posts that a run predicted, in its order."""
    row_of = {post_id: row for row, post_id in enumerate(posts.column("id"))}
    fix = "Pass the table that the runs were trained on."
    absent = [post_id for post_id in run.ids if post_id not in row_of]
    if absent:
        found = f"{len(absent)} that are not in it, such as '{absent[0]}'"
        raise RunError(posts.name, f"all {len(run.ids)} posts of '{folder}'", found, fix)
    chosen = posts.take([row_of[post_id] for post_id in run.ids])
    classes, kind = _classes(folder), read_json(folder / "run.json").get("label_kind", "text")
    pairs = zip(chosen.column("label"), run.labels, strict=True)
    others = sum(
        label is not None and known_label(label, classes, kind) != classes[number]
        for label, number in pairs
    )
    if others:  # row numbers instead of ids match the rows of any table
        raise RunError(posts.name, f"the labels of '{folder}'", f"{others} other labels", fix)
    return chosen


def read_predictions(folder: Path, split: str) -> RunPredictions:
    """The predictions of all finished seeds of a run on one split, posts sorted by id."""
    return _read_entry(Entry(str(folder), folder), split)


def _read_entry(entry: Entry, split: str) -> RunPredictions:
    seeds = finished_seeds(entry.folder)
    classes = _classes(entry.folder)
    files = [seed / entry.file for seed in seeds]
    tables = [_read(file, split, entry.baseline) for file in files]
    first = tables[0]
    for file, table in zip(files, tables, strict=True):
        if any(table[name] != first[name] for name in ("id", "label")):
            raise RunError(file, f"the posts and labels of '{files[0]}'", "others", ANEW)
    return RunPredictions(
        name=entry.name,
        ids=tuple(first["id"].to_pylist()),
        seeds=tuple(int(seed.name.removeprefix("seed-")) for seed in seeds),
        labels=_numbers(first["label"], classes, files[0]),
        predicted=np.stack(
            [
                _numbers(table["predicted"], classes, file)
                for file, table in zip(files, tables, strict=True)
            ]
        ),
        classes=len(classes),
    )


def _classes(folder: Path) -> list[str]:
    """The classes of a run. Raises: RunError: it has none, as what 'discover' writes."""
    if "classes" not in read_json(folder / "run.json"):
        expected, found = "a run of 'postsense train'", "one without labels, as of 'discover'"
        raise RunError(folder, expected, found, "Compare runs that were trained on labels.")
    return list(read_json(folder / "run.json", classes=_CLASSES)["classes"])


def _read(file: Path, split: str, baseline: str | None) -> pa.Table:
    columns = [*PREDICTED, *(["baseline"] if baseline is not None else [])]
    table = _read_columns(file, columns)
    if baseline is not None:
        table = table.filter(pc.equal(table["baseline"], baseline))
    chosen = table.filter(pc.equal(table["split"], split)).sort_by("id")
    if not len(chosen):
        found = sorted(set(table["split"].to_pylist()))
        raise RunError(file, f"predictions on split '{split}'", f"only {found}", "Set --split.")
    return chosen


def _read_columns(file: Path, columns: list[str]) -> pa.Table:
    """The predictions of a seed, which are as large as the file says before they are read."""
    expected = "predictions of a run"
    try:
        if not file.is_file():
            raise RunError(file, expected, "no such file", ANEW)
        _refuse_unfit(file, pq.read_metadata(file), columns)
        with pq.ParquetFile(file, read_dictionary=columns) as parquet:
            table = parquet.read(columns=columns)
            size = sum(_decoded_bytes(table[name]) for name in columns)
            if size > LARGEST_TABLE:
                raise RunError(file, expected, f"{size} bytes of words", ANEW)
            table = table.cast(_decoded(table.schema))
            table.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        raise RunError(file, expected, str(error).splitlines()[0], ANEW) from None
    empty = [name for name in columns if table[name].null_count]
    if empty:
        raise RunError(file, expected, f"rows without {empty}", ANEW)
    return table


def _decoded(schema: pa.Schema) -> pa.Schema:
    kinds = {field.name: field.type for field in schema}
    plain = {
        name: kind.value_type if pa.types.is_dictionary(kind) else kind
        for name, kind in kinds.items()
    }
    texts = {name: pa.string() for name in ("id", "split", "baseline") if name in plain}
    return pa.schema([*{**plain, **texts}.items()])


def _refuse_unfit(file: Path, metadata: pq.FileMetaData, columns: list[str]) -> None:
    """Refuse a file that is too large, or whose columns are not there or hold lists."""
    expected = "predictions of a run"
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    if size > LARGEST_TABLE or metadata.num_rows > LARGEST_TABLE // 8:
        raise RunError(file, expected, f"{metadata.num_rows} rows, {size} bytes", ANEW)
    kinds = {field.name: field.type for field in metadata.schema.to_arrow_schema()}
    absent = [name for name in columns if pa.types.is_nested(kinds.get(name, pa.struct([])))]
    if absent:
        raise RunError(file, f"{expected}, with {columns}", f"no {absent}", ANEW)


def _decoded_bytes(column: pa.ChunkedArray) -> int:
    """How long all words of a column are together, each as often as it stands there."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = [pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks]
    return sum(pc.sum(chunk).as_py() or 0 for chunk in lengths)


def _numbers(names: pa.ChunkedArray, classes: list[str], file: Path) -> np.ndarray[Any, Any]:
    texts = pa.array([label_name(value) for value in names.to_pylist()], pa.string())
    numbers = pc.index_in(texts, pa.array(classes))
    if numbers.null_count:
        found = f"others, such as '{texts.filter(numbers.is_null())[0].as_py()}'"
        raise RunError(file, f"labels among {classes}", found, ANEW)
    return np.asarray(numbers.to_numpy(False), dtype=np.int64)


def _summary(run: RunPredictions) -> dict[str, Any]:
    summary: dict[str, Any] = {"name": run.name, "seeds": list(run.seeds)}
    for metric, scores in seed_scores(run).items():
        spread = float(scores.std(ddof=1)) if len(scores) > 1 else None
        summary[metric] = {"mean": float(scores.mean()), "sd": spread}
    return summary
