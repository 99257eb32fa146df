"""`postsense relabel` and `postsense combine`: labels of two tasks on the same posts."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from postsense.posts import Posts
    from postsense.prediction.classifier import AnyClassifier, Predictions

logger = logging.getLogger(__name__)
PARTS = ("first", "second", "pair")


def relabel(
    table: Annotated[Path, typer.Argument(help="Table of posts, .jsonl.")],
    file: Annotated[Path, typer.Argument(help="Corrections, lines such as '01->11: 12, 40'.")],
    out: Annotated[Path, typer.Option(help="The new table, .jsonl.")],
    drop: Annotated[bool, typer.Option("--drop", help="Leave those posts out instead.")] = False,
    text_label: Annotated[
        str, typer.Option(help="Column of the first bit, 0 or 1.")
    ] = "labels.text_is_represented",
    image_label: Annotated[
        str, typer.Option(help="Column of the second bit, 0 or 1.")
    ] = "labels.image_adds",
    joint: Annotated[str, typer.Option(help="Column that names both; '': none.")] = "label",
    path: Annotated[
        list[str] | None, typer.Option(help="Column of paths, default image and regions.")
    ] = None,
) -> None:
    """Correct two labels of the posts of TABLE that FILE lists by row, or leave those posts out.

    A line '01->11: 12, 40' says of rows 12 and 40, counted from 0, that the first label is 1.
    """
    from postsense.commands.terminal import say
    from postsense.data.relabeling import RelabelColumns, relabel_table

    paths = RelabelColumns().paths if path is None else tuple(path)
    columns = RelabelColumns(text_label, image_label, joint, paths)
    report = relabel_table(table, file, out, columns, drop)
    done = "left out" if drop else "relabelled"
    say(f"{report.named} posts {done}; {report.posts} posts in {out}")


def combine(
    run_a: Annotated[Path, typer.Argument(help="Run of the first task.")],
    run_b: Annotated[Path, typer.Argument(help="Run of the second task.")],
    table: Annotated[Path, typer.Argument(help="Posts: .parquet, .jsonl, .csv, imagefolder.")],
    out: Annotated[Path, typer.Option(help="Predictions: .parquet, .jsonl or .csv.")],
    split: Annotated[
        str | None, typer.Option(help="Split to measure on; default: test if there is one.")
    ] = None,
    label_a: Annotated[
        str | None, typer.Option(help="Label column of RUN_A, if not that of training.")
    ] = None,
    label_b: Annotated[
        str | None, typer.Option(help="Label column of RUN_B, if not that of training.")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="Corpus that lends comments.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings that may change after training.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of both runs that may change after training, such as"
            " data.columns.text=tweet. Repeatable.",
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures that are not below the table's.")
    ] = None,
    csv_safe: Annotated[
        bool, typer.Option("--csv-safe", help="In CSV, put ' before texts with = + - @ first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the pair of labels that two runs give each post of TABLE, as 'a & b'.

    Where TABLE has the labels of both runs, each run and the pair are measured on them. A run of
    several seeds gives the mean of their probabilities.
    """
    from postsense.commands.terminal import print_bad_rows, print_evaluation, say, say_json
    from postsense.config.local import load_local, named_corpus
    from postsense.data.writing import refuse_unfit_output, write_bad_rows_beside, write_table
    from postsense.evaluation.task_pairs import pair_tasks
    from postsense.runs.folder import files_of
    from postsense.runs.training import load_run

    refuse_unfit_output(out, [table, *files_of(run_a), *files_of(run_b)])
    local = load_local(config, settings or (), named_corpus(corpus))
    runs = [load_run(run, local) for run in (run_a, run_b)]
    labels = (label_a, label_b)
    posts = [_load(table, run[0], label, images) for run, label in zip(runs, labels, strict=True)]
    rows, name = _chosen(posts, split)
    predictions = [_predict(run, each, rows) for run, each in zip(runs, posts, strict=True)]
    for folder, run, each in zip((run_a, run_b), runs, posts, strict=True):
        _warn_of_seen(folder, run, each.take(rows))
    pair = pair_tasks(*predictions)
    report = _measure(predictions, posts, rows) | ({"split": name} if rows else {})
    write_table(pair.to_table(), out, csv_safe=csv_safe)
    bad_rows = write_bad_rows_beside(out, pair.bad)
    if as_json:
        counts = {"posts": len(pair.ids), "bad_rows": len(pair.bad)}
        say_json(counts | report)
        return
    titles = (f"{run_a} on {table}", f"{run_b} on {table}", "both")
    for part, title in zip(PARTS, titles, strict=True):
        if part in report:
            print_evaluation({"split": name, **report[part]}, title)
    if not rows:
        say(f"no post of split '{name}' has the labels of both runs; nothing was measured")
    print_bad_rows(pair.bad, len(pair.ids), bad_rows)
    say(f"{len(pair.ids)} predictions in {out}")


