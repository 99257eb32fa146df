"""Ids that a spreadsheet has cut are told from others."""

from pathlib import Path

import pytest

from postsense.data.loading import load_posts
from postsense.data.spreadsheets import ids_without_digits
from postsense.errors import DataError


def test_numbers_in_scientific_notation_are_told_from_names() -> None:
    cut = ["1.23E+15", "1,23E+18", "6E+17"]
    assert ids_without_digits([*cut, "E+15", "a1.2E+15", "1.23e-5", "12", "1.2E+15x"]) == cut


def test_such_ids_are_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "posts.csv").write_text("id,text\n1.23E+15,a\n7,b\n")
    assert len(load_posts(tmp_path / "posts.csv")) == 2
    assert "1 ids such as '1.23E+15' are in scientific notation" in caplog.text


def test_repeated_ids_of_that_kind_are_refused_with_their_cause(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("id,text\n1.23E+15,a\n1.23E+15,b\n")
    with pytest.raises(DataError, match="Ids like these are in scientific notation: a spreadsheet"):
        load_posts(tmp_path / "posts.csv")
