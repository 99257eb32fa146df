"""Packages that only some commands need: imported there, or one line says which extra has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from postsense.errors import CorpusError


@contextmanager
def brought_by(extra: str, package: str) -> Iterator[None]:
    """To import modules of a package in. Raises: CorpusError: it is missing, or cannot be loaded.

    Args:
        extra: of ours that installs it. package: its name for pip.
    """
    try:
        yield
    except ImportError as error:
        found = "none" if isinstance(error, ModuleNotFoundError) else str(error)
        fix = f"Install what is missing: pip install 'postsense[{extra}]'"
        raise CorpusError(f"extra '{extra}'", f"the package '{package}'", found, fix) from None


def load_faiss(extra: str = "corpus") -> Any:
    """The Faiss module. Raises: CorpusError: it is not installed; extra: the one that has it."""
    with brought_by(extra, "faiss-cpu"):
        import faiss
    return faiss
