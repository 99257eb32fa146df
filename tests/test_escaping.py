"""Control characters of strangers: visible in lines, in JSON, in logs; letters stay letters."""

import json
import logging

import pytest

from postsense.errors import DataError
from postsense.escaping import EscapedFormatter, escaped_warning, json_line, shown, shown_lines

HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]52;c;aGk=\x07": r"\x1b]52;c;aGk=\x07",
    "\x9b31m\x85": r"\x9b31m\x85",
    "a\u202eb\u2066c\u2069": r"a\u202eb\u2066c\u2069",
    "a\rb\x08\x7f\0": r"a\rb\x08\x7f\x00",
    "one\ntwo\tthree\u2028": r"one\ntwo\tthree\u2028",
    "name\udcff": r"name\xff",
    "lone\ud83d": r"lone\ud83d",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_control_characters_are_shown_as_what_they_are(text: str) -> None:
    assert shown(text) == HOSTILE[text]


@pytest.mark.parametrize("text", ["[red]x[/red] é 你好 👩‍❤️‍👨 🏴󠁧󠁢󠁥󠁮󠁧󠁿 שלום\u200f สวัสดี \\x1b", ""])
def test_what_can_be_read_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_lines_keep_their_breaks_only() -> None:
    assert shown_lines("a\r\n\x1bb\n") == "a\\r\n\\x1bb\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_json_gives_back_the_text_without_holding_it(text: str) -> None:
    line = json_line({text: [text]})
    assert shown(line) == line
    assert json.loads(line) == {text: [text]}


def test_json_keeps_letters_readable() -> None:
    assert json_line("é 😂") == '"é 😂"'


def test_an_error_is_one_line_without_control_characters() -> None:
    error = DataError("a\x1b[2J.csv", "x", "two\nlines\u202e", "Mend\x9b it.")
    assert str(error) == r"a\x1b[2J.csv: expected x, found two lines\u202e. Mend\x9b it."


def test_logs_and_warnings_are_escaped() -> None:
    record = logging.LogRecord("n", logging.WARNING, "f", 1, "in %s\nx", ("\x1b[2J",), None)
    assert EscapedFormatter("%(message)s").format(record) == "in \\x1b[2J\nx"
    warning = escaped_warning("bad \x9b", UserWarning, "a\x1b.py", 3)
    assert warning == "a\\x1b.py:3: UserWarning: bad \\x9b\n"
