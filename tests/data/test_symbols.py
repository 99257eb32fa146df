"""Symbols of a text: what they are called, and the letters that they stand for."""

import emoji
import pytest

from postsense.data.symbols import emoji_words, symbols_of


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("😂", "face with tears of joy"),
        ("❤️", "red heart"),
        ("👍🏽", "thumbs up medium skin tone"),
        ("👨‍👩‍👧‍👦", "family man woman girl boy"),
        ("🇩🇪", "Germany"),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", "England"),
        ("🇨🇮", "Cote d'Ivoire"),
        ("1️⃣", "keycap 1"),
        ("🙊", "speak no evil monkey"),
    ],
)
def test_an_emoji_is_one_symbol_with_its_name(symbol: str, words: str) -> None:
    (found,) = symbols_of(f"so {symbol} it")
    assert (found.start, found.end, found.letters, found.name) == (3, 3 + len(symbol), (), words)


def test_no_two_emojis_have_one_name() -> None:
    names = {fields["en"] for fields in emoji.EMOJI_DATA.values()}
    assert len({emoji_words(symbol).lower() for symbol in emoji.EMOJI_DATA}) == len(names)


@pytest.mark.parametrize(
    ("sign", "letters", "name"),
    [
        ("𝐛", ("b",), ""),
        ("ｗ", ("w",), ""),
        ("ʜ", ("h",), ""),
        ("Ⓗ", ("H",), "circled latin capital letter h"),
        ("🅗", ("H",), "negative circled latin capital letter h"),
        ("🇭", ("H",), "regional indicator symbol letter h"),
        ("٣", ("3",), ""),
        ("❶", ("1",), "dingbat negative circled digit one"),
        ("→", (), "rightwards arrow"),
        ("₿", (), "bitcoin sign"),
        ("‽", (), "interrobang"),
    ],
)
def test_a_sign_stands_for_letters_or_has_a_name(
    sign: str, letters: tuple[str, ...], name: str
) -> None:
    (found,) = symbols_of(f"a{sign}b")
    assert (found.raw, found.letters, found.name) == (sign, letters, name)


@pytest.mark.parametrize(
    "text", ["", "plain :) #1", "สวัสดีน้ำ", "你好【告】", "привет", "\ue000\u200b"]
)
def test_letters_brackets_and_what_has_no_name_are_no_symbols(text: str) -> None:
    assert symbols_of(text) == []


def test_how_an_emoji_is_drawn_belongs_to_it() -> None:
    (found,) = symbols_of("❤\ufe0ex")
    assert (found.end, found.name) == (2, "red heart")
