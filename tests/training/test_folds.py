"""Folds keep duplicates together and classes in equal shares, and work with hardly any labels."""

import numpy as np
import pytest

from postsense.training.folds import folds_of, groups_of


def contents(texts: list[int], pictures: list[int]) -> np.ndarray:
    return np.array([texts, pictures], dtype=np.int64).T


def test_posts_that_share_text_or_picture_are_one_group_through_others_too() -> None:
    groups = groups_of(contents([0, 0, 1, 2, -1, -1], [5, 6, 6, 7, 8, -1]))
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], *groups[3:]}) == 4  # what a post lacks joins nothing


def test_duplicates_are_in_one_fold_and_classes_in_all() -> None:
    labels = np.arange(100) % 2
    texts = [number // 2 // 2 * 2 + number % 2 for number in range(100)]  # pairs of one class
    fold = folds_of(labels, contents(texts, [-1] * 100), 5, seed=3)
    for text in set(texts):
        assert len(set(fold[np.array(texts) == text])) == 1
    shares = [labels[fold == each].mean() for each in range(5)]
    assert shares == pytest.approx([0.5] * 5, abs=0.11)


@pytest.mark.parametrize(("counts", "expected"), [([8, 3], 3), ([9, 1], 2), ([1, 1], 1)])
def test_there_are_no_more_folds_than_can_be_learned_from(counts: list[int], expected: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    fold = folds_of(labels, contents(list(range(len(labels))), [-1] * len(labels)), 5, seed=0)
    assert len(set(fold)) == expected


def test_posts_that_are_all_alike_are_one_fold() -> None:
    assert set(folds_of(np.array([0, 1, 0, 1]), contents([4] * 4, [-1] * 4), 5, seed=0)) == {0}


def test_the_seed_decides() -> None:
    labels, single = np.arange(60) % 3, contents(list(range(60)), [-1] * 60)
    first, again = folds_of(labels, single, 5, seed=1), folds_of(labels, single, 5, seed=1)
    other = folds_of(labels, single, 5, seed=2)
    assert (first == again).all() and (first != other).any()
