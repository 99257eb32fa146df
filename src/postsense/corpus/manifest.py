"""corpus.json: what a corpus is, how it was built and what came into it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from postsense.config import CorpusSettings
from postsense.config.loading import with_former
from postsense.corpus.ingest import Source
from postsense.errors import CorpusError
from postsense.files.atomic import write_json
from postsense.files.regular import UnreadableFileError, read_regular

FORMAT = 1
NAME = "corpus.json"
_LARGEST_BYTES = 256 * 2**20  # of corpus.json, which has a few lines for each command
_Count = Annotated[int, Field(ge=0, lt=10**12)]
_Width = Annotated[int, Field(ge=1, le=100_000)]
_Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
_MACHINE: Any = {  # of the machine or of one table, not of the corpus
    "delimiter": True,
    "image_root": True,
    "encoders": {"cache", "threads", "allow_download"},
}


@dataclass(frozen=True)
class Arrival:
    """What one command brought in.

    sources, comment_sources: the files. posts, comments: how many are in. dropped: posts by
    reason. dropped_comments: comments by reason. bad: posts listed in bad_rows.jsonl.
    """

    sources: tuple[Source, ...]
    comment_sources: tuple[Source, ...]
    read: _Count
    posts: _Count
    comments: _Count
    dropped: Mapping[str, int]
    dropped_comments: Mapping[str, int]
    bad: _Count

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Manifest:
    """What a corpus is.

    id: 32 hexadecimal digits, of the posts it was built from; what is added later does not change
    it. text_key, image_key: of the encoders. next_number: at least one more than any ever used.
    states: digests of the numbers that the posts may have: of one state, or of two while a command
    leads from one to the other. centers: digest of that file. Both are empty in a corpus that was
    built before there were any; it is trusted.
    """

    postsense: str
    id: str
    settings: CorpusSettings
    text_key: str
    image_key: str
    text_dim: _Width
    image_dim: _Width
    next_number: _Count
    arrivals: Annotated[tuple[Arrival, ...], Field(min_length=1)]
    versions: Mapping[str, str]
    format: int = FORMAT
    states: tuple[_Digest, ...] = ()
    centers: _Digest | Literal[""] = ""

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files that posts came from."""
        return tuple(source for arrival in self.arrivals for source in arrival.sources)


def settings_record(settings: CorpusSettings) -> dict[str, Any]:
    """What of the settings decides the posts and vectors of a corpus."""
    return settings.model_dump(mode="json", exclude=_MACHINE)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write corpus.json, atomically."""
    write_json(folder / NAME, {**asdict(manifest), "settings": settings_record(manifest.settings)})


def record_states(folder: Path, manifest: Manifest, *states: str) -> Manifest:
    """Write which numbers the posts may have from now on; nothing where they are not recorded.

    states: digests. Returns: the manifest as it is then.
    """
    if not manifest.states or manifest.states == states:
        return manifest
    changed = replace(manifest, states=states)
    write_manifest(folder, changed)
    return changed


def read_manifest(folder: Path) -> Manifest:
    """Read corpus.json. Raises: CorpusError: missing, damaged or of another format."""
    file = folder / NAME
    try:
        data = read_regular(file, _LARGEST_BYTES)
        record = json.loads(data, parse_constant=_refuse_constant)
        found = record["format"]
    except UnreadableFileError as error:
        raise (_no_corpus(folder) if error.is_missing else _damaged(file, error)) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(file, error) from None
    if found != FORMAT:
        fix = "Build the corpus again, or install the postsense that wrote it."
        raise CorpusError(file, f"format {FORMAT}", f"format {found!r}", fix)
    _leave_out(record.get("settings"), _MACHINE)  # a corpus from elsewhere has no say in them
    if isinstance(record.get("settings"), dict):
        record["settings"] = with_former(record["settings"])
    try:
        return _form().validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(file, ValueError(f"{place}: {first['msg']}")) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


@cache
def _form() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def _leave_out(record: Any, names: Any) -> None:
    """Take settings out of a record in place. names: as pydantic's `exclude` has them."""
    if not isinstance(record, dict):
        return
    for name in names:
        inner = names[name] if isinstance(names, dict) else True
        if inner is True:
            record.pop(name, None)
        else:
            _leave_out(record.get(name), inner)


def _no_corpus(folder: Path) -> CorpusError:
    if (folder / ".build").is_dir():
        found, fix = "one that is half-built", "Run the command that built it again."
    else:
        found = "no corpus.json in it" if folder.is_dir() else "no such folder"
        fix = "Build one with 'postsense corpus build TABLE --out FOLDER'."
    return CorpusError(folder, "a corpus", found, fix)


def _damaged(file: Path, error: Exception) -> CorpusError:
    if isinstance(error, UnreadableFileError):
        reason = error.found
    else:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    fix = "Build the corpus again, or restore it from a copy."
    return CorpusError(file, "JSON written by a build", reason, fix)
