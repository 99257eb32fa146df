"""Posts by a column: names, order, ranges, agreement of two columns, refusals."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from postsense.data.loading import load_posts
from postsense.errors import DataError
from postsense.evaluation.groups import columns_of, group_posts


def grouped(values: list[Any]) -> dict[str, list[int]]:
    posts = load_posts([{"text": "a", "x": value} for value in values], extra=("x",))
    return {group.value: group.rows.tolist() for group in group_posts(posts, "x")}


def quarters_by_hand(values: list[float]) -> dict[str, list[int]]:
    """Each value's quarter by the mean rank of those equal to it, one value at a time."""
    members: dict[int, list[int]] = {}
    for row, value in enumerate(values):
        ranks = [rank for rank, other in enumerate(sorted(values)) if other == value]
        share = (np.mean(ranks) + 0.5) / len(values)
        members.setdefault(int(4 * share), []).append(row)
    named = {}
    for _, rows in sorted(members.items()):
        found = [values[row] for row in rows]
        name = f"{min(found)} to {max(found)}" if min(found) < max(found) else f"{found[0]}"
        named[name] = rows
    return named


def test_groups_are_in_alphabetical_order_and_the_missing_come_last() -> None:
    groups = grouped(["b", None, "a", " ", "b ", "(a)"])
    assert list(groups.items()) == [("(a)", [5]), ("a", [2]), ("b", [0, 4]), ("(missing)", [1, 3])]


def test_numbers_are_in_order_of_size() -> None:
    assert list(grouped([10, 9.5, -3, None, 10.0])) == ["-3", "9.5", "10", "(missing)"]
    assert list(grouped(["10", "9.5", "-3", ""])) == ["-3", "9.5", "10", "(missing)"]


def test_numbers_among_words_are_words() -> None:
    assert list(grouped(["10", "9", "nine"])) == ["10", "9", "nine"]


def test_booleans_are_written_as_tables_write_them() -> None:
    assert grouped([True, False, True]) == {"false": [1], "true": [0, 2]}


def test_half_a_character_becomes_a_question_mark() -> None:
    assert grouped(["é \ud83d", "é"]) == {"é": [1], "é ?": [0]}


def test_a_column_that_is_all_missing_is_one_group() -> None:
    assert grouped([None, float("nan"), ""]) == {"(missing)": [0, 1, 2]}


def test_what_pandas_made_floats_is_shown_as_the_whole_numbers_it_was() -> None:
    posts = load_posts(pd.DataFrame({"text": ["a", "b"], "x": [3, None]}), extra=("x",))
    assert [group.value for group in group_posts(posts, "x")] == ["3", "(missing)"]


@pytest.mark.parametrize("highest", [60, 400])
def test_many_numbers_are_cut_into_quarters_by_rank(highest: int) -> None:
    drawn = np.random.default_rng(0).integers(0, highest, 300) ** 2
    values = [int(value) for value in drawn]
    assert grouped(values) == quarters_by_hand(values)
    assert sum(map(len, grouped(values).values())) == 300


def test_many_numbers_without_ties_are_cut_evenly() -> None:
    groups = grouped([*range(100, 0, -1), None])
    assert list(groups) == ["1 to 25", "26 to 50", "51 to 75", "76 to 100", "(missing)"]
    assert {len(rows) for rows in list(groups.values())[:4]} == {25}


def test_equal_numbers_stay_together() -> None:
    values = [0] * 200 + list(range(1, 61))
    groups = grouped(values)
    assert groups["0"] == list(range(200))
    assert groups == quarters_by_hand(values)


def test_fifty_values_are_fifty_groups() -> None:
    assert len(grouped(list(range(50)))) == 50
    assert len(grouped([f"v{number}" for number in range(50)])) == 50


def test_more_than_fifty_words_are_refused() -> None:
    values = [f"v{number}" for number in range(51)]
    with pytest.raises(DataError, match=r"list of rows, x: expected at most 50 groups, found 51\."):
        grouped([*values, None])


def test_two_columns_agree_or_not_or_one_is_missing() -> None:
    rows = [("a", "a"), ("a", "b"), (None, "a"), ("b", " b "), ("", None), (1, "1")]
    posts = load_posts(
        [{"text": "t", "x": {"a": one, "b": two}} for one, two in rows], extra=("x.a", "x.b")
    )
    groups = {group.value: group.rows.tolist() for group in group_posts(posts, "x.a == x.b")}
    assert groups == {"x.a == x.b": [0, 3, 5], "x.a != x.b": [1], "(missing)": [2, 4]}


def test_a_nested_value_is_refused_with_its_post() -> None:
    with pytest.raises(DataError, match="post '1', x: expected one value a post, found a nested"):
        grouped(["a", {"b": 1}])


def test_a_column_that_was_not_loaded_is_refused() -> None:
    posts = load_posts([{"text": "a", "topic": "x"}], extra=("topic",))
    with pytest.raises(DataError, match="a column 'topics' .* Did you mean 'topic'"):
        group_posts(posts, "topics")
    with pytest.raises(DataError, match="Load it with extra"):
        group_posts(load_posts([{"text": "a"}]), "topic")


def test_a_breakdown_reads_one_column_or_two() -> None:
    assert columns_of(None) == ()
    assert columns_of("labels.text") == ("labels.text",)
    assert columns_of("labels.text == labels.image") == ("labels.text", "labels.image")


@pytest.mark.parametrize("by", ["", " ", "a==", "==b", "a==b==c"])
def test_a_breakdown_that_cannot_be_read_is_refused(by: str) -> None:
    with pytest.raises(DataError, match="by: expected a column, or two with == between them"):
        columns_of(by)
