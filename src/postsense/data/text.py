"""The words of a post as an encoder expects them."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import emoji

_TYPOGRAPHY = str.maketrans({"’": "'", "…": "..."})
_CONTRACTION = re.compile(r"(\w+)(n't|'(?:m|re|s|ll|d|ve))")
_WHOLE_CONTRACTIONS = ("can't", "ain't")
_HALF_DAY = re.compile(r"(?<!\S)(\d*[ap]) \. m( \.)?(?!\S)", re.IGNORECASE)


def normalize_text(text: str, policy: Literal["raw", "tweet"]) -> str:
    """Return the text unchanged ("raw") or in the spelling that tweet encoders were trained on.

    Source: Nguyen et al. 2020, BERTweet: A pre-trained language model for English Tweets, section 2
        words split by NLTK's tweet tokenizer (case kept, HTML entities decoded, at most three of a
        repeated sign); @name -> @USER, links -> HTTPURL, emojis -> :name:, it's -> it 's
    Deviation: the released normalizer names emojis of one character; here flags, skin tones and
        joined families are named too. A lone "@" stays, "Can't" stays whole as "can't" does, and
        contractions are respaced at the end of the text as well.
    """
    if policy == "raw":
        return text
    words = " ".join(_words(text.translate(_TYPOGRAPHY)))
    return _HALF_DAY.sub(lambda match: f"{match[1]}.m{'.' if match[2] else ''}", words)


def _words(text: str) -> Iterator[str]:
    start = 0
    for found in emoji.emoji_list(text):  # the tokenizer would cut some of the longer ones
        yield from map(_normalize_word, _tokenize(text[start : found["match_start"]]))
        yield emoji.demojize(found["emoji"])
        start = found["match_end"]
    yield from map(_normalize_word, _tokenize(text[start:]))


def _normalize_word(word: str) -> str:
    if word.startswith("@") and len(word) > 1:
        return "@USER"
    if word.lower().startswith(("http", "www")):
        return "HTTPURL"
    if word == "cannot":
        return "can not"
    contraction = _CONTRACTION.fullmatch(word)
    if contraction is not None and word.lower() not in _WHOLE_CONTRACTIONS:
        return f"{contraction[1]} {contraction[2]}"
    return emoji.demojize(word)  # an emoji that was written as an HTML entity


def _tokenize(text: str) -> list[str]:
    return list(_tokenizer().tokenize(text)) if text.strip() else []


@cache
def _tokenizer() -> Any:
    from nltk.tokenize import TweetTokenizer  # a second to import, and "raw" does without

    return TweetTokenizer()
