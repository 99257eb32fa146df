"""The command line: one verb a function. Heavy imports wait until a verb needs them."""

import io
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from postsense import __version__
from postsense.commands.corpus import corpus_app
from postsense.commands.discover import discover
from postsense.commands.tasks import combine, relabel
from postsense.errors import ConfigError, EncoderError, PostsenseError
from postsense.escaping import (
    EscapedFormatter,
    escaped_warning,
    print_traceback,
    shown,
    shown_lines,
)
from postsense.files.disk_space import is_full
from postsense.parallel.processes import is_main, part_ways, process_count
from postsense.registry.efforts import EFFORTS
from postsense.registry.methods import METHODS

if TYPE_CHECKING:
    from postsense.config import Config
    from postsense.posts import Posts


HELP = "Classify social-media posts of a picture and a few words when labels are few."


class EscapedCommands(TyperGroup):
    """Verbs whose complaints about a command line show its control characters as such."""

    def make_context(self, *given: Any, **options: Any) -> Any:
        """Read the arguments of the group."""
        with _escaped_usage():
            return super().make_context(*given, **options)

    def invoke(self, ctx: Any) -> Any:
        """Read the arguments of a verb and run it."""
        with _escaped_usage():
            return super().invoke(ctx)


@contextmanager
def _escaped_usage() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        complaint: Any = error
        if hasattr(complaint, "format_message"):  # typer's own, whose base class it does not name
            complaint.message = shown_lines(str(complaint.message))
        raise


app = typer.Typer(
    cls=EscapedCommands,
    help=HELP,
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
    Path,
    typer.Argument(
        help="Posts: .parquet, .jsonl, .csv ..., an imagefolder, or 'PATTERN' in quotes."
    ),
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder, or a model folder.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, such as training.epochs=5. Repeatable."),
]
LocalConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of settings that may change after training."),
]
LocalSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting that may change after training, such as data.columns.text=tweet."
        " Repeatable.",
    ),
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
ImagesOption = Annotated[
    Path | None, typer.Option(help="Folder of pictures that are not below the table's.")
]
LabelOption = Annotated[
    str | None, typer.Option("--label", help="Label column, such as label or labels.text.")
]


