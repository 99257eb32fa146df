"""What a reader does not see counts as nothing."""

import pytest

from postsense.data.blanks import is_blank, without_invisible
from postsense.data.cells import cell_converters


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\n\t", "\u3000", "\xa0", "\u200b", "\ufeff", "\u2060", "\xad", "\u3164"),
        *("\u200d\ufe0f", "\u115f\u1160", "\U000e0041\U000e007f", "\u2800", "\x00", " \u200e "),
        *("\u061c", "\ufff9", "\U000e0101", "\uffa0", "\u180e"),
    ],
)
def test_characters_that_show_nothing_are_blank(text: str, tmp_path) -> None:
    assert is_blank(text)
    assert cell_converters(tmp_path)["text"](text) is None
    assert cell_converters(tmp_path)["label"](text) is None


@pytest.mark.parametrize("text", ["a", "\u200ba", "❤️", "👨‍👩‍👧", ".", "é", "๏", "한", "\ufffd"])
def test_one_character_that_is_seen_is_enough(text: str, tmp_path) -> None:
    assert not is_blank(text)
    assert cell_converters(tmp_path)["text"](text) == text


def test_what_is_not_seen_can_be_taken_out() -> None:
    assert without_invisible("\ufeffharm\u200bful\xad text") == "harmful text"
