"""Rows of a table that cannot be used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BadRow:
    """A post that cannot be used, and why."""

    id: str
    reason: str
