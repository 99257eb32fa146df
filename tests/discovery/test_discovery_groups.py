"""Groups from probabilities: sizes, labels, typical posts."""

from typing import Any

import numpy as np
import pytest

from postsense.discovery.groups import (
    Group,
    GroupedPosts,
    describe_groups,
    order_by_size,
    typical_posts,
)


def grouped(probs: Any, **others: Any) -> GroupedPosts:
    """Posts of these probabilities, each with a text and a picture of its own."""
    count = len(probs)
    given = {
        "ids": [f"p{n}" for n in range(count)],
        "probs": np.array(probs, dtype=np.float32),
        "vectors": np.zeros((count, 2), dtype=np.float32),
        "contents": np.tile(np.arange(count), (2, 1)).T,
        "words": [()] * count,
    }
    return GroupedPosts(**{**given, **others})


def test_groups_come_by_size_with_their_share_and_numbers() -> None:
    posts = grouped([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    small, large = describe_groups(posts, ["cats", "dogs"], [[2], [1, 3]])[::-1]
    assert (large.name, large.size, large.share, large.numbers) == ("dogs", 3, 0.75, (1, 3))
    assert (small.name, small.size, small.typical) == ("cats", 1, (3,))


def test_a_group_without_posts_is_there_and_empty() -> None:
    empty = describe_groups(grouped([[1.0, 0.0]]), ["a", "b"], [[1], [2]])[1]
    assert empty == Group((2,), "b", 0, 0.0, (), (), (), {})


def test_a_group_is_described_by_its_words_its_pictures_and_its_labels() -> None:
    sides = np.repeat([[0.9, 0.1], [0.1, 0.9]], 9, axis=0)
    words = [("cat", f"c{n}") for n in range(9)] + [("dog", f"d{n}") for n in range(9)]
    shows = [("tabby", f"s{n}") for n in range(9)] + [("pug", f"t{n}") for n in range(9)]
    labels = ["x", "y", "y", *[None] * 15]
    posts = grouped(sides, words=words, shows=shows, labels=labels)
    first, second = describe_groups(posts, ["a", "b"], [[1], [2]])
    assert (first.words, first.shows) == (("cat",), ("tabby",))
    assert (second.words, second.shows) == (("dog",), ("pug",))
    assert (list(first.labels.items()), second.labels) == ([("y", 2), ("x", 1)], {})


def test_typical_posts_are_the_most_probable_then_the_nearest_to_the_mean() -> None:
    probs = [[0.9, 0.1], [0.901, 0.099], [0.99, 0.01], [0.6, 0.4]]
    vectors = np.array([[0.0, 0], [3, 0], [-1, 0], [0, 0]], dtype=np.float32)
    rows = np.arange(4)
    assert typical_posts(grouped(probs, vectors=vectors), rows, 0) == (2, 0, 1, 3)
    assert typical_posts(grouped(probs, vectors=vectors), rows, 0, count=2) == (2, 0)


@pytest.mark.parametrize("column", [0, 1])
def test_a_text_or_a_picture_is_typical_once(column: int) -> None:
    contents = np.array([[0, 0], [1, 1], [2, 2]])
    contents[1, column] = 0
    posts = grouped([[0.9, 0.1]] * 3, contents=contents)
    assert typical_posts(posts, np.arange(3), 0) == (0, 2)


def test_posts_that_lack_a_modality_are_not_the_same_for_that() -> None:
    contents = np.array([[0, -1], [1, -1], [-1, 0], [-1, 1]])
    posts = grouped([[0.9, 0.1]] * 4, contents=contents)
    assert typical_posts(posts, np.arange(4), 0) == (0, 1, 2, 3)


def test_clusters_are_ordered_by_their_size_equal_ones_by_their_number() -> None:
    assert order_by_size(np.array([2, 2, 1, 0]), 4) == (2, 0, 1, 3)
