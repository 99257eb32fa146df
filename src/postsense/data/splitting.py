"""Posts → train, val and test, with every label of val and test known."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from postsense.data.identities import free_ids
from postsense.errors import DataError, nearest
from postsense.posts import SCHEMA, Posts

KNOWN_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Splits:
    """All posts that a run uses, which of them belong where, and the K class names.

    train, val, test: positions in posts; val and test may be empty. carved: whether val was drawn
    from train because the table had none. unlabeled: posts left out for want of a label.
    """

    posts: Posts
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    classes: tuple[str, ...]
    carved: bool
    unlabeled: int


def split_posts(
    posts: Posts,
    validation: Posts | None,
    *,
    validation_fraction: float,
    seed: int,
    unlabeled: Literal["leave_out", "keep"] = "leave_out",
    draw_val: bool = True,
) -> Splits:
    """Read the split column, add `validation` as val, or draw val from train, class by class.

    Rows without a split are train rows. Rows of a split other than train, val and test are not
    used. Without any labelled val post, validation_fraction of train becomes val: of a class of
    two posts or more one at least, and all but one at most. Ids that were made up for one of two
    tables give way to those of the other.

    draw_val: False: where there is no val post, there is none.
    unlabeled: "keep": posts of train without a label stay. Then the classes are those of all
        labelled posts, and val is drawn from the labelled posts of train, one a class at least:
        nothing is trained on their labels.
    Raises: DataError: nothing to train on, a single class, a label in val or test that train lacks,
        val given twice, an id in both tables; "keep": no labelled post at all.
    """
    keep = unlabeled == "keep"
    used = _with_unlabeled_train(posts) if keep else posts.labeled()
    left_out = len(posts) - len(used)
    name = np.array([split or "train" for split in used.column("split")], dtype=object)
    if validation is not None:
        used, name = _with_validation(used, name, validation)
    rows = {split: np.flatnonzero(name == split) for split in KNOWN_SPLITS}
    labels = np.array(used.column("label"), dtype=object)
    classes = (_named_classes if keep else _classes)(posts.name, labels, name)
    for split in ("val", "test"):
        _refuse_unknown(posts.name, split, labels[rows[split]], classes)
    carved = draw_val and len(rows["val"]) == 0
    if carved:
        train = rows["train"][[label is not None for label in labels[rows["train"]]]]
        chosen = train[_draw(labels[train], validation_fraction, seed, least=1, last=keep)]
        rows["train"], rows["val"] = np.setdiff1d(rows["train"], chosen), chosen
        carved = not keep or len(chosen) > 0
    return Splits(used, rows["train"], rows["val"], rows["test"], classes, carved, left_out)


def thin_train(splits: Splits, fraction: float, seed: int) -> Splits:
    """The splits with about this fraction of each class's train posts, one at least."""
    if fraction == 1.0:
        return splits
    labels = np.array(splits.posts.column("label"), dtype=object)[splits.train]
    dropped = _draw(labels, 1.0 - fraction, seed)
    return replace(splits, train=splits.train[~dropped])


def _with_validation(
    labeled: Posts, name: np.ndarray, validation: Posts
) -> tuple[Posts, np.ndarray]:
    extra = validation.labeled()
    if (name == "val").any():
        raise DataError(
            labeled.name,
            "no val rows beside a validation table",
            f"{int((name == 'val').sum())} rows with split 'val'",
            "Leave out --validation, or the val rows.",
        )
    labeled, extra = _told_apart(labeled, extra)
    table = pa.concat_tables([labeled.table, extra.table])
    return labeled.with_table(table), np.concatenate([name, np.full(len(extra), "val")])


