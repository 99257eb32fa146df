"""Every method beside simple answers, by repeated cross-validation that keeps duplicates together.

Usage: python benchmarks/suite.py FOLDER... --out FILE.json [--sets NAME ...] [--methods NAME ...]
    [--efforts quick standard best] [--labels all,8,32] [--repeats 1] [--folds 5] [--jobs 1]
    [--test]

FOLDER is a table of posts, the folder of one, or a folder of such folders, of which --sets names
some. Methods are presets; `ensemble` is run once for each effort. A number of labels is drawn per
class from the train folds anew for every fold, and the rest of these is not used; a class with
fewer gives all it has. Posts of the split `test` are read by --test alone, which trains on train,
selects by val what is selected, and measures test once.

Each result is a line of FILE.json, written when it is there: what is there is not run again. Then
all of FILE.json is printed as Markdown. Posts are encoded once and seconds do not count that.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from postsense.prediction.classifier import predict_rows
from postsense.training.fitting import fit_classifier
from suite_posts import Asked, PostSet, Trial, trials_of, with_val
from suite_simple import MAJORITY, SIMPLE, Answer, Lesson, answer_simply
from suite_tables import Result, headline, print_tables, read_results

METHODS = ("ensemble", "concat", "cross-attention", "text-only", "spp-scl")
REPORTED = ("members", "weights_by", "pool", "penalty", "best_epoch")


@dataclass(frozen=True)
class Work:
    """Trials, methods by the names of their rows, and the file of results."""

    asked: Asked
    methods: tuple[str, ...]
    out: Path


def rows_of(methods: Sequence[str], efforts: Sequence[str]) -> tuple[str, ...]:
    """Simple answers and methods, an ensemble once for each effort."""
    named = dict.fromkeys(methods, ("",)) | {"ensemble": tuple(efforts)}
    rows = (f"{name} {effort}".strip() for name in methods for effort in named[name])
    return (*SIMPLE, *rows)


def tables_below(folders: Sequence[Path], sets: Sequence[str]) -> list[Path]:
    """The tables that the folders are, hold, or hold in folders of the names in sets."""
    found = []
    for folder in folders:
        if folder.is_file():
            found.append(folder)
        elif (folder / "posts.jsonl").is_file():
            found.append(folder / "posts.jsonl")
        else:
            found += sorted(folder.glob("*/posts.jsonl"))
    return [table for table in found if not sets or {table.parent.name, table.stem} & set(sets)]


def run_method(data: PostSet, trial: Trial, method: str) -> Result:
    """Train on a trial's train posts and measure on those that it holds out."""
    splits = trial.splits
    answer = (_simple if method in SIMPLE else _trained)(data, trial, method)
    scores = headline(data.classes[splits.test], answer.predicted)
    return Result(
        set=data.name,
        labels=trial.labels,
        repeat=trial.repeat,
        fold=trial.fold,
        method=method,
        accuracy=scores["accuracy"],
        macro_f1=scores["macro_f1"],
        train=len(splits.train),
        pool=trial.pool,
        tested=len(splits.test),
        seconds=answer.seconds,
        how=answer.how,
    )


def _simple(data: PostSet, trial: Trial, method: str) -> Answer:
    prepared, splits = data.plain, trial.splits
    rows = np.intersect1d(splits.train, prepared.usable)
    lesson = Lesson(prepared, rows, data.classes[rows], data.contents[rows])
    started = time.perf_counter()
    answer = answer_simply(method, lesson, splits.test)
    return replace(answer, seconds=time.perf_counter() - started)


def _trained(data: PostSet, trial: Trial, method: str) -> Answer:
    config = data.config(method, trial.splits, trial.repeat)
    prepared, splits = data.prepared(config), with_val(data, trial.splits, config)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_classifier(splits, prepared, config, Path(folder))
    predicted = predict_rows(fitted.classifier, prepared, splits.test).logits.argmax(axis=1)
    how = {name: fitted.report[name] for name in REPORTED if name in fitted.report}
    return Answer(predicted, how, time.perf_counter() - started)


def run_set(table: Path, work: Work) -> None:
    """Run what the file of results lacks of one set; each result is one line at its end."""
    done = {result.key for result in read_results(work.out)}
    data = PostSet.of(table)
    for trial in trials_of(data, work.asked):
        for method in work.methods:
            tied = method == MAJORITY and trial.labels.isdigit()  # classes are drawn alike
            if tied or (data.name, trial.labels, trial.repeat, trial.fold, method) in done:
                continue
            result = run_method(data, trial, method)
            with work.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            shown = f"{result.accuracy:.4f} {result.macro_f1:.4f} {result.seconds:.1f} s"
            print(*map(str, result.key), shown, file=sys.stderr, flush=True)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--sets", nargs="*", default=())
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--efforts", nargs="*", default=("standard",))
    parser.add_argument("--labels", default="all")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Run what is asked for, and print all results."""
    given = parse(words)
    asked = Asked(tuple(given.labels.split(",")), given.repeats, given.folds, given.test)
    work = Work(asked, rows_of(given.methods, given.efforts), given.out)
    tables = tables_below(given.folders, given.sets)
    whole = read_results(work.out)  # a line that a killed run left unfinished goes
    work.out.parent.mkdir(parents=True, exist_ok=True)
    work.out.write_text("".join(json.dumps(asdict(one)) + "\n" for one in whole), encoding="utf-8")
    if given.jobs > 1:
        with ProcessPoolExecutor(given.jobs) as processes:
            list(processes.map(run_set, tables, [work] * len(tables)))
    else:
        for table in tables:
            run_set(table, work)
    print_tables(read_results(work.out))


if __name__ == "__main__":
    main()
