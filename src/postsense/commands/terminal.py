"""Reports → the terminal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from postsense.commands.ensembles import member_table, pool_line
from postsense.commands.results import floor_lines, results_table
from postsense.escaping import json_line, shown
from postsense.evaluation.looking_back import told
from postsense.evaluation.metrics import HEADLINE
from postsense.posts import Posts
from postsense.progress import Progress

if TYPE_CHECKING:
    from postsense.corpus.reports import BuildReport
    from postsense.corpus.statistics import CorpusStatistics
    from postsense.data.bad_rows import BadRow
    from postsense.data.checking import TableReport
    from postsense.retrieval.answers import Answer
    from postsense.retrieval.index import IndexReport
    from postsense.runs.training import RunSummary

WIDTH_IN_PIPE = 1000
SHOWN_COMMENTS = 3
SHOWN_WIDTH = 280
DISTANCES = {
    "image_image": "pictures",
    "text_text": "texts",
    "image_text": "pictures and texts",
}
TITLES = {"accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar for each step on standard error; finished bars vanish, and so do pipes' bars."""
    columns = (
        TextColumn("{task.description:16s}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, highlight=False)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(shown(step))
            bars.update(tasks[step], completed=done, total=total)

        yield report


def say(text: str) -> None:
    """Print one line, whatever is in it."""
    typer.echo(shown(text))


def say_title(title: str) -> None:
    """Print what comes next, below an empty line."""
    typer.echo(f"\n[{shown(title)}]")


def say_json(value: Any) -> None:
    """Print one JSON object."""
    typer.echo(json_line(value))


def print_run(summary: "RunSummary") -> None:
    """What was trained on what, and how good it is on val and test."""
    splits, console = summary.splits, _console()
    val = f"{len(splits.val)} val" + (" (drawn from train)" if splits.carved else "")
    console.print(
        f"{len(splits.train)} train, {val}, {len(splits.test)} test; "
        f"{len(splits.classes)} classes: {', '.join(splits.classes)}"
    )
    if summary.train_fraction < 1:
        console.print(f"{summary.train_fraction:.0%} of train keeps its labels, drawn by the seed")
    for metrics in summary.metrics.values():
        if "kept" in metrics:
            console.print(f"seed {metrics['seed']}: kept the {metrics['kept']}")
    if splits.unlabeled:
        console.print(f"{splits.unlabeled} posts without a label were not used")
    for remark in summary.remarks:
        console.print(remark)
    print_bad_rows(summary.bad, len(splits.posts), summary.folder / "bad_rows.jsonl")
    for metrics in summary.metrics.values():
        if "members" in metrics:
            console.print(member_table(metrics))
            console.print(pool_line(metrics))
    console.print(results_table(summary.metrics))
    for line in floor_lines(summary.metrics):
        console.print(line)
    for split in ("val", "test"):
        measured = [metrics[split] for metrics in summary.metrics.values() if split in metrics]
        for report in measured[:1]:
            _print_absent(report, f"the {split} posts")
        for report in measured:
            _print_binary(report, f"{split}, ")
    console.print(f"run in {summary.folder}")


def print_bad_rows(bad: Sequence["BadRow"], posts: int, file: Path) -> None:
    """How many rows could not be used, one of them, and where all are listed."""
    if bad:
        _console().print(
            f"{len(bad)} of {posts} posts could not be used; all are listed in {file}. "
            f"The first, '{bad[0].id}': {bad[0].reason}"
        )


def print_evaluation(report: Mapping[str, Any], title: str) -> None:
    """Headline metrics, per-class metrics and the confusion matrix."""
    console = _console()
    console.print(f"{title}, split {report['split']}, {report['posts']} posts")
    for name in HEADLINE:
        console.print(f"{TITLES[name]:12s} {_score_of(report, name)}")
    classes = report["classes"]
    table = Table("class", "precision", "recall", "F1", "posts", *[f"→ {name}" for name in classes])
    for name, row in zip(classes, report["confusion"], strict=True):
        scores = report["per_class"][name]
        values = [f"{scores[key]:.4f}" for key in ("precision", "recall", "f1")]
        table.add_row(name, *values, str(scores["posts"]), *map(str, row))
    console.print(table)
    _print_binary(report)
    _print_absent(report)
    if "seen" in report:
        console.print(told(report["seen"]))
    if report["bad_rows"]:
        console.print(f"{report['bad_rows']} posts could not be read and are not counted")
    if "distances" in report:
        _print_distances(report["distances"])
    if "by" in report:
        _print_groups(report["by"])


def _print_binary(report: Mapping[str, Any], where: str = "") -> None:
    """The metrics of the class that is called positive, if there is one."""
    if "binary" in report:
        binary = report["binary"]
        scores = ", ".join(f"{name} {binary[name]:.4f}" for name in ("precision", "recall"))
        name = binary["positive_class"]
        _console().print(f"{where}positive class '{name}': {scores}, F1 {binary['f1']:.4f}")


def _print_absent(report: Mapping[str, Any], where: str = "the posts measured") -> None:
    """Which classes no measured post has."""
    absent = [f"'{name}'" for name, scores in report["per_class"].items() if not scores["posts"]]
    if absent:
        line = f"none of {where} is of {', '.join(absent)}"
        _console().print(f"{line}; macro F1 counts such a class only if it is predicted")


def _print_distances(distances: Mapping[str, Mapping[str, float | None]]) -> None:
    """How far apart posts lie, by whether they share their label."""
    table = Table("mean distance", "same label", "different label")
    for kind, title in DISTANCES.items():
        pairs = [distances[kind][name] for name in ("same_label", "different_label")]
        table.add_row(title, *("-" if value is None else f"{value:.4f}" for value in pairs))
    _console().print(table)


def _print_groups(by: Mapping[str, Any]) -> None:
    """The headline metrics of each group of posts."""
    bad = ["not read"] if any(group["bad_rows"] for group in by["groups"]) else []
    table = Table("group", "posts", *TITLES.values(), *bad, title=f"by {by['column']}")
    for group in by["groups"]:
        scores = [_score_of(group, name) for name in TITLES]
        unread = [str(group["bad_rows"])] if bad else []
        table.add_row(group["value"], str(group["posts"]), *scores, *unread)
    console = _console()
    console.print(table)
    measured = [group["per_class"].values() for group in by["groups"] if group["posts"]]
    if any(one["posts"] == 0 for classes in measured for one in classes):
        console.print("macro F1 is over the classes among a group's labels and predictions")


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Scores of the runs and their differences from the first, then those of each group."""
    console = _console()
    whole = f"{comparison['split']}, {comparison['posts']} posts"
    against = f"against {comparison['runs'][0]['name']}"
    if comparison.get("seen", ()) is None:
        console.print("which of these posts the runs were trained on is not known")
    for one in comparison.get("seen") or ():
        console.print(f"{one['name']} was trained on {one['posts']} of the posts measured")
    _print_scores([comparison], whole)
    _print_differences([comparison], against)
    if "by" in comparison:
        by = comparison["by"]
        _print_scores(by["groups"], f"{whole}, by {by['column']}")
        _print_differences(by["groups"], f"{against}, by {by['column']}")


def _print_scores(parts: Sequence[Mapping[str, Any]], title: str) -> None:
    """Each run's scores on all posts, or on those of each group."""
    groups = ["group", "posts"] if "value" in parts[0] else []
    table = Table(*groups, "run", "seeds", *TITLES.values(), title=title)
    for part in parts:
        named = [part["value"], str(part["posts"])] if groups else []
        for run in part["runs"]:
            scores = [_mean_and_spread(run[name]) for name in TITLES]
            table.add_row(*named, run["name"], str(len(run["seeds"])), *scores)
            named = [""] * len(named)
        table.add_section()
    _console().print(table)


def _print_differences(parts: Sequence[Mapping[str, Any]], title: str) -> None:
    """Each run's differences from the first, if there are others."""
    if not parts[0]["differences"]:
        return
    groups = ["group"] if "value" in parts[0] else []
    columns = ("run", "metric", "difference", "95 % interval", "p (paired t)")
    table = Table(*groups, *columns, title=title)
    for part in parts:
        named = [part["value"]] if groups else []
        for item in part["differences"]:
            p_value = "-" if item["p_value"] is None else f"{item['p_value']:.3g}"
            interval = f"[{item['low']:+.4f}, {item['high']:+.4f}]"
            scores = (TITLES[item["metric"]], f"{item['difference']:+.4f}", interval, p_value)
            table.add_row(*named, item["name"], *scores)
            named = [""] * len(named)
        table.add_section()
    _console().print(table)


def print_check(report: "TableReport", title: str, notes: Sequence[str] = ()) -> None:
    """The report of `postsense check`, a line a finding. notes: lines below it."""
    console = _console()
    console.print(title)
    for line in [*report.lines(), *notes]:
        console.print(line)


def print_build(report: "BuildReport", folder: Path) -> None:
    """What came into a corpus, and what was left out and why."""
    console = _console()
    console.print(f"{report.posts} posts with {report.comments} comments from {report.read} rows")
    for what, dropped in (("posts", report.dropped), ("comments", report.dropped_comments)):
        for reason, count in sorted(dropped.items()):
            if count:
                console.print(f"  {count} {what} dropped: {reason}")
    if report.bad:
        console.print(f"  {len(report.bad)} bad rows, listed in {folder / 'bad_rows.jsonl'}")
    console.print(f"corpus in {folder}")


def print_index(report: "IndexReport") -> None:
    """What kind of index a corpus got, and how good it is."""
    line = f"{report.kind} index of {report.count} posts in {report.seconds:.1f} s"
    if report.recall is not None:
        low, high = report.recall.interval
        line += (
            f", recall {report.recall.mean:.3f} [{low:.3f}, {high:.3f}],"
            f" {report.bytes / report.count:.0f} bytes a post"
        )
    _console().print(line + (f" ({report.note})" if report.note else ""))


def print_statistics(statistics: "CorpusStatistics", title: str) -> None:
    """The numbers of a corpus, overall and by year."""
    table = Table("year", "posts", "words a text", "words a comment", "comments a post")
    rows = {**statistics.years, "all": statistics.overall}
    for year, part in rows.items():
        means = (part.text_words, part.comment_words, part.comments_per_post)
        table.add_row(year, str(part.posts), *[f"{mean:.2f}" for mean in means])
    console = _console()
    console.print(title)
    console.print(table)


def print_answers(answers: Sequence["Answer"]) -> None:
    """Similar posts with their scores and comments."""
    console = _console()
    if not answers:
        console.print("nothing found")
    for rank, answer in enumerate(answers, start=1):
        scores = f"picture {answer.image_score:.3f}, words {answer.text_score:.3f}"
        console.print(f"{rank}. {answer.score:.3f} ({scores}) {answer.id}")
        console.print(f"   {_shortened(answer.text) or '(no text)'}")
        console.print(f"   {answer.image or '(no picture)'}")
        for comment in answer.comments[:SHOWN_COMMENTS]:
            console.print(f"   - {_shortened(comment)}")


def print_samples(posts: Posts, predictions: Path, count: int = 5) -> None:
    """A few test posts with their true and predicted labels, and the hint most attended to."""
    rows = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    hinted = "hints" in rows[0]
    columns = ("text", "picture", "label", "predicted", "probability")
    table = Table(*columns, *(["first hint"] if hinted else []))
    found = {row["id"]: row for row in rows}
    for post in posts.split("test")[:count]:
        row = found[post.id]
        label = str(row["label"])
        probability = f"{row['prob_' + label]:.2f}"
        picture = Path(post.image).name if post.image else "-"
        hint = [row["hints"][0]["comment"] if row["hints"] else "-"] if hinted else []
        table.add_row(post.text or "-", picture, post.label, label, probability, *hint)
    _console().print(table)


def _score_of(report: Mapping[str, Any], name: str) -> str:
    """A metric, with its deviation over seeds if there are several; "-" if nothing was measured."""
    if name not in report:
        return "-"
    spread = f" ± {report['sd'][name]:.4f}" if "sd" in report else ""
    return f"{report[name]:.4f}{spread}"


def _mean_and_spread(score: Mapping[str, Any]) -> str:
    spread = "" if score["sd"] is None else f" ± {score['sd']:.4f}"
    return f"{score['mean']:.4f}{spread}"


def _shortened(text: str | None) -> str:
    return "" if text is None or not text.strip() else shorten(text, SHOWN_WIDTH, placeholder=" …")


class _PlainConsole(Console):
    """Escapes what is printed, be it a line, a cell or a title, before its width is measured."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as it may be shown; rich makes one of every string that it is given."""
        return super().render_str(shown(text), **options)


def _console() -> Console:
    """Prints names of files and classes as they are, and in a pipe or a file cuts no table."""
    console = _PlainConsole(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_PIPE
    return console
