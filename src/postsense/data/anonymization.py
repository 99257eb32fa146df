"""A text → the same text without whom it names and what it links to: all rules in one place."""

import html
import re
from typing import Final

USER, LINK, EMAIL, PHONE = "@USER", "HTTPURL", "EMAIL", "PHONE"

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
_CUT: Final = ("…", "...", "http", "https")
_ANY_LINK: Final = re.compile(
    r"(?:https?:|www\.)\S*"
    r"|(?<![\w-])(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?::\d{1,5})?/\S*",  # t.me/someone
    re.IGNORECASE,
)
# @someone, an e-mail address, u/someone. What stands before the @ is read once from its beginning
# and else at most 64 letters deep: a word of any length takes time in proportion.
_ANY_HANDLE: Final = re.compile(
    r"(?:(?<![\w.+-])\w[\w.+-]*+|\w[\w.+-]{0,63}+)?[@＠]\w+(?:[@＠.-]\w+)*"
    r"|(?<![\w/])/?u/[\w-]{3,20}\b"
)


def anonymize(text: str) -> str:
    """The text with names, links and addresses replaced, HTML entities decoded, spaces single.

    Source: Zhang et al. 2022 (CAST), section 3: mentions become @USER and links HTTPURL.
    Deviation: e-mail addresses become EMAIL and telephone numbers PHONE. Twice is as good as once.
    """
    return " ".join(hide_names(decode(text)).split())


def hide_people(text: str) -> str:
    """The text for people to look at: @USER for handles and e-mail addresses, HTTPURL for links.

    It hides more than `anonymize`, whose texts encoders read: every domain with a path is a link.

    Source: ours; the placeholders are those of BERTweet. A domain counts as a link if a path
    follows it, with or without http.
    """
    return _ANY_HANDLE.sub(USER, _ANY_LINK.sub(LINK, text))


def decode(text: str) -> str:
    """The text as it was typed: HTML entities, escapes and invisible signs undone."""
    while "&" in text and (decoded := html.unescape(text)) != text:
        text = decoded  # often encoded twice: &amp;lt;
    if "\\" in text:
        text = _ESCAPED_BREAK.sub(" ", _ESCAPE.sub("", text))  # of a string within a string
    return text if text.isascii() and text.isprintable() else _INVISIBLE.sub(" ", text)


def hide_names(text: str) -> str:
    """The decoded text with names, links, addresses and numbers replaced."""
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
