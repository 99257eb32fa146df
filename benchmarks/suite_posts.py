"""The posts of a set → the trials of a benchmark: what is learned from and what is held out."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
from postsense.training.ensemble.resolving import resolve_ensemble
from postsense.training.fitting import prepare_splits, split_for_method
from postsense.training.folds import folds_of, groups_of

SPLIT_COLUMNS = {"mvsa_single": "splits.grouped"}


@dataclass(frozen=True)
class Asked:
    """Which trials: labels: each "all" or a number a class. test: the test split alone."""

    labels: tuple[str, ...] = ("all",)
    repeats: int = 1
    folds: int = 5
    test: bool = False


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