CsvSafeOption = Annotated[
    bool,
    typer.Option(
        "--csv-safe",
        help="In CSV, put ' before texts that a spreadsheet would run: those with = + - @ first.",
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        from postsense.commands.terminal import say

        say(f"postsense {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print it and stop.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """What stands before a verb."""


@app.command()
def train(
    table: TableArgument,
    out: Annotated[Path, typer.Option(help="Run folder; the same command resumes it.")],
    method: Annotated[
        str | None,
        typer.Option(help=f"Training method: {', '.join(METHODS)}."),
    ] = None,
    corpus: CorpusOption = None,
    effort: Annotated[
        str | None,
        typer.Option(help=f"Of the ensemble, which is the default: {', '.join(EFFORTS)}."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Settings that ship with postsense.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    settings: SetOption = None,
    label: LabelOption = None,
    split: Annotated[str | None, typer.Option(help="Split column, such as splits.grouped.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Table to select epochs by.")] = None,
    images: ImagesOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="First random seed.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train this many seeds.")] = 1,
) -> None:
    """Train a classifier on the labelled posts of TABLE and measure it on its val and test rows."""
    from postsense.config.loading import load_config

    given = {
        "method": method,
        "retrieval.corpus": corpus,
        "data.columns.label": label,
        "data.columns.split": split,
        "data.image_root": images,
        "seed": seed,
        "ensemble.effort": effort,
    }
    values = {key: value for key, value in given.items() if value is not None}
    resolved = load_config(preset, config, settings or (), values, default_method="ensemble")
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
    config: LocalConfigOption = None,
    settings: LocalSetOption = None,
    images: ImagesOption = None,
    seen: Annotated[
        bool, typer.Option("--seen", help="Measure posts too that the run was trained on.")
    ] = False,
    positive_class: Annotated[
        str | None, typer.Option(help="Class that `binary` metrics are about.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a trained run on the labelled posts of TABLE.

    Where TABLE has no test split and none is named, posts that the run has seen are left out.
    """
    from postsense.commands.terminal import print_evaluation, say_json
    from postsense.config import UNREAD_IN_PREDICT
    from postsense.config.local import load_local, named_corpus
    from postsense.evaluation.groups import columns_of
    from postsense.predictor import Predictor
    from postsense.runs.training import load_run

    classifiers = load_run(run, load_local(config, settings or (), named_corpus(corpus)))
    columns = classifiers[0].config.data.columns
    if label is not None:
        columns = columns.model_copy(update={"label": label})
    optional = set(UNREAD_IN_PREDICT) - {"label"} - ({"split"} if split else set())
    posts = _load(
        *(table, classifiers[0].config, images),
        columns=columns,
        require=("label",),
        optional=optional,
        extra=columns_of(by),
        reads=classifiers[0].config.columns_read("label", "split"),
    )
    with _progress() as progress, Predictor(classifiers) as predictor:
        report = predictor.evaluate(
            posts,
            split,
            progress,
            by,
            only_new=not seen,
            positive_class=positive_class,
        )
    if as_json:
        say_json(report)
    else:
        print_evaluation(report, f"{run} on {table}")


@app.command()
def predict(
    run: RunArgument,
    table: TableArgument,
    out: Annotated[Path, typer.Option(help="Predictions: .parquet, .jsonl or .csv.")],
    corpus: CorpusOption = None,
    config: LocalConfigOption = None,
    settings: LocalSetOption = None,
    images: ImagesOption = None,
    csv_safe: CsvSafeOption = False,
) -> None:
    """Write the label of every post in TABLE and one probability for each class.

    A run of several seeds gives the mean of their probabilities. A model that reads comments also
    names those that hinted and how much attention each got; --corpus says where the corpus is now.
    """
    from postsense.commands.terminal import print_bad_rows, say
    from postsense.config import UNREAD_IN_PREDICT
    from postsense.config.local import load_local, named_corpus
    from postsense.data.writing import refuse_unfit_output, write_bad_rows_beside, write_table
    from postsense.predictor import Predictor
    from postsense.runs.folder import files_of
    from postsense.runs.training import load_run

    refuse_unfit_output(out, [table, *files_of(run)])
    classifiers = load_run(run, load_local(config, settings or (), named_corpus(corpus)))
    used = classifiers[0].config
    reads = used.columns_read()
    posts = _load(table, used, images, optional=UNREAD_IN_PREDICT, reads=reads)
    with _progress() as progress, Predictor(classifiers) as predictor:
        predictions = predictor.predict(posts, progress)
    write_table(predictions.to_table(), out, csv_safe=csv_safe)
    print_bad_rows(predictions.bad, len(posts), write_bad_rows_beside(out, predictions.bad))
    say(f"{len(posts)} predictions in {out}")


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders; the others are compared with the first. baseline:NAME is a simple"
            " answer (majority, tfidf, text, image, regression) that train measured beside one of"
            " these runs: the first that has it."
        ),
    ],
    split: Annotated[str, typer.Option(help="Which predictions to compare: test or val.")] = "test",
    by: ByOption = None,
    table: Annotated[Path | None, typer.Option(help="The runs' posts, for --by.")] = None,
    config: LocalConfigOption = None,
    settings: LocalSetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mean ± sd over seeds of each run, and how each differs from the first on the same posts."""
    from postsense.commands.terminal import print_comparison, say_json
    from postsense.config.local import load_local
    from postsense.runs.comparison import compare_run_folders

    local = load_local(config, settings or ())
    comparison = compare_run_folders(runs, split, by, table, local)
    if as_json:
        say_json(comparison)
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
    images: ImagesOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train this many seeds of each.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Measure what comments, self-training and retrieval bring, each alone and all together."""
    from postsense.commands.terminal import print_comparison, say_json, say_title
    from postsense.config.loading import load_config
    from postsense.runs.ablation import ablate as ablate_method

    given = {
        "method": "self_training",
        "data.columns.label": label,
        "data.columns.split": split,
        "data.image_root": images,
        "retrieval.corpus": corpus,
    }
    values = {key: value for key, value in given.items() if value is not None}
    config = load_config(preset, None, settings or (), values)
    reads = config.columns_read("label", "split")
    posts = _load(table, config, require=("label",), reads=reads)
    names = [name.strip() for name in groups.split(",")]
    with _progress() as progress:
        tables = ablate_method(posts, config, out, seeds=seeds, groups=names, progress=progress)
    if as_json:
        say_json(tables)
        return
    for group, comparison in tables.items():
        say_title(group)
        print_comparison(comparison)


@app.command()
def check(
    table: TableArgument,
    label: LabelOption = None,
    split: Annotated[str | None, typer.Option(help="Split column.")] = None,
    images: ImagesOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report what is in TABLE and what is wrong with it: pictures, texts, duplicates, labels."""
    from postsense.commands.terminal import print_check, say_json
    from postsense.config.loading import load_config
    from postsense.data.checking import CHECKED, check_posts
    from postsense.encoders.unread import unread_of

    given = {
        "data.columns.label": label,
        "data.columns.split": split,
        "data.image_root": images,
    }
    values = {key: value for key, value in given.items() if value is not None}
    config = load_config(None, None, settings or (), values)
    posts = _load(table, config, reads=CHECKED)
    with _progress() as progress:
        report = check_posts(posts, progress)
    try:
        unread = unread_of(posts, config.encoders)
        note, numbers = unread.line(), unread.to_dict()
    except EncoderError as error:
        note, numbers = f"what the text encoder cannot read is not counted: {error}", None
    if as_json:
        say_json(report.to_dict() | {"unread": numbers})
    else:
        print_check(report, str(table), [note])


@app.command()
def presets() -> None:
    """List the settings that ship with postsense, for --preset."""
    from postsense.commands.terminal import say
    from postsense.config.loading import preset_titles

    for name, title in preset_titles().items():
        say(f"{name:22s}{title}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for posts, run and predictions.")] = Path(
        "demo"
    ),
    posts: Annotated[int, typer.Option(min=30, help="Posts to draw.")] = 600,
) -> None:
    """Draw posts with a known right answer, train, evaluate, predict, borrow comments."""
    from postsense.commands.demo import show_demo
    from postsense.files.locking import writing_to

    with writing_to(out, "demo"):
        show_demo(out, posts, _run_command)


def main() -> None:
    """Run the command line; what a user can mend is one line and exit code 2."""
    level = logging.WARNING if is_main() else logging.ERROR
    _stop_at_no_character()
    log = logging.StreamHandler()
    log.setFormatter(EscapedFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[log])
    warnings.formatwarning = escaped_warning
    warnings.filterwarnings("ignore", module="PIL")  # of pictures; we tell what is wrong with them
    try:
        _refuse_several_processes(sys.argv[1:2])
        app()
    except Exception as error:  # OSError: a place not to be written
        mendable = isinstance(error, PostsenseError | OSError) or is_full(error)
        if process_count() > 1 and not (mendable and is_main()):
            time.sleep(LEAD_S)
        if not mendable:
            sys.excepthook = print_traceback
            raise
        line = str(error).replace("\n", " ")  # names of files and classes may hold line breaks
        typer.echo(f"error: {shown(line)}", err=True)
        sys.exit(2)


def _stop_at_no_character() -> None:
    """Where a terminal or a pipe lacks a character, its number is written; JSON is always UTF-8."""
    encoding = "utf-8" if "--json" in sys.argv else None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def _refuse_several_processes(verb: list[str]) -> None:
    if process_count() > 1 and verb != ["train"]:
        where, found = f"{process_count()} processes", " ".join(verb) or "no verb"
        raise ConfigError(where, "the verb 'train'", f"'{found}'", "Run it without a launcher.")


def _train(table: Path, out: Path, config: "Config", validation: Path | None, seeds: int) -> None:
    from postsense.commands.terminal import print_run
    from postsense.runs.training import train_run
    from postsense.training.fitting import required_columns

    reads = config.columns_read("label", "split")
    posts = _load(table, config, require=required_columns(config), reads=reads)
    held_out = None
    if validation is not None:
        held_out = _load(validation, config, require=("label",), optional=("split",), reads=reads)
    with _progress() as progress:
        how: Any = {"seeds": seeds, "validation": held_out, "progress": progress}
        summary = train_run(posts, config, out, **how, announce=_announce)
    if is_main():
        print_run(summary)
    part_ways()


def _announce(config: "Config", posts: int) -> None:
    """Say what an ensemble takes before it takes it."""
    from postsense.commands.ensembles import announcement
    from postsense.commands.terminal import say

    if config.declared_method.combines and is_main():
        say(announcement(config, posts))


def _run_command(*words: object) -> None:
    """Run one command line; its errors are the caller's."""
    app([str(word) for word in words], standalone_mode=False)


def _load(
    table: Path, config: "Config", images: Path | None = None, columns: Any = None, **options: Any
) -> "Posts":
    """The posts as the settings read them; images, columns: in the place of theirs."""
    from postsense.data.loading import load_posts
    from postsense.data.reading import reading_of, with_images

    reading = with_images(reading_of(config), images)
    return load_posts(table, columns or config.data.columns, reading=reading, **options)


def _progress() -> Any:
    from postsense.commands.terminal import progress_bar
    from postsense.progress import silent

    return progress_bar() if is_main() else nullcontext(silent)
