"""corpus.json: what a corpus is, how it was built and what came into it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from postsense.atomic import write_json
from postsense.config import CorpusSettings
from postsense.corpus.ingest import Source
from postsense.errors import CorpusError

FORMAT = 1
NAME = "corpus.json"
_MACHINE = {"encoders": {"cache", "threads", "allow_download"}}  # of the machine, not the corpus


@dataclass(frozen=True)
class Arrival:
    """What one command brought in.

    sources, comment_sources: the files. posts, comments: how many are in. dropped: posts by
    reason. dropped_comments: comments by reason. bad: posts listed in bad_rows.jsonl.
    """

    sources: tuple[Source, ...]
    comment_sources: tuple[Source, ...]
    read: int
    posts: int
    comments: int
    dropped: Mapping[str, int]
    dropped_comments: Mapping[str, int]
    bad: int


@dataclass(frozen=True)
class Manifest:
    """What a corpus is.

    id: 32 hexadecimal digits, of the posts it was built from; what is added later does not change
    it. text_key, image_key: of the encoders. next_number: at least one more than any ever used.
    """

    postsense: str
    id: str
    settings: CorpusSettings
    text_key: str
    image_key: str
    text_dim: int
    image_dim: int
    next_number: int
    arrivals: tuple[Arrival, ...]
    versions: Mapping[str, str]
    format: int = FORMAT

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


def read_manifest(folder: Path) -> Manifest:
    """Read corpus.json. Raises: CorpusError: missing, damaged or of another format."""
    file = folder / NAME
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        found = record["format"]
    except FileNotFoundError:
        raise _no_corpus(folder) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(file, error) from None
    if found != FORMAT:
        fix = "Build the corpus again, or install the postsense that wrote it."
        raise CorpusError(file, f"format {FORMAT}", f"format {found!r}", fix)
    try:
        settings = CorpusSettings.model_validate(record["settings"])
        arrivals = tuple(_arrival(item) for item in record["arrivals"])
        return Manifest(**{**record, "settings": settings, "arrivals": arrivals})
    except (ValidationError, KeyError, TypeError) as error:
        raise _damaged(file, error) from None


def _arrival(record: Mapping[str, Any]) -> Arrival:
    files = {
        name: tuple(Source(**source) for source in record[name])
        for name in ("sources", "comment_sources")
    }
    return Arrival(**{**record, **files})


def _no_corpus(folder: Path) -> CorpusError:
    if (folder / ".build").is_dir():
        found, fix = "one that is half-built", "Run the command that built it again."
    else:
        found = "no corpus.json in it" if folder.is_dir() else "no such folder"
        fix = "Build one with 'postsense corpus build TABLE --out FOLDER'."
    return CorpusError(folder, "a corpus", found, fix)


def _damaged(file: Path, error: Exception) -> CorpusError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CorpusError(file, "JSON written by a build", reason, "Build the corpus again.")
