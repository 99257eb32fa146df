"""Words as people posted them → words without names, links and clutter, which encoders can read."""

import html
import re
from collections.abc import Iterable
from typing import Final

from postsense.data.duplicates import clean_text

USER, LINK, EMAIL, PHONE = "@USER", "HTTPURL", "EMAIL", "PHONE"
NO_COMMENTS: Final = frozenset({"[deleted]", "[removed]"})  # what forums leave of a deleted one

_SITES: Final = r"[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|co|ly|gov|edu|io|me|tv|info|uk|de|be|gl)"
_URL: Final = re.compile(
    rf"\bhttps?:[^\s<>\"')\]}}]*|\bwww\.[^\s<>\"')\]}}]+|\b{_SITES}/[^\s<>\"')\]}}]*"
    r"|\bht{1,2}p?s?:?/{0,2}[\w./]*(?:…|\.\.\.)(?=\s*$)|\bhttps?(?=\s*$)|<url>|\bHTTPURL\b",
    re.IGNORECASE,
)
_HAS_URL: Final = re.compile(r"ht|www|/|<url>|\.\.\.$|…", re.IGNORECASE)
_MAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_MENTION: Final = re.compile(r"(?<![\w/])[@＠]\w+(?:\.\w+)*|<user>|(?<![\w/])/?u/[\w-]{3,20}\b")
_HAS_MENTION: Final = re.compile(r"[@＠]|<user>|u/")
_NUMBER: Final = re.compile(
    r"(?<![\w+#$£€.,:/-])(?:"
    r"\+\d{1,3}(?:[\s.-]?\(?\d{1,4}\)?){2,5}\d"  # +44 20 7946 0958
    r"|(?:1[\s.-]?)?(?:\([2-9]\d\d\)\s?|[2-9]\d\d[\s.-])\d{3}[\s.-]\d{4}"  # (212) 555-0123
    r"|1[.-][2-9]\d\d[.-](?:[A-Z]{7}|\d{7})"  # 1-800-FLOWERS
    r"|0\d{2,4}[\s.-]?\d{3,4}[\s.-]?\d{3,4}"  # 020 7946 0958
    r"|[2-9]\d\d[2-9]\d{6}"  # 2125550123
    r")(?![\w-]|[.,:/]\d)"
)
_HAS_NUMBER: Final = re.compile(r"\d{3}")
_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)

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
_MARKDOWN_LINK: Final = re.compile(r"\[([^\]]*)\]\(\S*\)")
_FORWARDED: Final = re.compile(
    r"(?:^|(?<=[\s\"'(]))(?:RT|MT|via|cc|h/t)\b\s*:?\s*(?=[@＠])", re.IGNORECASE
)
_ADDRESSED: Final = re.compile(r"@USER\s*:?|\bHTTPURL\b")
_HASHTAG: Final = re.compile(r"[#＃](\w+)")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-zA-Z])(?=\d{4}\b)")
_UNREADABLE: Final = re.compile(
    "[#@^*~|<>=\\[\\]{}\u00a6-\u00a9\u00ab-\u00b1\u00b4-\u00b8\u2000-\u209f\u20d0-\u2bff"
    "\ue000-\uf8ff\ufe00-\ufe0f\ufff0-\uffff\U0001f000-\U000fffff]+"
)
_REPEATED: Final = re.compile(r"(\D)\1{3,}")
_EMPTY_BRACKETS: Final = re.compile(r"\(\s*\)|\"\s*\"")
_LONE_SPACE: Final = re.compile(r"\s+(?=[,.!?;:](?:\s|$))")
_EDGES: Final = re.compile(r"^[\s:;,.\-/&+%)]+(?=\s|\w|\"|')|[\s:;,\-/&+(]+$")
_LETTER: Final = re.compile(r"[^\W_]")


def anonymize(text: str) -> str:
    """The text with names, links and addresses replaced, HTML entities decoded, spaces single.

    Source: Zhang et al. 2022 (CAST), section 3: mentions become @USER and links HTTPURL.
    Deviation: e-mail addresses become EMAIL and telephone numbers PHONE. Twice is as good as once.
    """
    text = _decode(text)
    if "@" in text:
        text = _MAIL.sub(EMAIL, text)
    if _HAS_URL.search(text):
        text = _URL.sub(LINK, text)
    if _HAS_MENTION.search(text):
        text = _MENTION.sub(USER, text)
    if _HAS_NUMBER.search(text):
        text = _NUMBER.sub(PHONE, text)
    return " ".join(text.split())


def clean_comment(text: str) -> str:
    """What a sentence encoder can read of a comment; empty if that is not one word.

    Source: Zhang et al. 2022 (CAST), released `retrieval` scripts: mentions and links go, hashtags
        lose their sign and are cut into words, signs beyond letters and punctuation go.
    Deviation: hashtags are cut at capitals only, letters of every script and the case stay, and
        contractions stay whole, since the encoders have tokenizers of their own.
    """
    text = _decode(text).strip()
    if text in NO_COMMENTS:
        return ""
    text = _MARKDOWN_LINK.sub(r"\1", text)
    text = _ADDRESSED.sub(" ", anonymize(_FORWARDED.sub(" ", text)))
    text = _HASHTAG.sub(_spell_out, text.translate(_TYPOGRAPHY))
    text = _UNREADABLE.sub(" ", text)
    text = _REPEATED.sub(r"\1\1\1", text)
    text = _LONE_SPACE.sub("", _EMPTY_BRACKETS.sub(" ", text))
    text = " ".join(_EDGES.sub("", " ".join(text.split())).split())
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
    """What two comments must share to say the same: their letters and digits."""
    return clean_text(comment) or comment


def _decode(text: str) -> str:
    if "&" in text:
        text = html.unescape(html.unescape(text))  # often encoded twice: &amp;lt;
    return _INVISIBLE.sub(" ", text)


def _spell_out(hashtag: re.Match[str]) -> str:
    return _HUMP.sub(" ", hashtag[1])


def _without_odd_quote(text: str) -> str:
    """Quotes whose partner was cut off with a name say nothing."""
    return text if text.count('"') % 2 == 0 else " ".join(text.replace('"', " ").split())