def _warn_of_seen(folder: Path, classifiers: Sequence["AnyClassifier"], measured: "Posts") -> None:
    """Say how many of the posts that are measured on the run has seen, if any."""
    from postsense.evaluation.looking_back import keys_of, seen_posts, told

    seen = seen_posts(classifiers, keys_of(measured, classifiers[0].config))
    counts = None if seen is None else {**seen.counts(), "left_out": 0}
    if len(measured) and (seen is None or seen.labels_seen.any()):
        logger.warning("%s: %s", folder, told(counts))


def _load(
    table: Path, classifier: "AnyClassifier", label: str | None, images: Path | None
) -> "Posts":
    """The posts as the run reads them; a label column that is named must be there."""
    from postsense.config import UNREAD_IN_PREDICT
    from postsense.data.loading import load_posts
    from postsense.data.reading import reading_of, with_images

    columns = classifier.config.data.columns
    how: Any = {
        "reading": with_images(reading_of(classifier.config), images),
        "reads": classifier.config.columns_read("label", "split"),
    }
    if label is None:
        return load_posts(table, columns, optional=UNREAD_IN_PREDICT, **how)
    columns = columns.model_copy(update={"label": label})
    optional = set(UNREAD_IN_PREDICT) - {"label"}
    return load_posts(table, columns, require=("label",), optional=optional, **how)


def _predict(
    classifiers: Sequence["AnyClassifier"], posts: "Posts", measured: Sequence[int]
) -> "Predictions":
    from postsense.commands.terminal import progress_bar
    from postsense.evaluation.task_pairs import held_out_predictions

    with progress_bar() as progress:
        return held_out_predictions(classifiers, posts, measured, progress)


def _chosen(posts: Sequence["Posts"], split: str | None) -> tuple[list[int], str]:
    """Rows to measure on, which have both labels and are in the split of both runs, and its name.

    A run whose split column the table lacks follows the other.
    Raises: DataError: the split that is asked for has no such row.
    """
    from postsense.errors import DataError

    labels = list(zip(*(each.column("label") for each in posts), strict=True))
    splits = [set(pair) for pair in zip(*(each.column("split") for each in posts), strict=True)]
    has_test = any("test" in places for places in splits)
    name = split if split is not None else ("test" if has_test else "all")
    rows = [
        row
        for row, (both, places) in enumerate(zip(labels, splits, strict=True))
        if None not in both and (name == "all" or places - {None} == {name})
    ]
    if split is not None and not rows:
        found = f"none; the splits are {sorted(map(str, set().union(*splits)))}"
        fix = "Choose another --split, or name the labels with --label-a and --label-b."
        raise DataError(posts[0].name, f"posts with both labels in split '{split}'", found, fix)
    return rows, name


def _measure(
    predictions: Sequence["Predictions"], posts: Sequence["Posts"], rows: Sequence[int]
) -> dict[str, Any]:
    """Metrics of each task and of the pair on these rows; {} without rows."""
    from postsense.evaluation.task_pairs import pair_metrics

    if not rows:
        return {}
    measured = set(rows)
    labels = [
        [label if row in measured else None for row, label in enumerate(each.column("label"))]
        for each in posts
    ]
    first, second = predictions
    return dict(vars(pair_metrics(first, second, *labels)))
