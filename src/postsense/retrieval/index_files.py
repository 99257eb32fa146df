"""Files of an index: Faiss indexes under their SHA-256, and a description that is written last."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xxhash import xxh3_128_hexdigest

from postsense.errors import CorpusError
from postsense.extras import load_faiss
from postsense.files.atomic import replacing, write_json
from postsense.files.regular import UnreadableFileError, read_regular

FORMAT = 1
_CHECKSUM, _LARGEST_BYTES = "checksum", 2**20
REBUILD = "Build it with 'postsense corpus index CORPUS'."


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
    try:
        return load_faiss().read_index(str(file))
    except (RuntimeError, MemoryError) as error:
        found = f"a damaged one ({str(error).splitlines()[0]})"
        raise CorpusError(file, "the codes of an index", found, REBUILD) from None


def write_description(file: Path, values: Mapping[str, Any]) -> None:
    """Write what an index is, atomically, with a checksum of all of it."""
    record = {"format": FORMAT, **values}
    write_json(file, {**record, _CHECKSUM: _digest(record)})


def read_description(file: Path) -> dict[str, Any]:
    """Read what an index is. Raises: CorpusError: missing, damaged or of another format."""
    try:
        description = json.loads(read_regular(file, _LARGEST_BYTES))
    except UnreadableFileError as error:
        raise CorpusError(file, "an index", error.found, REBUILD) from None
    except (ValueError, RecursionError):
        raise CorpusError(file, "the description of an index", "a damaged file", REBUILD) from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CorpusError(file, f"format {FORMAT}", "another format", REBUILD)
    checksum = description.pop(_CHECKSUM, None)  # none before there were any
    if checksum is not None and checksum != _digest(description):
        raise CorpusError(file, "the description that was written", "a changed one", REBUILD)
    return description


def _digest(record: Mapping[str, Any]) -> str:
    """32 hexadecimal digits of what JSON makes of a record."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    return xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
