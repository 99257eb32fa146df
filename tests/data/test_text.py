import subprocess
import sys

import pytest

from postsense.data.text import normalize_text


@pytest.mark.parametrize("text", ["", " I’m @ home… 😀 http://x.y ", "naïve &amp; \n bold"])
def test_raw_changes_nothing(text: str) -> None:
    assert normalize_text(text, "raw") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  \n ", ""),
        ("Case stays As It is", "Case stays As It is"),
        ("@Bob_1: hi @ann!", "@USER : hi @USER !"),
        ("see you @ home", "see you @ home"),
        ("look https://t.co/aB3 and www.x.com", "look HTTPURL and HTTPURL"),
        ("HTTP://X.COM/A", "HTTPURL"),
        ("#tag #two", "#tag #two"),
        ("wow!!!!!! -----", "wow ! ! ! - - -"),
        ("so......", "so ..."),
        ("sooooo", "sooooo"),
        ("wait…", "wait ..."),
        ("AT&amp;T &lt;3", "AT & T <3"),
        ("&#128512;", ":grinning_face:"),
        (":) :-D", ":) :-D"),
    ],
)
def test_tweets_are_spelled_as_the_encoder_learned(text: str, expected: str) -> None:
    assert normalize_text(text, "tweet") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I’m sure it's fine", "I 'm sure it 's fine"),
        ("we'll they've he'd you're", "we 'll they 've he 'd you 're"),
        ("don't won't isn't", "do n't wo n't is n't"),
        ("can't Can't ain't", "can't Can't ain't"),
        ("I cannot", "I can not"),
        ("at 5 p.m. or 6 a.m today", "at 5 p.m. or 6 a.m today"),
        ("at 5p.m.", "at 5p.m."),
    ],
)
def test_contractions_and_hours_are_respaced(text: str, expected: str) -> None:
    assert normalize_text(text, "tweet") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nice😀😀", "nice :grinning_face: :grinning_face:"),
        ("❤ ❤️", ":red_heart: :red_heart:"),
        ("👍🏽", ":thumbs_up_medium_skin_tone:"),
        ("🇩🇪🇫🇷", ":Germany: :France:"),
        ("👨‍👩‍👧‍👦!", ":family_man_woman_girl_boy: !"),
        ("🏳️‍🌈", ":rainbow_flag:"),
        ("1️⃣ of 2", ":keycap_1: of 2"),
    ],
)
def test_emojis_are_named_even_if_they_are_several_characters(text: str, expected: str) -> None:
    assert normalize_text(text, "tweet") == expected


def test_importing_the_module_does_not_import_the_tokenizer() -> None:
    program = "import sys, postsense.data.text; sys.exit('nltk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    normalize_text("a @b http://c", "tweet")
    assert capfd.readouterr() == ("", "")
