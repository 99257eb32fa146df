"""Files of an index: Faiss indexes under their SHA-256, and a description that is written last."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from postsense.atomic import replacing, write_json
from postsense.corpus.language import missing_extra
from postsense.errors import CorpusError

FORMAT = 1
REBUILD = "Build it with 'postsense corpus index CORPUS'."


def load_faiss(extra: str = "corpus") -> Any:
    """The Faiss module. Raises: CorpusError: it is not installed; extra: the one that has it."""
    try:
        import faiss
    except ImportError:
        raise missing_extra("faiss-cpu", extra) from None
    return faiss


def write_codes(index: Any, file: Path) -> str:
    """Write a Faiss index, atomically. Returns: its SHA-256."""
    with replacing(file) as temporary:
        load_faiss().write_index(index, str(temporary))
        return _sha256(temporary)


def read_codes(file: Path, sha256: str) -> Any:
    """Read a Faiss index. Raises: CorpusError: missing, or not the file that was written."""
    if not file.is_file():
        raise CorpusError(file, "the codes of an index", "no such file", REBUILD)
    if _sha256(file) != sha256:
        raise CorpusError(file, "the file that was built", "a damaged or changed one", REBUILD)
    return load_faiss().read_index(str(file))


def write_description(file: Path, values: Mapping[str, Any]) -> None:
    """Write what an index is, atomically."""
    write_json(file, {"format": FORMAT, **values})


def read_description(file: Path) -> dict[str, Any]:
    """Read what an index is. Raises: CorpusError: missing, damaged or of another format."""
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorpusError(file, "an index", "no such file", REBUILD) from None
    except (OSError, ValueError):
        raise CorpusError(file, "the description of an index", "a damaged file", REBUILD) from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CorpusError(file, f"format {FORMAT}", "another format", REBUILD)
    return description


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
