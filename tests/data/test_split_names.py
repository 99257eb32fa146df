"""Splits are known by many names; all others are left to be counted."""

import pytest

from postsense.data.split_names import known_split

NAMES = {
    "train": "train Train TRAIN training trn train_full train_set trainset train-00000-of-00001",
    "val": "val dev Valid validation dev_seen dev_unseen validation_matched dev-set eval devset"
    " validation-mismatched development val.full evaluation VALIDATION_MISMATCHED",
    "test": "test Testing tst test_seen test_unseen test_matched test-split TESTSET"
    " test-00001-of-00002.parquet",
}


@pytest.mark.parametrize("split", NAMES)
def test_common_names_are_understood(split: str) -> None:
    names = NAMES[split].split()
    assert {name: known_split(name) for name in names} == dict.fromkeys(names, split)


def test_blanks_do_not_count() -> None:
    names = ("TRAIN ", " train\t", "\ufefftrain", "train\xa0", "train set")
    assert {name: known_split(name) for name in names} == dict.fromkeys(names, "train")


def test_other_names_are_not_guessed_at() -> None:
    names = ("holdout", "0", "1", "fold3", "Traindev", "seen", "unlabeled", "set", "data", "")
    assert {name: known_split(name) for name in names} == dict.fromkeys(names)
