"""Which posts train, which choose the model and which are kept for the end."""

import re
from collections import Counter
from typing import Any

import pytest

from postsense.data.loading import load_posts
from postsense.data.splitting import Splits, classes_without, split_posts
from postsense.errors import DataError
from postsense.posts import Posts


def posts_of(*cells: tuple[str | None, str | None], prefix: str = "p") -> Posts:
    """Posts of (label, split) pairs."""
    return load_posts(
        [
            {"id": f"{prefix}{number}", "text": "x", "label": label, "split": split}
            for number, (label, split) in enumerate(cells)
        ]
    )


def split(posts: Posts, validation: Posts | None = None, **changes: Any) -> Splits:
    return split_posts(posts, validation, **{"validation_fraction": 0.2, "seed": 0, **changes})


def ids(splits: Splits, part: str) -> list[str]:
    return [splits.posts[int(row)].id for row in getattr(splits, part)]


PAIR = (("yes", "train"), ("no", "train"))


def test_the_split_column_says_which_posts_belong_where() -> None:
    splits = split(posts_of(*PAIR, ("yes", "val"), ("no", "test"), ("no", "holdout"), ("no", None)))

    assert ids(splits, "train") == ["p0", "p1", "p5"]
    assert ids(splits, "val") == ["p2"]
    assert ids(splits, "test") == ["p3"]
    assert splits.classes == ("no", "yes")
    assert not splits.carved


def test_posts_without_a_label_are_left_out_and_counted() -> None:
    splits = split(posts_of((None, "train"), *PAIR, (None, "test"), ("yes", "val")))

    assert ids(splits, "train") == ["p1", "p2"]
    assert ids(splits, "test") == []
    assert splits.unlabeled == 2


def test_without_val_posts_a_share_of_each_class_is_drawn_from_train() -> None:
    splits = split(posts_of(*[("yes", None)] * 50, *[("no", None)] * 10, ("no", "test")))

    labels = Counter(splits.posts[int(row)].label for row in splits.val)
    assert labels == {"yes": 10, "no": 2}
    assert splits.carved
    assert sorted([*splits.train, *splits.val, *splits.test]) == list(range(61))


def test_the_drawn_val_posts_depend_on_the_seed_alone() -> None:
    posts = posts_of(*[("yes", None)] * 50, *[("no", None)] * 50)

    assert ids(split(posts), "val") == ids(split(posts), "val")
    assert ids(split(posts), "val") != ids(split(posts, seed=1), "val")


def test_a_class_never_loses_its_last_train_post_to_val() -> None:
    splits = split(posts_of(("rare", None), *[("common", None)] * 9), validation_fraction=0.49)

    assert "p0" in ids(splits, "train")
    assert len(splits.val) == 4


def test_val_posts_without_labels_do_not_count_as_val() -> None:
    splits = split(posts_of(*[*PAIR] * 5, (None, "val")))

    assert splits.carved
    assert len(splits.val) == 2


def test_a_validation_table_becomes_val_whatever_its_split_column_says() -> None:
    extra = posts_of(("yes", "train"), ("no", None), (None, None), prefix="v")

    splits = split(posts_of(*PAIR, ("yes", "test")), extra)

    assert ids(splits, "val") == ["v0", "v1"]
    assert ids(splits, "train") == ["p0", "p1"]
    assert not splits.carved


def test_val_given_twice_is_refused() -> None:
    message = "no val rows beside a validation table, found 1 rows with split 'val'"
    with pytest.raises(DataError, match=message):
        split(posts_of(*PAIR, ("no", "val")), posts_of(*PAIR, prefix="v"))


def test_ids_in_both_tables_are_refused() -> None:
    with pytest.raises(DataError, match="2 shared ids, the first 'p0'"):
        split(posts_of(*PAIR), posts_of(*PAIR))


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_label_that_train_lacks_is_refused_with_the_nearest_one(part: str) -> None:
    message = (
        f"split '{part}': expected labels that occur in train: ['no', 'yes'], "
        "found 'Yes' in 2 rows and 1 more. Did you mean 'yes'?"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        split(posts_of(*PAIR, ("Yes", part), ("Yes", part), ("maybe", part)))


def test_a_label_of_a_validation_table_that_train_lacks_is_refused() -> None:
    with pytest.raises(DataError, match="found 'maybe' in 1 rows"):
        split(posts_of(*PAIR), posts_of(("maybe", None), prefix="v"))


def test_a_label_of_an_unused_split_may_be_new() -> None:
    assert split(posts_of(*PAIR, ("maybe", "holdout"))).classes == ("no", "yes")


def test_a_single_class_is_refused() -> None:
    message = "expected at least two classes in train, found only 'yes'"
    with pytest.raises(DataError, match=message):
        split(posts_of(("yes", None), ("yes", "train"), ("no", "test")))


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ([(None, "train")], "found no post with a label"),
        ([("yes", "test"), ("no", "a")], "found none among the splits ['a', 'test']"),
    ],
)
def test_nothing_to_train_on_is_refused(cells: list[tuple[str | None, str]], found: str) -> None:
    with pytest.raises(DataError, match=re.escape(found)):
        split(posts_of(*cells))


