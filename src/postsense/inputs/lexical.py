"""The words of a post → 28 numbers on feeling, length, signs and spelling, without an encoder.

Feeling is that of an English lexicon: of words in other languages it knows little, and what it does
not know is zero. The other numbers are of any language. Counts and lengths are log(1 + count).
"""

import math
import re

import numpy as np

from postsense.data.lexicon import (
    LONGEST,
    count_links,
    feeling_of,
    split_tags,
    value_of_word,
    without_links,
    words_in,
)
from postsense.inputs.columns import Broken, Preparation
from postsense.inputs.own_words import own_words
from postsense.inputs.vectors import VectorColumn

FEATURES = (
    *("negative", "neutral", "positive", "compound"),
    *("neutral_of_split", "positive_of_split", "compound_of_split"),
    *("highest", "lowest", "sum_above_zero", "sum_below_zero", "known_words"),
    *("words", "characters", "hashtags", "handles", "links"),
    *("exclamation_marks", "question_marks", "ellipses", "is_repost"),
    *("capitals", "not_ascii", "digits", "shouted_words"),
    *("emojis", "smiles", "frowns"),
)
_CHUNK = 4096
_HANDLE = re.compile(r"@\w|<user>")
_ELLIPSIS = re.compile(r"\.\.+|…")
_REPOST = re.compile(r"\s*RT\b")
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff]")
_SMILE = re.compile(
    r"[:;=][-o^']?[)\]]|(?<!\w)[:;=]-?[DPp3](?!\w)|\^_?\^|<3|\b(?:lol|(?:ha){2,}h?|xd)\b"
    "|[\U0001f600-\U0001f60d\U0001f618-\U0001f61d\U0001f642\U0001f970\u2764\u263a]",
    re.IGNORECASE,
)
_FROWN = re.compile(
    r"[:;=][-o^']?[(\[/|\\]"
    "|[\U0001f612-\U0001f616\U0001f61e-\U0001f62d\U0001f620\U0001f621\U0001f641\u2639]"
)


def lexical_column(name: str, preparation: Preparation) -> tuple[VectorColumn, Broken]:
    """The features of each post's words, zeros where it has none."""
    texts = own_words(preparation.posts, preparation.config)
    vectors = np.zeros((len(texts), len(FEATURES)), dtype=np.float32)
    for start in range(0, len(texts), _CHUNK):
        for row, text in enumerate(texts[start : start + _CHUNK].to_pylist(), start):
            if text is not None:
                vectors[row] = lexical_features(text)
        preparation.progress(name, min(start + _CHUNK, len(texts)), len(texts))
    given = texts.is_valid().to_numpy()
    return VectorColumn(vectors, np.where(given, np.arange(len(texts)), -1)), {}


def lexical_features(text: str) -> list[float]:
    """The features of a text by FEATURES, of its first LONGEST characters.

    Source: VADER (see `data.lexicon`) of the text and of the text with its hashtags as words; ours
    are the values of single words, as the lexicon has them, and all that is counted. Shares of
    characters are of all of them, those in links left out but among not_ascii.
    """
    text = text[:LONGEST]
    split, plain = split_tags(text), without_links(text)
    whole = feeling_of(text)
    apart = whole if split == text else feeling_of(split)
    words = words_in(split)
    return [
        *(whole.negative, whole.neutral, whole.positive, whole.compound),
        *(apart.neutral, apart.positive, apart.compound),
        *_word_values(words),
        *_lengths_and_signs(text, plain),
        *_spelling(text, plain, words),
    ]


def _word_values(words: list[str]) -> list[float]:
    values = [value for word in words if (value := value_of_word(word.lower())) is not None]
    above, below = (sum(max(sign * value, 0) for value in values) for sign in (1, -1))
    return [
        max(values, default=0.0),
        min(values, default=0.0),
        math.log1p(above),
        math.log1p(below),
        math.log1p(len(values)),
    ]


def _lengths_and_signs(text: str, plain: str) -> list[float]:
    counts = (
        len(text.split()),
        len(text),
        text.count("#"),
        len(_HANDLE.findall(text)),
        count_links(text),
        text.count("!"),
        plain.count("?"),  # in a link it is none
        len(_ELLIPSIS.findall(text)),
    )
    return [*map(math.log1p, counts), float(_REPOST.match(text) is not None)]


def _spelling(text: str, plain: str, words: list[str]) -> list[float]:
    shouted = sum(len(word) > 1 and word.isupper() for word in words)
    characters = len(text)
    return [
        sum(map(str.isupper, plain)) / characters,
        sum(sign > "\x7f" for sign in text) / characters if not text.isascii() else 0.0,
        sum(map(str.isdigit, plain)) / characters,
        math.log1p(shouted),
        math.log1p(len(_EMOJI.findall(text))),
        math.log1p(len(_SMILE.findall(plain))),
        math.log1p(len(_FROWN.findall(plain))),
    ]
