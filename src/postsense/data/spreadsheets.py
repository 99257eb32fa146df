"""Traces that a spreadsheet has left in a table."""

import re
from collections.abc import Sequence
from typing import Final

LOST_DIGITS: Final = (
    "are in scientific notation: a spreadsheet has cut their digits. Make the column text there"
    " before the table is opened, and save it again."
)
_SCIENTIFIC = re.compile(r"[0-9][.,]?[0-9]*E\+[0-9]{1,3}")


def ids_without_digits(ids: Sequence[str]) -> list[str]:
    """The ids that are numbers such as 1.23E+15, which stand for many others."""
    return [each for each in ids if "E+" in each and _SCIENTIFIC.fullmatch(each) is not None]
