"""What can go wrong, as one line that says where, what was expected, what was found, what to do."""

import difflib
from collections.abc import Iterable

from postsense.escaping import shown


class PostsenseError(Exception):
    """Anything a user can cause or mend; the command line prints it as one line, exit code 2."""

    def __init__(self, where: object, expected: str, found: str, fix: str = "") -> None:
        self.where, self.expected, self.found, self.fix = str(where), expected, found, fix
        message = f"{where}: expected {expected}, found {found}." + (f" {fix}" if fix else "")
        super().__init__(shown(message.replace("\n", " ")))


class ConfigError(PostsenseError):
    """A setting is unknown, out of range or contradicts another."""


class DataError(PostsenseError):
    """A table, a column or too many of its rows cannot be used."""


class PictureError(PostsenseError):
    """One picture cannot be used; the row that names it is a bad row."""


class EncoderError(PostsenseError):
    """An encoder cannot be found, loaded or used as asked."""


class ModelError(PostsenseError):
    """A model folder is missing, damaged or from another version."""


class CorpusError(PostsenseError):
    """A corpus or its index is missing, damaged, empty or built for something else."""


class RunError(PostsenseError):
    """A run folder is missing, damaged or belongs to other settings."""


class DiskFullError(PostsenseError):
    """There is no room for a file on the disk; the same command goes on when there is."""


class BusyError(PostsenseError):
    """Another command writes to the same folder at the moment."""


def nearest(name: str, choices: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """The hint `Did you mean 'x'?` for the choice closest to name, or what is listed, sorted.

    listed: where none is close; None: all choices.
    """
    ordered = sorted(choices)
    close = difflib.get_close_matches(name, ordered, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Choose one of {ordered if listed is None else sorted(listed)}."
