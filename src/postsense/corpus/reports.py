"""What a build or an addition did: for the user, for corpus.json, and as a list of bad posts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from postsense.corpus.ingest import Source
from postsense.corpus.manifest import Arrival, read_manifest
from postsense.corpus.parts import BAD_ROWS
from postsense.corpus.selection import BadPost, Selection
from postsense.errors import CorpusError
from postsense.files.atomic import replacing


@dataclass(frozen=True)
class BuildReport:
    """What a command brought into a corpus.

    read: posts in the inputs. dropped: posts by reason. dropped_comments: comments by reason.
    """

    read: int
    posts: int
    comments: int
    dropped: Mapping[str, int]
    dropped_comments: Mapping[str, int]
    bad: tuple[BadPost, ...]


def report_of(selection: Selection) -> BuildReport:
    """The report of what was selected."""
    counts = pc.list_value_length(selection.table["comments"])
    return BuildReport(
        read=selection.read,
        posts=len(selection.table),
        comments=int(pc.sum(counts).as_py() or 0),
        dropped=selection.dropped,
        dropped_comments=selection.dropped_comments,
        bad=selection.bad,
    )


def arrival_of(selection: Selection, command: dict[str, Any]) -> Arrival:
    """The record of what was selected and of the files it came from."""
    report = report_of(selection)
    return Arrival(
        sources=tuple(Source(**source) for source in command["sources"]),
        comment_sources=tuple(Source(**source) for source in command["comment_sources"]),
        read=report.read,
        posts=report.posts,
        comments=report.comments,
        dropped=report.dropped,
        dropped_comments=report.dropped_comments,
        bad=len(report.bad),
    )


def built_report(folder: Path) -> BuildReport:
    """What the build of a corpus that is there reported."""
    built = read_manifest(folder).arrivals[0]
    names = ("read", "posts", "comments", "dropped", "dropped_comments")
    counts = {name: getattr(built, name) for name in names}
    return BuildReport(**counts, bad=tuple(read_bad_posts(folder)[: built.bad]))


def write_bad_posts(folder: Path, bad: Sequence[BadPost]) -> None:
    """Write bad_rows.jsonl, each post once."""
    lines = [json.dumps(asdict(post), ensure_ascii=False) + "\n" for post in bad]
    with replacing(folder / BAD_ROWS) as temporary:
        temporary.write_text("".join(dict.fromkeys(lines)), encoding="utf-8", newline="\n")


def read_bad_posts(folder: Path) -> list[BadPost]:
    """Read bad_rows.jsonl. Raises: CorpusError: missing or damaged."""
    file = folder / BAD_ROWS
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [BadPost(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise CorpusError(file, "the list of bad posts", str(error), "Build again.") from None