def kept(posts: Posts, validation: Posts | None = None, **changes: Any) -> Splits:
    return split(posts, validation, unlabeled="keep", **changes)


def test_unlabelled_posts_of_train_may_stay() -> None:
    cells = [(None, "train"), (None, None), ("yes", "val"), ("no", "val"), (None, "val")]

    splits = kept(posts_of(*cells, (None, "test"), ("no", "test"), ("yes", "train")))

    assert ids(splits, "train") == ["p0", "p1", "p7"]
    assert ids(splits, "val") == ["p2", "p3"]
    assert ids(splits, "test") == ["p6"]
    assert splits.classes == ("no", "yes")
    assert (splits.unlabeled, splits.carved) == (2, False)


def test_beside_unlabelled_posts_val_is_drawn_from_the_labelled_ones_one_a_class_at_least() -> None:
    splits = kept(posts_of(*[(None, None)] * 20, *[("yes", None)] * 20, ("no", "train")))

    labels = Counter(splits.posts[int(row)].label for row in splits.val)
    assert labels == {"yes": 4, "no": 1}
    assert splits.carved
    assert sorted([*splits.train, *splits.val]) == list(range(41))


def test_a_validation_table_may_hold_all_labels() -> None:
    extra = posts_of(("yes", None), ("no", None), (None, None), prefix="v")

    splits = kept(posts_of((None, None), (None, "train")), extra)

    assert ids(splits, "val") == ["v0", "v1"]
    assert ids(splits, "train") == ["p0", "p1"]


def test_labels_of_test_alone_leave_val_empty_and_not_carved() -> None:
    splits = kept(posts_of((None, None), ("yes", "test"), ("no", "test")))

    assert len(splits.val) == 0
    assert not splits.carved
    assert splits.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([(None, None)] * 3, "expected labelled posts to name the clusters by"),
        ([(None, None), ("maybe", "holdout")], "expected labelled posts to name the clusters by"),
        ([(None, None), ("yes", "val")], "two classes among the labelled posts, found only 'yes'"),
        ([("yes", "val"), ("no", "val")], "expected posts in split 'train', found none"),
    ],
)
def test_kept_posts_without_labels_to_name_them_are_refused(
    cells: list[tuple[str | None, str | None]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        kept(posts_of(*cells))


def test_without_any_label_the_error_names_the_command_for_it() -> None:
    with pytest.raises(DataError, match="postsense discover TABLE --out RUN --clusters K"):
        kept(posts_of((None, None), (None, "train")))


def test_a_rare_class_is_in_train_and_in_the_val_that_is_drawn() -> None:
    splits = split(
        posts_of(*[("common", None)] * 97, *[("rare", None)] * 3), validation_fraction=0.1
    )

    parts = [[splits.posts[int(row)].label for row in rows] for rows in (splits.train, splits.val)]
    assert [part.count("rare") for part in parts] == [2, 1]
    assert [part.count("common") for part in parts] == [87, 10]
    assert classes_without(splits, "val") == {}


def test_a_class_of_one_post_is_named_with_its_count() -> None:
    splits = split(posts_of(("lone", None), *[("twin", None)] * 2, *[("common", None)] * 9))

    assert Counter(splits.posts[int(row)].label for row in splits.val) == {"twin": 1, "common": 2}
    assert classes_without(splits, "val") == {"lone": 1}
    assert list(classes_without(splits, "test")) == ["common", "lone", "twin"]


def test_ids_that_were_made_up_give_way_to_those_of_the_other_table() -> None:
    rows = [{"text": "x", "label": label} for label in ("yes", "no")]
    bare, given = load_posts(rows), load_posts([{**row, "id": n} for n, row in enumerate(rows)])

    assert ids(split(bare, bare), "train") == ids(split(given, bare), "train") == ["0", "1"]
    assert ids(split(bare, bare), "val") == ids(split(given, bare), "val") == ["val-0", "val-1"]
    assert ids(split(bare, given), "train") == ["row-0", "row-1"]
    assert ids(split(bare, given), "val") == ["0", "1"]
