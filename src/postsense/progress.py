"""How long steps tell whoever is watching how far they are."""

from typing import Protocol


class Progress(Protocol):
    """Called with the step's name, the units done so far and the units in all."""

    def __call__(self, step: str, done: int, total: int) -> None: ...


def silent(step: str, done: int, total: int) -> None:
    """A Progress that says nothing."""
