"""The command line: one verb a function. Heavy imports wait until a verb needs them."""

import json
import logging
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from postsense.corpus_cli import corpus_app
from postsense.discover_cli import discover
from postsense.errors import ConfigError, PostsenseError
from postsense.processes import is_main, part_ways, process_count
from postsense.tasks_cli import combine, relabel

if TYPE_CHECKING:
    from postsense.config import Config
    from postsense.posts import Posts

app = typer.Typer(
    help="Classify social-media posts of a picture and a few words when labels are few.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(corpus_app, name="corpus")
app.command()(discover)
app.command()(combine)
app.command()(relabel)

LEAD_S = 10.0  # of several processes, the one that can tell what is wrong speaks this much earlier
TableArgument = Annotated[
    Path, typer.Argument(help="Posts: .parquet, .jsonl, .csv or an imagefolder.")
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder, or a model folder.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, such as training.epochs=5. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
CorpusOption = Annotated[
    Path | None, typer.Option(help="Corpus that lends readers' comments and similar posts.")
]
ByOption = Annotated[
    str | None,
    typer.Option(
        help="Column of the table to break the metrics down by, or two: labels.text==labels.image."
    ),
]
LabelOption = Annotated[
    str | None, typer.Option("--label", help="Label column, such as label or labels.text.")
]


@app.command()
def train(
    table: TableArgument,
    out: Annotated[Path, typer.Option(help="Run folder; the same command resumes it.")],
    method: Annotated[
        str | None,
        typer.Option(
            help="Training method: supervised, self_training, two_step_contrastive or"
            " cluster_pseudo_labels."
        ),
    ] = None,
    corpus: CorpusOption = None,
    preset: Annotated[str | None, typer.Option(help="Settings that ship with postsense.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    settings: SetOption = None,
    label: LabelOption = None,
    split: Annotated[str | None, typer.Option(help="Split column, such as splits.grouped.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Table to select epochs by.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="First random seed.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train this many seeds.")] = 1,
) -> None:
    """Train a classifier on the labelled posts of TABLE and measure it on its val and test rows."""
    from postsense.config_loading import load_config

    given = {
        "method": method,
        "retrieval.corpus": corpus,
        "data.columns.label": label,
        "data.columns.split": split,
        "seed": seed,
    }
    values = {key: value for key, value in given.items() if value is not None}
    resolved = load_config(preset, config, settings or (), values)
    _train(table, out, resolved, validation, seeds)


@app.command()
def evaluate(
    run: RunArgument,
    table: TableArgument,
    split: Annotated[
        str | None, typer.Option(help="Split to measure on; default: test if there is one.")
    ] = None,
    label: LabelOption = None,
    by: ByOption = None,
    corpus: CorpusOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a trained run on the labelled posts of TABLE."""
    from postsense.config import UNREAD_IN_PREDICT
    from postsense.evaluation.evaluate import evaluate_classifiers
    from postsense.evaluation.groups import columns_of
    from postsense.runs import load_run
    from postsense.terminal import print_evaluation

    classifiers = load_run(run, corpus)
    columns = classifiers[0].config.data.columns
    if label is not None:
        columns = columns.model_copy(update={"label": label})
    optional = set(UNREAD_IN_PREDICT) - {"label"} - ({"split"} if split else set())
    posts = _load(table, columns, require=("label",), optional=optional, extra=columns_of(by))
    with _progress() as progress:
        report = evaluate_classifiers(classifiers, posts, split, progress, by)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
    else:
        print_evaluation(report, f"{run} on {table}")


@app.command()
def predict(
    run: RunArgument,
    table: TableArgument,
    out: Annotated[Path, typer.Option(help="Predictions: .parquet, .jsonl or .csv.")],
    corpus: CorpusOption = None,
) -> None:
    """Write the label of every post in TABLE and one probability for each class.

    A run of several seeds gives the mean of their probabilities. A model that reads comments also
    names those that hinted and how much attention each got; --corpus says where the corpus is now.
    """
    from postsense.classifier import average_predictions
    from postsense.config import UNREAD_IN_PREDICT
    from postsense.runs import load_run
    from postsense.tables import check_suffix, write_bad_rows_beside, write_table
    from postsense.terminal import print_bad_rows

    check_suffix(out)
    classifiers = load_run(run, corpus)
    posts = _load(table, classifiers[0].config.data.columns, optional=UNREAD_IN_PREDICT)
    with _progress() as progress:
        predictions = average_predictions(classifiers, posts, progress)
    write_table(predictions.to_table(), out)
    print_bad_rows(predictions.bad, len(posts), write_bad_rows_beside(out, predictions.bad))
    typer.echo(f"{len(posts)} predictions in {out}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; the first is the baseline.")],
    split: Annotated[str, typer.Option(help="Which predictions to compare: test or val.")] = "test",
    by: ByOption = None,
    table: Annotated[Path | None, typer.Option(help="The runs' posts, for --by.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Mean ± sd over seeds of each run, and how each differs from the first on the same posts."""
    from postsense.results import compare_run_folders
    from postsense.terminal import print_comparison

    comparison = compare_run_folders(runs, split, by, table)
    if as_json:
        typer.echo(json.dumps(comparison, ensure_ascii=False))
    else:
        print_comparison(comparison)


@app.command()
def ablate(
    table: TableArgument,
    corpus: Annotated[Path, typer.Option(help="Corpus that lends comments and similar posts.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs; the same command resumes them.")],
    groups: Annotated[
        str, typer.Option(help="Any of parts, neighbors, retrieval, generic, pseudo-labels.")
    ] = "parts,neighbors,retrieval",
    preset: Annotated[str | None, typer.Option(help="Settings that ship with postsense.")] = None,
    settings: SetOption = None,
    label: LabelOption = None,
    split: Annotated[str | None, typer.Option(help="Split column.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train this many seeds of each.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Measure what comments, self-training and retrieval bring, each alone and all together."""
    from postsense.ablation import ablate as ablate_method
    from postsense.config_loading import load_config
    from postsense.terminal import print_comparison

    given = {"data.columns.label": label, "data.columns.split": split, "retrieval.corpus": corpus}
    values = {key: value for key, value in given.items() if value is not None}
    config = load_config(preset, None, settings or (), values)
    posts = _load(table, config.data.columns, require=("label",))
    names = [name.strip() for name in groups.split(",")]
    with _progress() as progress:
        tables = ablate_method(posts, config, out, seeds=seeds, groups=names, progress=progress)
    if as_json:
        typer.echo(json.dumps(tables, ensure_ascii=False))
        return
    for group, comparison in tables.items():
        typer.echo(f"\n[{group}]")
        print_comparison(comparison)


@app.command()
def check(
    table: TableArgument,
    label: LabelOption = None,
    split: Annotated[str | None, typer.Option(help="Split column.")] = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report what is in TABLE and what is wrong with it: pictures, texts, duplicates, labels."""
    from postsense.config_loading import load_config
    from postsense.data.checking import check_posts
    from postsense.terminal import print_check

    given = {"data.columns.label": label, "data.columns.split": split}
    values = {key: value for key, value in given.items() if value is not None}
    columns = load_config(None, None, settings or (), values).data.columns
    with _progress() as progress:
        report = check_posts(_load(table, columns), progress)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        print_check(report, str(table))


@app.command()
def presets() -> None:
    """List the settings that ship with postsense, for --preset."""
    from postsense.config_loading import preset_titles

    for name, title in preset_titles().items():
        typer.echo(f"{name:22s}{title}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for posts, run and predictions.")] = Path(
        "demo"
    ),
    posts: Annotated[int, typer.Option(min=30, help="Posts to draw.")] = 600,
) -> None:
    """Draw posts with a known right answer, train, evaluate, predict, borrow comments."""
    from postsense.demo import show_demo

    show_demo(out, posts, _run_command)


def main() -> None:
    """Run the command line; what a user can mend is one line and exit code 2."""
    level = logging.WARNING if is_main() else logging.ERROR
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s")
    try:
        _refuse_several_processes(sys.argv[1:2])
        app()
    except Exception as error:  # OSError: a full disk, a place not to be written
        mendable = isinstance(error, PostsenseError | OSError)
        if process_count() > 1 and not (mendable and is_main()):
            time.sleep(LEAD_S)
        if not mendable:
            raise
        line = " ".join(str(error).splitlines())  # names of files and classes may hold line breaks
        typer.echo(f"error: {line}", err=True)
        sys.exit(2)


def _refuse_several_processes(verb: list[str]) -> None:
    if process_count() > 1 and verb != ["train"]:
        where, found = f"{process_count()} processes", " ".join(verb) or "no verb"
        raise ConfigError(where, "the verb 'train'", f"'{found}'", "Run it without a launcher.")


def _train(table: Path, out: Path, config: "Config", validation: Path | None, seeds: int) -> None:
    from postsense.runs import train_run
    from postsense.terminal import print_run
    from postsense.training.methods import required_columns

    columns = config.data.columns
    posts = _load(table, columns, require=required_columns(config))
    held_out = None
    if validation is not None:
        held_out = _load(validation, columns, require=("label",), optional=("split",))
    with _progress() as progress:
        summary = train_run(posts, config, out, seeds=seeds, validation=held_out, progress=progress)
    if is_main():
        print_run(summary)
    part_ways()


def _run_command(*words: object) -> None:
    """Run one command line; its errors are the caller's."""
    app([str(word) for word in words], standalone_mode=False)


def _load(table: Path, columns: Any = None, **options: Any) -> "Posts":
    from postsense.config import Columns
    from postsense.data.loading import load_posts

    return load_posts(table, columns or Columns(), **options)


def _progress() -> Any:
    from postsense.progress import silent
    from postsense.terminal import progress_bar

    return progress_bar() if is_main() else nullcontext(silent)
