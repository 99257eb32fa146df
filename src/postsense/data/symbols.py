"""Emojis, signs and disguised letters of a text → what they are called or stand for."""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

import emoji

_JOINERS = "\ufe0e\ufe0f\u200d\u20e3"  # they say how the sign before is drawn
_LETTER = re.compile(
    r"(?:.* )?(?:LATIN|SYMBOL) (?:[A-Z]+ )*?LETTER (?:[A-Z]+ )*([A-Z])(?: WITH .*)?"
)
_PLAIN_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})


@dataclass(frozen=True)
class Symbol:
    """A stretch of a text that is no plain letter. raw: as it is written.

    letters: what it stands for in a word, closest first, as 𝐛 for b; () for a thing or a sign.
    name: its name in words, "" for a letter that only is written otherwise.
    """

    start: int
    end: int
    raw: str
    letters: tuple[str, ...]
    name: str


def symbols_of(text: str) -> list[Symbol]:
    """The symbols of a text that have a name or a plain spelling, from left to right."""
    if text.isascii():
        return []
    signs = set(text)
    matches = emoji.emoji_list(text) if not signs.isdisjoint(_emoji_signs()) else []
    if not matches and not any(_readings(sign) for sign in signs):
        return []
    found, start = list[Symbol](), 0
    for match in matches:
        found += _signs(text, start, match["match_start"])
        start, raw = _end(text, match["match_end"]), match["emoji"]
        found.append(Symbol(match["match_start"], start, raw, (), emoji_words(raw)))
    return found + _signs(text, start, len(text))


def emoji_words(symbol: str) -> str:
    """The name of an emoji in words: "face with tears of joy"."""
    name = emoji.EMOJI_DATA[symbol]["en"].strip(":").replace("_", " ").replace("-", " ")
    parts = unicodedata.normalize("NFKD", name.translate(_PLAIN_QUOTES))
    return "".join(sign for sign in parts if not unicodedata.combining(sign))


@cache
def _emoji_signs() -> frozenset[str]:
    """The characters that emojis are made of, but for the plain digits of keycaps."""
    return frozenset(sign for sign in "".join(emoji.EMOJI_DATA) if not sign.isascii())


def _signs(text: str, start: int, end: int) -> list[Symbol]:
    """The symbols of one character each in a stretch without emojis."""
    return [
        Symbol(place, _end(text, place + 1), text[place], *known)
        for place in range(start, end)
        if (known := _readings(text[place])) is not None
    ]


def _end(text: str, end: int) -> int:
    while end < len(text) and text[end] in _JOINERS:
        end += 1
    return end


@lru_cache(maxsize=4096)
def _readings(sign: str) -> tuple[tuple[str, ...], str] | None:
    """The letters that one character stands for and its name; None: it is what it is."""
    kind, name = unicodedata.category(sign), unicodedata.name(sign, "")
    if sign.isascii() or kind[0] in "CZ" or kind == "Mn":
        return None
    plain = unicodedata.normalize("NFKC", sign)
    letters = [plain] if plain != sign and _is_spelled_out(plain) else []
    number = unicodedata.numeric(sign, 0.5)
    if kind[0] == "N" and number == int(number):
        letters.append(str(int(number)))
    if (kind[0] == "L" or kind == "So") and (letter := _LETTER.fullmatch(name)) is not None:
        letters.append(letter[1].lower() if kind == "Ll" else letter[1])
    called = kind[0] == "S" or kind in ("Pc", "Pd", "Po", "No", "Nl", "Me")  # brackets say nothing
    words = name.lower().replace("-", " ") if called else ""
    return (tuple(dict.fromkeys(letters)), words) if letters or words else None


def _is_spelled_out(plain: str) -> bool:
    """Whether there are only letters, digits and what a keyboard has: no mark on its own."""
    return bool(plain.strip()) and all(sign.isalnum() or sign.isascii() for sign in plain)
