"""One cell becomes the value of our column, whatever a table library made of it."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from postsense.data.cells import CellError, cell_converters

FOLDER = Path("/posts")


def convert(column: str, value: Any) -> Any:
    return cell_converters(FOLDER)[column](value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("positive", "positive"),
        (" positive\t", "positive"),
        (1, "1"),
        (1.0, "1"),
        (0.5, "0.5"),
        (True, "True"),
        (np.int64(3), "3"),
        (np.float32(2.0), "2"),
        (np.bool_(False), "False"),
        (np.str_("x"), "x"),
        (620_000_000_000_000_001, "620000000000000001"),
        (float("nan"), None),
        (np.float32("nan"), None),
        (float("inf"), "inf"),
        (None, None),
        ("  ", None),
    ],
)
def test_labels_and_ids_become_strings(value: Any, expected: str | None) -> None:
    assert convert("label", value) == expected
    assert convert("id", value) == expected


@pytest.mark.parametrize("value", ["", " ", "\n\t", "\u3000", None, float("nan")])
def test_blank_texts_are_null(value: Any) -> None:
    assert convert("text", value) is None


def test_texts_keep_their_white_space_and_numbers_become_text() -> None:
    assert convert("text", " two\nlines ") == " two\nlines "
    assert convert("text", 2012) == "2012"


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"bytes", datetime.date(2020, 1, 1)])
def test_a_nested_label_is_refused(value: Any) -> None:
    message = f"expected text or a number, found a value of type '{type(value).__name__}'"
    with pytest.raises(CellError, match=message):
        convert("label", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Dev", "val"),
        ("VALIDATION", "val"),
        ("valid", "val"),
        ("val ", "val"),
        ("Training", "train"),
        ("testing", "test"),
        ("Test", "test"),
        ("Traindev", "Traindev"),
        ("", None),
        (None, None),
    ],
)
def test_splits_get_one_name(value: str | None, expected: str | None) -> None:
    assert convert("split", value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("images/1.jpg", "/posts/images/1.jpg"),
        ("./1.jpg", "/posts/1.jpg"),
        ("/elsewhere/1.jpg", "/elsewhere/1.jpg"),
        (Path("1.jpg"), "/posts/1.jpg"),
        ("https://example.org/1.jpg", "https://example.org/1.jpg"),
        ("", None),
        (float("nan"), None),
    ],
)
def test_pictures_start_at_the_folder_of_the_table(value: Any, expected: str | None) -> None:
    assert convert("image", value) == expected


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"url": "1.jpg"}, "a nested value"),
        (["1.jpg", "2.jpg"], "several values"),
        (np.zeros((3, 4, 4)), "an array of float64, (3, 4, 4)"),
    ],
)
def test_what_is_neither_a_path_nor_a_picture_is_refused(value: Any, found: str) -> None:
    with pytest.raises(CellError, match="expected the path of a picture file, or one") as caught:
        convert("image", value)
    assert caught.value.found == found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (("a",), ["a"]),
        (np.array(["a", "b"], object), ["a", "b"]),
        ('["a", "b\\n"]', ["a", "b\n"]),
        (["a", None, " ", float("nan"), 5], ["a", "5"]),
        ([], []),
        ("[]", []),
        ("null", None),
        ("", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_comments_are_a_list_or_a_list_in_json(value: Any, expected: list[str] | None) -> None:
    assert convert("comments", value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nice one", "expected a list of comments, written as JSON, found 'nice one'"),
        ("x" * 40, f"expected a list of comments, written as JSON, found '{'x' * 30}...'"),
        ('{"a": 1}', "expected a list of comments, found a value of type 'dict'"),
        (5, "expected a list of comments, found a value of type 'int'"),
        ([["a"]], "expected a list of comments, each a text, found in it a value of type 'list'"),
    ],
)
def test_other_comments_are_refused(value: Any, message: str) -> None:
    with pytest.raises(CellError) as caught:
        convert("comments", value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020-01-02T03:04:05+00:00", "2020-01-02T03:04:05+00:00"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (datetime.datetime(2020, 1, 2, 3), "2020-01-02T03:00:00"),
        (pd.Timestamp("2020-01-02", tz="UTC"), "2020-01-02T00:00:00+00:00"),
        (np.datetime64("2020-01-02T03"), "2020-01-02T03"),
        (np.datetime64("NaT"), None),
        ("Wed Apr 17 18:57:37 +0000 2013", "2013-04-17T18:57:37+00:00"),
        (1_546_300_800, "2019-01-01T00:00:00+00:00"),
        (1_546_300_800.0, "2019-01-01T00:00:00+00:00"),
        ("last week", "last week"),
        ("", None),
        (float("nan"), None),
        (None, None),
    ],
)
def test_times_become_iso_strings(value: Any, expected: str | None) -> None:
    assert convert("created_at", value) == expected


@pytest.mark.parametrize("value", [1_546_300_800_000_000, float("inf"), 1e300])
def test_a_number_that_is_no_unix_time_is_refused(value: float) -> None:
    with pytest.raises(CellError, match="expected a time as text or in Unix seconds, found"):
        convert("created_at", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["red", "shoe"], ["red", "shoe"]), ("red shoe", ["red", "shoe"]), ({"size": 3}, None)],
)
def test_attributes_are_words_and_anything_else_is_let_be(
    value: Any, expected: list[str] | None
) -> None:
    assert convert("attributes", value) == expected
