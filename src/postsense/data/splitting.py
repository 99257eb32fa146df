"""Labelled posts → train, val and test, with every label known to train."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from postsense.errors import DataError, nearest
from postsense.posts import Posts

KNOWN_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Splits:
    """All labelled posts that a run uses, which of them belong where, and the K class names.

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
    posts: Posts, validation: Posts | None, *, validation_fraction: float, seed: int
) -> Splits:
    """Read the split column, add `validation` as val, or draw val from train, class by class.

    Rows without a split are train rows. Rows of a split other than train, val and test are not
    used. Without any labelled val post, validation_fraction of train becomes val.

    Raises: DataError: nothing to train on, a single class, a label in val or test that train lacks,
        val given twice, an id in both tables.
    """
    labeled = posts.labeled()
    name = np.array([split or "train" for split in labeled.column("split")], dtype=object)
    unlabeled = len(posts) - len(labeled)
    if validation is not None:
        labeled, name = _with_validation(labeled, name, validation)
    rows = {split: np.flatnonzero(name == split) for split in KNOWN_SPLITS}
    labels = np.array(labeled.column("label"), dtype=object)
    classes = _classes(posts.name, labels[rows["train"]], sorted(set(name)))
    for split in ("val", "test"):
        _refuse_unknown(posts.name, split, labels[rows[split]], classes)
    carved = len(rows["val"]) == 0
    if carved:
        train = rows["train"]
        chosen = _draw(labels[train], validation_fraction, seed)
        rows["train"], rows["val"] = train[~chosen], train[chosen]
    return Splits(labeled, rows["train"], rows["val"], rows["test"], classes, carved, unlabeled)


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
    shared = sorted(set(labeled.column("id")) & set(extra.column("id")))
    if shared:
        raise DataError(
            validation.name,
            f"ids that are not in {labeled.name}",
            f"{len(shared)} shared ids, the first '{shared[0]}'",
            "Remove them from one table.",
        )
    table = pa.concat_tables([labeled.table, extra.table])
    return Posts(table, labeled.name), np.concatenate([name, np.full(len(extra), "val")])


def _classes(where: str, labels: np.ndarray, splits: list[str]) -> tuple[str, ...]:
    classes = tuple(sorted(set(labels)))
    if not classes:
        found = f"none among the splits {splits}" if splits else "no post with a label"
        raise DataError(
            where,
            "labelled posts in split 'train'",
            found,
            "Name the columns with --label and --split.",
        )
    if len(classes) < 2:
        raise DataError(
            where,
            "at least two classes in train",
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


def _draw(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A mask over labels: about `fraction` of each class, which keeps one post at least."""
    generator = np.random.default_rng([seed, len(labels)])
    chosen = np.zeros(len(labels), dtype=bool)
    for label in sorted(set(labels)):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen[rows[: min(len(rows) - 1, round(fraction * len(rows)))]] = True
    return chosen
