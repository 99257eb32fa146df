"""A text → the same text without whom it names and what it links to."""

import re

USER, LINK = "@USER", "HTTPURL"
_LINK = re.compile(
    r"(?:https?:|www\.)\S*"
    r"|(?<![\w-])(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?::\d{1,5})?/\S*",  # t.me/someone
    re.IGNORECASE,
)
# @someone, an e-mail address, u/someone. What stands before the @ is read once from its beginning
# and else at most 64 letters deep: a word of any length takes time in proportion.
_HANDLE = re.compile(
    r"(?:(?<![\w.+-])\w[\w.+-]*+|\w[\w.+-]{0,63}+)?[@＠]\w+(?:[@＠.-]\w+)*"
    r"|(?<![\w/])/?u/[\w-]{3,20}\b"
)


def hide_people(text: str) -> str:
    """The text with @USER for handles and e-mail addresses and HTTPURL for links.

    Source: ours; the placeholders are those of BERTweet. A domain counts as a link if a path
    follows it, with or without http.
    """
    return _HANDLE.sub(USER, _LINK.sub(LINK, text))
