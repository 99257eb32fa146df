"""Words as people posted them → words without names, links and clutter, which encoders can read."""

import re
from collections.abc import Iterable
from typing import Final

from postsense.data.anonymization import decode, hide_names

NO_COMMENTS: Final = frozenset({"[deleted]", "[removed]"})  # what forums leave of a deleted one


_TYPOGRAPHY: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―", "-"),
        "…": "...",
        "\u00a0": " ",
        "\u200d": None,
        "\\": " ",
        "_": " ",
    }
)
_MARKDOWN_LINK: Final = re.compile(r"\[([^\[\]]{0,300})\]\([^\s()]*\)")
_FORWARDED: Final = re.compile(
    r"(?:^|(?<=[\s\"'(]))(?:RT|MT|via|cc|h/t)\b\s?:?\s?(?=[@＠])", re.IGNORECASE
)
_ADDRESSED: Final = re.compile(r"@USER\s*:?|\bHTTPURL\b")
_HASHTAG: Final = re.compile(r"[#＃](\w+)")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-zA-Z])(?=\d{4}\b)")
_UNREADABLE: Final = re.compile(
    "[#@^*~|<>=\\[\\]{}\u00a6-\u00a9\u00ab-\u00b1\u00b4-\u00b8\u2000-\u209f\u20d0-\u2bff"
    "\ue000-\uf8ff\ufe00-\ufe0f\ufff0-\uffff\U0001f000-\U000fffff]+"
)
_FACE: Final = re.compile(r"=(?=[()DPpOo](?:\s|$))")  # =) is read as :)
_HEART: Final = re.compile(r"</?3+\b")
_NOT_WORD: Final = re.compile(r"[\W_]+")
_REPEATED: Final = re.compile(r"(\D)\1{3,}")
_EMPTY_BRACKETS: Final = re.compile(r"\(\s*\)|\"\s*\"")
_LONE_SPACE: Final = re.compile(r"\s(?=[,.!?;:]+(?:\s|$))")
_BEFORE, _AFTER = " :;,.-/&+%)", " :;,-/&+("  # what no sentence begins or ends with
_LETTER: Final = re.compile(r"[^\W_]")


def clean_comment(text: str) -> str:
    """What a sentence encoder can read of a comment; empty if that is not one word.

    Source: Zhang et al. 2022 (CAST), released `retrieval` scripts: mentions and links go, hashtags
        lose their sign and are cut into words, signs beyond letters and punctuation go.
    Deviation: hashtags are cut at capitals only, letters of every script and the case stay, and
        contractions stay whole, since the encoders have tokenizers of their own.
    """
    text = decode(text).strip()
    if text in NO_COMMENTS:
        return ""
    if "](" in text:
        text = _MARKDOWN_LINK.sub(r"\1", text)
    if "@" in text or "＠" in text:
        text = _FORWARDED.sub(" ", text)
    text = _ADDRESSED.sub(" ", hide_names(text)).translate(_TYPOGRAPHY)
    if "#" in text or "＃" in text:
        text = _HASHTAG.sub(_spell_out, text)
    if "=" in text:
        text = _FACE.sub(":", text)
    if "<" in text:
        text = _HEART.sub(" ", text)
    text = _UNREADABLE.sub(" ", text)
    text = " ".join(_EMPTY_BRACKETS.sub(" ", text).split())
    text = _REPEATED.sub(r"\1\1\1", _LONE_SPACE.sub("", text)).lstrip(_BEFORE).rstrip(_AFTER)
    return _without_odd_quote(text) if _LETTER.search(text) else ""


def clean_comments(comments: Iterable[str], post_words: str) -> tuple[list[str], int, int]:
    """The cleaned comments of one post in their order, how many were empty, how many repeated.

    Args:
        post_words: clean_text of the post; a comment of just these words repeats it.
    """
    kept: list[str] = []
    seen, empty, repeated = {post_words}, 0, 0
    for comment in comments:
        cleaned = clean_comment(comment)
        words = comment_words(cleaned)
        if not cleaned:
            empty += 1
        elif words in seen:
            repeated += 1
        else:
            seen.add(words)
            kept.append(cleaned)
    return kept, empty, repeated


def comment_words(comment: str) -> str:
    """What two cleaned comments must share to say the same; for most of them their clean_text."""
    return _NOT_WORD.sub(" ", comment.casefold().replace("'", "")).strip()


def _spell_out(hashtag: re.Match[str]) -> str:
    return _HUMP.sub(" ", hashtag[1])


def _without_odd_quote(text: str) -> str:
    """Quotes whose partner was cut off with a name say nothing."""
    return text if text.count('"') % 2 == 0 else " ".join(text.replace('"', " ").split())
