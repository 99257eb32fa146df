"""Characters that show nothing: what is blank to a reader, whatever its code points."""

import re
from typing import Final

# Control and format characters, fillers and selectors: Unicode's Default_Ignorable_Code_Point,
# controls, and the blank cell of Braille.
_INVISIBLE: Final = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SHOWN: Final = re.compile(rf"[^\s{_INVISIBLE}]")
_HIDDEN: Final = re.compile(rf"[{_INVISIBLE}]")


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing: white space and invisible characters at most."""
    return _SHOWN.search(text) is None


def without_invisible(text: str) -> str:
    """The text without characters that show nothing; white space stays, but for line breaks."""
    return _HIDDEN.sub("", text)
