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
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from postsense.arrays import Array
from postsense.config import Config
from postsense.config.loading import load_config
from postsense.config.members import member_configs
from postsense.data.loading import load_posts
from postsense.data.reading import reading_of
from postsense.data.splitting import Splits
from postsense.errors import DataError
from postsense.inputs.preparation import PreparedPosts
from postsense.inputs.readings import reading_key
from postsense.prediction.classifier import predict_rows
from postsense.training.ensemble.resolving import resolve_ensemble
from postsense.training.fitting import fit_classifier, prepare_splits, split_for_method
from postsense.training.folds import folds_of, groups_of
from suite_simple import SIMPLE, Answer, Lesson, answer_simply
from suite_tables import Result, headline, print_tables, read_results

METHODS = ("ensemble", "concat", "cross-attention", "text-only", "spp-scl")
REPORTED = ("members", "weights_by", "pool", "penalty", "best_epoch")
SPLIT_COLUMNS = {"mvsa_single": "splits.grouped"}


@dataclass(frozen=True)
class Asked:
    """What is run. labels: each "all" or a number a class."""

    methods: tuple[str, ...]
    efforts: tuple[str, ...]
    labels: tuple[str, ...]
    repeats: int
    folds: int
    test: bool
    out: Path

    @property
    def names(self) -> tuple[str, ...]:
        """Simple answers and methods, an ensemble once for each effort."""
        efforts = tuple(f"ensemble {effort}" for effort in self.efforts)
        named = ((efforts if name == "ensemble" else (name,)) for name in self.methods)
        return (*SIMPLE, *(name for names in named for name in names))


@dataclass(frozen=True)
class Trial:
    """What is learned from and what is measured. pool: posts that train was drawn from."""

    labels: str
    repeat: int
    fold: int
    splits: Splits
    pool: int


@dataclass
class PostSet:
    """The posts of one set, and each way in which they have been prepared so far.

    column: the table's own for splits. duplicates: (N,) numbers of the table's own groups of posts
    with the same text or picture, -1: none. readings: by what tells ways of preparing apart.
    """

    name: str
    splits: Splits
    column: str
    duplicates: Array
    readings: dict[tuple[str, ...], PreparedPosts] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Path) -> "PostSet":
        """The labelled posts of a table. Raises: DataError: as `load_posts` and `split_posts`."""
        name = table.parent.name if table.name.startswith("posts.") else table.stem
        column = SPLIT_COLUMNS.get(name, "split")
        config = load_config("ensemble", values={"data.columns.split": column})
        how: dict[str, Any] = {"reading": reading_of(config)}
        how["reads"] = config.columns_read("label", "split", "comments")
        try:
            posts = load_posts(table, config.data.columns, extra=("dup_group",), **how)
        except DataError:
            posts = load_posts(table, config.data.columns, **how)
        splits = split_for_method(posts, None, config)
        groups = splits.posts.extra.get("dup_group", [None] * len(splits.posts))
        _, numbers = np.unique([str(group) for group in groups], return_inverse=True)
        return cls(name, splits, column, np.where([g is None for g in groups], -1, numbers))

    def config(self, method: str, splits: Splits, seed: int) -> Config:
        """The settings of a method, with the members that these splits ask for."""
        preset, _, effort = method.partition(" ")
        values: dict[str, Any] = {"data.columns.split": self.column, "seed": seed}
        if effort:
            values["ensemble.effort"] = effort
        return resolve_ensemble(load_config(preset, values=values), splits)

    def prepared(self, config: Config) -> PreparedPosts:
        """All posts as the settings read them, made once."""
        readers = [config, *member_configs(config).values()]
        key = tuple(sorted({reading_key(one) for one in readers}))
        if key not in self.readings:
            self.readings[key] = prepare_splits(self.splits, config)
        return self.readings[key]

    @property
    def plain(self) -> PreparedPosts:
        """The posts with the words and pictures that simple answers read."""
        config = load_config("regression", values={"data.columns.split": self.column})
        return self.prepared(config)

    @property
    def contents(self) -> Array:
        """(N, 3) numbers of texts, pictures and the table's own groups, equal where duplicates."""
        return np.hstack([self.plain.contents, self.duplicates[:, None]])

    @property
    def classes(self) -> Array:
        """(N,) the class number of each post."""
        numbers = {name: number for number, name in enumerate(self.splits.classes)}
        labels = self.splits.posts.column("label")
        return np.array([numbers.get(label, -1) for label in labels])


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


def trials_of(data: PostSet, asked: Asked) -> Iterator[Trial]:
    """Each fold of each repeat with each number of labels, or the test split alone."""
    if asked.test:
        yield Trial("test", 0, 0, data.splits, len(data.splits.train))
        return
    pool = np.union1d(data.splits.train, data.splits.val)
    pool = np.intersect1d(pool, data.plain.usable)
    classes, contents = data.classes, data.contents
    assert not set(pool) & set(data.splits.test)
    for labels in asked.labels:
        for repeat in range(asked.repeats):
            fold = folds_of(classes[pool], contents[pool], asked.folds, repeat)
            for number in np.unique(fold):
                held, rest = pool[fold == number], pool[fold != number]
                groups = groups_of(contents)
                assert not set(groups[held]) & set(groups[rest])
                train = rest if labels == "all" else drawn(rest, classes, int(labels), repeat)
                splits = replace(data.splits, train=train, val=train[:0], test=held)
                yield Trial(labels, repeat, int(number), splits, len(rest))


def drawn(rows: Array, classes: Array, count: int, repeat: int) -> Array:
    """As many of these rows of each class, or all that there are."""
    generator = np.random.default_rng([repeat, count, int(rows.sum())])
    of_class = (rows[classes[rows] == number] for number in np.unique(classes[rows]))
    return np.sort(np.concatenate([generator.permutation(own)[:count] for own in of_class]))


def with_val(data: PostSet, splits: Splits, config: Config) -> Splits:
    """The splits with some of train to select epochs by, where the method needs them."""
    if not config.declared_method.iterates or len(splits.val):
        return splits
    train, parts = splits.train, round(1 / config.data.validation_fraction)
    fold = folds_of(data.classes[train], data.contents[train], parts, config.seed)
    return replace(splits, train=train[fold != 0], val=train[fold == 0])


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


def run_set(table: Path, asked: Asked) -> None:
    """Run what FILE.json lacks of one set; each result is one line at its end."""
    done = {result.key for result in read_results(asked.out)}
    data = PostSet.of(table)
    for trial in trials_of(data, asked):
        for method in asked.names:
            if (data.name, trial.labels, trial.repeat, trial.fold, method) in done:
                continue
            result = run_method(data, trial, method)
            with asked.out.open("a", encoding="utf-8") as file:
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
    asked = Asked(
        methods=tuple(given.methods),
        efforts=tuple(given.efforts),
        labels=tuple(given.labels.split(",")),
        repeats=given.repeats,
        folds=given.folds,
        test=given.test,
        out=given.out,
    )
    tables = tables_below(given.folders, given.sets)
    whole = read_results(asked.out)  # a line that a killed run left unfinished goes
    asked.out.write_text("".join(json.dumps(asdict(one)) + "\n" for one in whole), encoding="utf-8")
    if given.jobs > 1:
        with ProcessPoolExecutor(given.jobs) as processes:
            list(processes.map(run_set, tables, [asked] * len(tables)))
    else:
        for table in tables:
            run_set(table, asked)
    print_tables(read_results(asked.out))


if __name__ == "__main__":
    main()
