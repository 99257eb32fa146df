"""Labels are known by their names and come back as what they were."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from postsense.data.label_kinds import (
    arrow_labels,
    in_order,
    known_label,
    label_name,
    typed_array,
    typed_label,
)
from postsense.data.loading import load_posts

NAN = float("nan")
COLUMNS: list[tuple[Any, str]] = [
    ([0, 1, None], "int"),
    ([0.0, 1.0, NAN], "int"),
    ([0, 1.0], "int"),
    ([0.5, 1.0], "float"),
    ([1, 0.5], "float"),
    ([True, False, None], "bool"),
    (["0", "1"], "text"),
    ([2**70, 1], "text"),
    ([None, NAN], "text"),
    ([" ", 3], "int"),
    (pd.array([1, None], "Int64"), "int"),
    (pd.array([True, None], "boolean"), "bool"),
    (pd.Categorical([3, 4]), "int"),
    (np.array([1, 2], np.int8), "int"),
    (np.array([0.5, 2], np.float32), "float"),
    (np.array([True, False]), "bool"),
]


@pytest.mark.parametrize(("values", "kind"), COLUMNS)
def test_the_kind_of_a_column_is_that_of_its_cells(values: Any, kind: str) -> None:
    frame = pd.DataFrame({"text": ["a"] * len(values), "label": values})
    assert load_posts(frame).label_kind == kind


@pytest.mark.parametrize("kind", ["int64", "bool", "double", "string", "uint8"])
def test_an_arrow_column_keeps_its_kind(kind: str) -> None:
    table = pa.table({"text": ["a", "b"], "label": pa.array([0, 1]).cast(kind)})
    kinds = {"int64": "int", "uint8": "int", "bool": "bool", "double": "int", "string": "text"}
    assert load_posts(table).label_kind == kinds[kind]


@pytest.mark.parametrize("values", [[1, "x"], [True, "x"], [True, 1], [0.5, "x"]])
def test_mixed_labels_are_texts_and_said_to_be_mixed(
    values: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        posts = load_posts([{"text": "a", "label": value} for value in values])
    assert (posts.label_kind, posts.column("label")) == ("text", [str(value) for value in values])
    assert "mixed; all of them are read as texts" in caplog.text


@pytest.mark.parametrize(
    ("names", "kind", "values", "dtype"),
    [
        (["0", "10"], "int", [0, 10], np.int64),
        (["True", "False"], "bool", [True, False], np.bool_),
        (["0.5", "1"], "float", [0.5, 1.0], np.float64),
        (["a", "b"], "text", ["a", "b"], object),
        (["0", None], "int", [0, None], object),
    ],
)
def test_names_become_values_of_their_kind(
    names: list[Any], kind: Any, values: list[Any], dtype: Any
) -> None:
    found = typed_array(names, kind)
    assert (found.tolist(), found.dtype) == (values, dtype)
    assert [label_name(value) for value in arrow_labels(names, kind).to_pylist()] == names


@pytest.mark.parametrize(("name", "kind"), [("x", "int"), ("1", "bool"), ("x", "float")])
def test_a_name_that_is_none_of_the_kind_is_refused(name: str, kind: Any) -> None:
    with pytest.raises(ValueError, match=name):
        typed_label(name, kind)


@pytest.mark.parametrize(
    ("label", "classes", "kind", "found"),
    [
        ("0", ("0", "1"), "int", "0"),
        ("0.0", ("0", "1"), "int", "0"),
        ("1e0", ("0", "1"), "int", "1"),
        ("True", ("0", "1"), "int", "1"),
        ("0.0", ("0", "1"), "text", None),
        ("true", ("False", "True"), "bool", "True"),
        ("0", ("False", "True"), "bool", "False"),
        ("2", ("False", "True"), "bool", None),
        (".5", ("0.5", "1"), "float", "0.5"),
        ("nan", ("0", "1"), "int", None),
        ("inf", ("0", "1"), "int", None),
    ],
)
def test_numbers_and_truth_values_are_known_in_other_spellings(
    label: str, classes: tuple[str, ...], kind: Any, found: str | None
) -> None:
    assert known_label(label, classes, kind) == found


def test_numbers_are_in_the_order_of_their_size() -> None:
    assert in_order(("-1", "10", "2"), "int") == [0, 2, 1]
    assert in_order(("-1", "10", "2"), "text") == [0, 1, 2]