def _told_apart(posts: Posts, more: Posts) -> tuple[Posts, Posts]:
    """Both, without an id that they share; made-up ones give way. Raises: DataError: others."""
    ids, others = posts.column("id"), more.column("id")
    shared = sorted(set(ids) & set(others))
    if not shared:
        return posts, more
    if more.made_ids:
        return posts, _with_ids(more, free_ids(others, set(ids), "val-"))
    if posts.made_ids:
        return _with_ids(posts, free_ids(ids, set(others), "row-")), more
    raise DataError(
        more.name,
        f"ids that are not in {posts.name}",
        f"{len(shared)} shared ids, the first '{shared[0]}'",
        "Remove them from one table.",
    )


def _with_ids(posts: Posts, ids: list[str]) -> Posts:
    column = pa.array(ids, pa.string())
    return posts.with_table(posts.table.set_column(0, SCHEMA.field("id"), column), posts.extra)


def _with_unlabeled_train(posts: Posts) -> Posts:
    """The labelled posts, and those of train that have no label."""
    pairs = zip(posts.column("label"), posts.column("split"), strict=True)
    kept = [label is not None or split in (None, "train") for label, split in pairs]
    return posts.take(np.flatnonzero(kept))


def _classes(where: str, labels: np.ndarray, name: np.ndarray) -> tuple[str, ...]:
    """The classes that occur in train."""
    classes, splits = tuple(sorted(set(labels[name == "train"]))), sorted(set(name))
    if not classes:
        found = f"none among the splits {splits}" if splits else "no post with a label"
        raise DataError(
            where,
            "labelled posts in split 'train'",
            found,
            "Name the columns with --label and --split.",
        )
    return _several(where, classes, "in train")


def _named_classes(where: str, labels: np.ndarray, name: np.ndarray) -> tuple[str, ...]:
    """The classes that occur in train, val or test."""
    if not (name == "train").any():
        fix = "Name the column with --split; posts of no split are train."
        raise DataError(where, "posts in split 'train'", "none", fix)
    classes = tuple(sorted(set(labels[np.isin(name, KNOWN_SPLITS)]) - {None}))
    if not classes:
        raise DataError(
            where,
            "labelled posts to name the clusters by",
            "no post with a label",
            "Name the column with --label,"
            " or use 'postsense discover TABLE --out RUN --clusters K'.",
        )
    return _several(where, classes, "among the labelled posts")


def _several(where: str, classes: tuple[str, ...], among: str) -> tuple[str, ...]:
    if len(classes) < 2:
        raise DataError(
            where,
            f"at least two classes {among}",
            f"only '{classes[0]}'",
            "Add posts of another class, or choose another --label column.",
        )
    return classes


def _refuse_unknown(where: str, split: str, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    unknown = Counter(label for label in labels if label not in classes)
    if unknown:
        label, count = unknown.most_common(1)[0]
        raise DataError(
            f"{where}, split '{split}'",
            f"labels that occur in train: {list(classes)}",
            f"'{label}' in {count} rows"
            + (f" and {len(unknown) - 1} more" if unknown[label] != sum(unknown.values()) else ""),
            f"{nearest(label, classes)} Or move some of these posts to train.",
        )


def classes_without(splits: Splits, part: Literal["val", "test"]) -> dict[str, int]:
    """The classes that no post of val, or test, has, and how many posts of train have each."""
    labels = np.array(splits.posts.column("label"), dtype=object)
    present, trained = set(labels[getattr(splits, part)]), Counter(labels[splits.train])
    return {name: trained[name] for name in splits.classes if name not in present}


def _draw(
    labels: np.ndarray, fraction: float, seed: int, least: int = 0, *, last: bool = False
) -> np.ndarray:
    """A mask over labels: about `fraction` of each class, `least` posts at least.

    A class keeps one post at least that is not chosen, unless `last` says that it may be.
    """
    generator = np.random.default_rng([seed, len(labels)])
    chosen = np.zeros(len(labels), dtype=bool)
    for label in sorted(set(labels)):
        rows = generator.permutation(np.flatnonzero(labels == label))
        wanted = min(len(rows) - 1, max(least, round(fraction * len(rows))))
        chosen[rows[: max(least, wanted) if last else wanted]] = True
    return chosen
