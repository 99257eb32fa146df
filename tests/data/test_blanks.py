"""What a reader does not see counts as nothing."""

from pathlib import Path

from postsense.data.blanks import is_blank, without_invisible
from postsense.data.cells import cell_converters

BLANK = (
    *("", " ", "\n\t", "\u3000", "\xa0", "\u200b", "\ufeff", "\u2060", "\xad", "\u3164"),
    *("\u200d\ufe0f", "\u115f\u1160", "\U000e0041\U000e007f", "\u2800", "\x00", " \u200e "),
    *("\u061c", "\ufff9", "\U000e0101", "\uffa0", "\u180e"),
)
SEEN = ("a", "\u200ba", "❤️", "👨‍👩‍👧", ".", "é", "๏", "한", "\ufffd")


def test_characters_that_show_nothing_are_blank(tmp_path: Path) -> None:
    cells = cell_converters(tmp_path)
    assert [ascii(text) for text in BLANK if not is_blank(text)] == []
    for column in ("text", "label"):
        assert {text: cells[column](text) for text in BLANK} == dict.fromkeys(BLANK)


def test_one_character_that_is_seen_is_enough(tmp_path: Path) -> None:
    cells = cell_converters(tmp_path)
    assert [ascii(text) for text in SEEN if is_blank(text)] == []
    assert {text: cells["text"](text) for text in SEEN} == {text: text for text in SEEN}


def test_what_is_not_seen_can_be_taken_out() -> None:
    assert without_invisible("\ufeffharm\u200bful\xad text") == "harmful text"
