"""VADER's lexicon of English: the feeling in a text, its words that are known, and how many are."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

LONGEST: Final = 2000  # characters of a text that are looked at
FEW: Final = 0.5  # share of texts with a known word below which they may be of another language
MOST_EMOJIS: Final = 50  # up to which a text is looked at for feeling: each is read as words
_SHOWN: Final = 5
_LINK: Final = re.compile(r"https?://\S+|www\.\S+|\bHTTPURL\b")
_WORD: Final = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_TAG: Final = re.compile(r"#(\w+)")
_PART_OF_TAG: Final = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+")


@dataclass(frozen=True)
class Feeling:
    """What VADER says of a text. negative, neutral, positive: shares, that sum to 1, or all 0.

    compound: all in one number, in [-1, 1].
    """

    negative: float
    neutral: float
    positive: float
    compound: float


@dataclass(frozen=True)
class KnownWords:
    """In how many texts there is a word that the lexicon knows. commonest: with their texts."""

    texts: int
    known: int
    commonest: Mapping[str, int]

    @property
    def share(self) -> float:
        """The share of the texts in which there is one."""
        return self.known / max(self.texts, 1)

    def to_dict(self) -> dict[str, Any]:
        """The numbers in types that JSON has."""
        return asdict(self) | {"share": self.share}

    def line(self) -> str:
        """The finding for people."""
        named = f" ({', '.join(self.commonest)} above all)" if self.commonest else ""
        line = (
            f"the English lexicon of blocks.lexical knows a word in {self.share:.0%} of the texts"
        )
        few = "; features of feeling are zero for the others" * (self.share < FEW)
        return f"{line}{named}{few}"


def feeling_of(text: str) -> Feeling:
    """What VADER says of a text, of its first LONGEST characters and MOST_EMOJIS emojis at most.

    Source: Hutto & Gilbert 2014, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
    Social Media Text; vaderSentiment 3.3.2 of the authors.
    """
    found = _analyzer().polarity_scores(_bounded(text[:LONGEST]))
    return Feeling(found["neg"], found["neu"], found["pos"], found["compound"])


def value_of_word(word: str) -> float | None:
    """The lexicon's value of a word in lower case, in [-4, 4]; None: it does not know it."""
    value: float | None = _analyzer().lexicon.get(word)
    return value


def known_words(texts: Iterable[str | None]) -> KnownWords:
    """In how many of the texts the lexicon knows a word. None is no text."""
    count, known, found = 0, 0, Counter[str]()
    for text in texts:
        if text is None:
            continue
        words = {word.lower() for word in words_in(split_tags(text[:LONGEST]))}
        there = sorted(word for word in words if value_of_word(word) is not None)
        count, known = count + 1, known + bool(there)
        found.update(there)
    order = sorted(found, key=lambda word: (-found[word], word))
    return KnownWords(count, known, {word: found[word] for word in order[:_SHOWN]})


def split_tags(text: str) -> str:
    """The text with its hashtags as words: "#SoMuchFun" as "So Much Fun"."""
    if "#" not in text:
        return text
    return _TAG.sub(lambda tag: " ".join(_PART_OF_TAG.findall(tag[1])) or tag[1], text)


def without_links(text: str) -> str:
    """The text with a blank in the place of each link."""
    return _LINK.sub(" ", text)


def count_links(text: str) -> int:
    """How many links there are in a text."""
    return sum(1 for _ in _LINK.finditer(text))


def words_in(text: str) -> list[str]:
    """The words of a text as they are written, those of links left out."""
    return _WORD.findall(without_links(text))


def _bounded(text: str) -> str:
    """The text up to its last emoji that is read; the analyzer's time is quadratic in words."""
    if text.isascii():
        return text
    emojis = _analyzer().emojis
    further = [place for place, sign in enumerate(text) if sign in emojis][MOST_EMOJIS:]
    return text[: further[0]] if further else text


@cache
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # files to read: when used

    return SentimentIntensityAnalyzer()
