"""Names of groups, given in words or by a few labels."""

import numpy as np
import pytest

from postsense.discovery.naming import (
    default_names,
    joined_names,
    names_by_labels,
    parse_names,
    unnamed,
)
from postsense.errors import ConfigError


def test_names_are_read_by_number_and_may_hold_an_equals_sign() -> None:
    assert parse_names(["1=food", " 2 = a  b=c "], 2) == {1: "food", 2: "a b=c"}


@pytest.mark.parametrize(
    ("assignments", "found"),
    [
        (["food"], "another form"),
        (["x=food"], "another form"),
        (["-1=food"], "another form"),
        (["=food"], "another form"),
        (["1="], "found none"),
        (["1= "], "found none"),
        (["0=food"], "a group from 1 to 3, found '0'"),
        (["4=food"], "a group from 1 to 3, found '4'"),
        (["1=food", "1=cats"], "one name for group 1, found 'food' and 'cats'"),
    ],
)
def test_a_wrong_assignment_is_refused_in_one_line(assignments: list[str], found: str) -> None:
    with pytest.raises(ConfigError, match="--name") as refused:
        parse_names(assignments, 3)
    assert found in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_group_takes_the_label_of_most_of_its_labelled_posts() -> None:
    numbers = np.array([1, 1, 1, 2, 2, 3, 0])
    vote = names_by_labels(numbers, ["a", "b", "b", "d", "c", None, "z"])
    assert vote.names == {1: "b", 2: "c"}  # of equally many the first of the alphabet
    assert (vote.agreed, vote.labeled) == (3, 5)


def test_no_labels_give_no_names() -> None:
    vote = names_by_labels(np.array([1, 2]), [None, None])
    assert (vote.names, vote.agreed, vote.labeled) == ({}, 0, 0)


def test_groups_with_their_own_first_name_are_unnamed() -> None:
    assert unnamed({1: "food", 2: "group 2", 3: "group 2"}) == [2]
    assert unnamed({}) == []


def test_groups_of_one_name_are_joined() -> None:
    names = {**default_names(3), 1: "food", 3: "food"}
    assert joined_names(names) == {"food": [1, 3], "group 2": [2]}
