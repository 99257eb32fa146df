"""Words as people posted them → words without names, links and clutter, which encoders can read."""

import html
import re
from collections.abc import Iterable
from typing import Final

USER, LINK, EMAIL, PHONE = "@USER", "HTTPURL", "EMAIL", "PHONE"
NO_COMMENTS: Final = frozenset({"[deleted]", "[removed]"})  # what forums leave of a deleted one

_IN_URL: Final = r"[^\s<>\"')\]}”’»]"
_URL: Final = re.compile(rf"[hH][tT][tT][pP][sS]?:{_IN_URL}*|[wW][wW][wW]\.{_IN_URL}+")
_SITE: Final = re.compile(
    r"(?<![\w.-])[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.(?:com|org|net|co|ly|gov|edu|io|me|tv|info|uk|de|be|gl)/"
    rf"{_IN_URL}*",
    re.IGNORECASE,
)
_CUT_URL: Final = re.compile(
    r"(?<![\w.])(?:ht{1,2}p?s?:?/{0,2}[\w./]{0,60}(?:…|\.\.\.)|https?)\s?$"
)
_MAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
_HAS_MAIL: Final = re.compile(r"\w@\w")
_MENTION: Final = re.compile(r"(?<![\w/])[@＠]\w+(?:\.\w+)*")
_REDDITOR: Final = re.compile(r"(?<![\w/])/?u/[\w-]{3,20}\b")
_PLACEHOLDERS: Final = {"<user>": USER, "<url>": LINK}  # of data sets that were anonymised before
_NUMBER: Final = re.compile(
    r"(?<![\w+#$£€.,/-])(?<!\d:)(?:"
    r"\+\d{1,3}(?:[\s.-]?\(?\d{1,4}\)?){2,5}\d"  # +44 20 7946 0958
    r"|(?:1[\s.-]?)?(?:\([2-9]\d\d\)\s?|[2-9]\d\d[\s.-])\d{3}[\s.-]\d{4}"  # (212) 555-0123
    r"|1[.-][2-9]\d\d[.-](?:[A-Z]{7}|\d{7})"  # 1-800-FLOWERS
    r"|0\d{2,4}[\s.-]?\d{3,4}[\s.-]?\d{3,4}"  # 020 7946 0958
    r"|[2-9]\d\d[2-9]\d{6}"  # 2125550123
    r")(?![\w-]|[.,:/]\d)"
)
_HAS_NUMBER: Final = re.compile(r"\d{3}")
_ESCAPE: Final = re.compile(r"\\+(?=[\"'])")
_ESCAPED_BREAK: Final = re.compile(r"\\+n")
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
_CUT: Final = ("…", "...", "http", "https")
_REPEATED: Final = re.compile(r"(\D)\1{3,}")
_EMPTY_BRACKETS: Final = re.compile(r"\(\s*\)|\"\s*\"")
_LONE_SPACE: Final = re.compile(r"\s(?=[,.!?;:]+(?:\s|$))")
_BEFORE, _AFTER = " :;,.-/&+%)", " :;,-/&+("  # what no sentence begins or ends with
_LETTER: Final = re.compile(r"[^\W_]")


def anonymize(text: str) -> str:
    """The text with names, links and addresses replaced, HTML entities decoded, spaces single.

    Source: Zhang et al. 2022 (CAST), section 3: mentions become @USER and links HTTPURL.
    Deviation: e-mail addresses become EMAIL and telephone numbers PHONE. Twice is as good as once.
    """
    return " ".join(_hide_names(_decode(text)).split())


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
    if "](" in text:
        text = _MARKDOWN_LINK.sub(r"\1", text)
    if "@" in text or "＠" in text:
        text = _FORWARDED.sub(" ", text)
    text = _ADDRESSED.sub(" ", _hide_names(text)).translate(_TYPOGRAPHY)
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


def _decode(text: str) -> str:
    while "&" in text and (decoded := html.unescape(text)) != text:
        text = decoded  # often encoded twice: &amp;lt;
    if "\\" in text:
        text = _ESCAPED_BREAK.sub(" ", _ESCAPE.sub("", text))  # of a string within a string
    return text if text.isascii() and text.isprintable() else _INVISIBLE.sub(" ", text)


def _hide_names(text: str) -> str:
    if "@" in text or "＠" in text:
        if _HAS_MAIL.search(text):
            text = _MAIL.sub(EMAIL, text)
        text = _MENTION.sub(USER, text)
    text = _without_links(text)
    if "u/" in text:
        text = _REDDITOR.sub(USER, text)
    if "<u" in text:
        for placeholder, name in _PLACEHOLDERS.items():
            text = text.replace(placeholder, name)
    if _HAS_NUMBER.search(text):
        text = _NUMBER.sub(PHONE, text)
    return text


def _without_links(text: str) -> str:
    if ":" in text or "." in text:
        text = _URL.sub(LINK, text)
    if "/" in text:
        text = _SITE.sub(LINK, text)
    return _CUT_URL.sub(LINK, text.rstrip()) if text.rstrip().endswith(_CUT) else text


def _spell_out(hashtag: re.Match[str]) -> str:
    return _HUMP.sub(" ", hashtag[1])


def _without_odd_quote(text: str) -> str:
    """Quotes whose partner was cut off with a name say nothing."""
    return text if text.count('"') % 2 == 0 else " ".join(text.replace('"', " ").split())
