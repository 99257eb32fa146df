"""What marks a folder as a run: its settings and posts, written once, compared ever after."""

import hashlib
import json
import logging
import re
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from postsense import __version__
from postsense.config import Config
from postsense.config.fields import settings_in
from postsense.config.loading import as_before, kept_as_before, parse_kept
from postsense.corpus.reading import open_corpus
from postsense.data.splitting import Splits
from postsense.encoders.regions import REGIONS
from postsense.errors import ConfigError, RunError
from postsense.files.atomic import leftover_names, write_json
from postsense.files.json_files import read_json_file
from postsense.files.locking import is_lock
from postsense.posts import Posts
from postsense.registry.inputs import INPUTS
from postsense.saving.places import from_root

logger = logging.getLogger(__name__)
WRITTEN_WHOLE = (
    *("config.json", "run.json", "bad_rows.jsonl", "metrics.json"),
    *("predictions.parquet", "baselines.parquet", "pseudo_labels.parquet"),
    *("groups.json", "groups.parquet", "index.html"),
)
LEFTOVER = re.compile(  # as `replacing` and `replacing_folder` call what they have not finished
    "|".join(
        rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}{re.escape(Path(name).suffix)}"
        for name in WRITTEN_WHOLE
    )
    + f"|{leftover_names('model')}"
)
ANEW = "Copy the run again from its source, or train it again with another --out."
NO_DIFFERENCE = {one.key for one in settings_in(Config) if one.marks.get("same_result")}


def as_started(folder: Path, config: Config) -> Config:
    """The settings with which a run goes on that an earlier version began: symbols as it did."""
    file = folder / "config.json"
    if not (file.is_file() and kept_as_before(read_json(file))):
        return config
    logger.warning("%s goes on as it was started: encoders.text.unknown=keep", folder)
    return config.model_copy(update={"encoders": as_before(config.encoders)})


def describe_run(config: Config, splits: Splits) -> dict[str, Any]:
    """What a run is trained on, for its folder. Raises: CorpusError: there is no such corpus."""
    return {
        "postsense": __version__,
        "posts": {name: len(getattr(splits, name)) for name in ("train", "val", "test")},
        "classes": list(splits.classes),
        "label_kind": splits.posts.label_kind,
        "labels": _label_counts(splits),
        "val_drawn_from_train": splits.carved,
        "unlabeled": splits.unlabeled,
        "fingerprint": fingerprint_splits(splits, config),
    }


def fingerprint_splits(splits: Splits, config: Config) -> str:
    """A hash of all that a run reads of the table and of a corpus; pictures count by their path.

    Raises: CorpusError: there is no such corpus.
    """
    digest = hashlib.blake2b(digest_size=16)
    if config.retrieval.corpus is not None:
        digest.update(open_corpus(config.retrieval.corpus).fingerprint)
    read = [INPUTS[name] for name in config.inputs if name not in ("text", "image")]
    read = [one for one in read if one.has_column]  # others are made of what is there already
    for one in read:
        if one.listed:
            digest.update(json.dumps(splits.posts.column(one.name)).encode())
    if config.reads_own_comments:
        digest.update(json.dumps(splits.posts.column("comments")).encode())
    more = [one.name for one in read if not one.listed]
    kept = config.encoders.image.declared.column
    features = () if kept == "image" else (kept,)
    _add_columns(digest, splits.posts, "id", "text", "image", "label", *more, *features)
    for rows in (splits.train, splits.val, splits.test):
        digest.update(np.ascontiguousarray(rows, dtype=np.int64).tobytes() + b"\2")
    return digest.hexdigest()


def fingerprint_unlabeled(posts: Posts) -> str:
    """A hash of all that is read of posts without labels or splits; pictures count by their path.

    It differs from that of any run on posts with labels.
    """
    digest = hashlib.blake2b(digest_size=16, person=b"discover")
    _add_columns(digest, posts, "id", "text", "image", REGIONS)
    return digest.hexdigest()


def _add_columns(digest: "hashlib.blake2b", posts: Posts, *names: str) -> None:
    for name in names:
        for value in posts.column(name):
            digest.update(b"\0" if value is None else b"\1" + value.encode() + b"\0")


def mark_run(folder: Path, settings: dict[str, Any], description: dict[str, Any]) -> None:
    """Write settings and description of a run, unless they are there. Raises: RunError."""
    refuse_taken(folder, settings, description["fingerprint"])
    marked = folder / "config.json"
    if marked.is_file() and not _is_begun(folder):
        marked.unlink()  # of a run that failed before it had trained anything
    if not marked.is_file():
        write_json(folder / "run.json", description)
        write_json(folder / "config.json", settings)  # last: it marks the folder as a run


def refuse_taken(folder: Path, settings: dict[str, Any], fingerprint: str) -> None:
    """Refuse a folder that holds another run, or files that are no run's, and leave it as it is.

    What was left half-written when a run was killed while it marked its folder is no stranger. A
    run that failed before an epoch was kept holds nothing: its folder is free for another.
    Raises: RunError.
    """
    if (folder / "config.json").is_file():
        if _is_begun(folder):
            _refuse_other_run(folder, settings, fingerprint)
        return
    names = {item.name for item in folder.glob("*") if not is_lock(item)} - {"run.json"}
    strangers = sorted(name for name in names if not LEFTOVER.fullmatch(name))
    if strangers:
        found = f"{strangers[:5]} in it"
        raise RunError(folder, "an empty or new folder, or a run", found, "Choose another --out.")


def free_unbegun(folder: Path) -> None:
    """Take the marks of a run away if it has kept nothing, so that the folder is as it was.

    Where half-written files are left, which only a marked folder is rid of, the marks stay.
    """
    for seed in (*folder.glob("seed-*/checkpoints"), *folder.glob("seed-*")):
        with suppress(OSError):  # something is in it
            seed.rmdir()
    if next(folder.glob("seed-*"), None) is None:
        for name in ("config.json", "run.json", "bad_rows.jsonl"):  # config.json first, as it marks
            (folder / name).unlink(missing_ok=True)


def _is_begun(folder: Path) -> bool:
    """Whether a run has kept anything that was trained, be it one epoch."""
    kept = ("state.json", "model.json", "metrics.json")  # of a checkpoint, a model, a seed
    return any(next(folder.glob(f"seed-*/**/{name}"), None) is not None for name in kept)


def _refuse_other_run(folder: Path, settings: dict[str, Any], fingerprint: str) -> None:
    changed = _differences(_settings_of(folder), settings)
    if changed:
        raise RunError(
            folder,
            f"the settings it was started with, {', '.join(sorted(changed))}",
            ", ".join(sorted(changed.values())),
            "Choose another --out, or the same settings.",
        )
    if read_json(folder / "run.json", fingerprint=str)["fingerprint"] != fingerprint:
        raise RunError(
            folder,
            "the posts it was started with",
            "posts, labels, splits or a corpus that differ",
            "Choose another --out, or the same table and corpus.",
        )


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder that is marked as a run's."""
    for item in folder.glob(".*"):
        if LEFTOVER.fullmatch(item.name):
            shutil.rmtree(item) if item.is_dir() else item.unlink()


def files_of(folder: Path) -> list[Path]:
    """The files of a run that no other command may write over."""
    return [file for name in WRITTEN_WHOLE for file in folder.rglob(name)]


def read_json(file: Path, **kinds: Any) -> dict[str, Any]:
    """The object in a JSON file of a run.

    kinds: the type of each key that must be there, as pydantic knows types.
    Raises: RunError: missing or damaged, or a key is missing or of another type.
    """
    expected, fix = "JSON written by a run", ANEW
    try:
        values = read_json_file(file)
        if not isinstance(values, dict):
            raise RunError(file, f"{expected}, an object", f"a {type(values).__name__}", fix)
        for key, kind in kinds.items():
            if key not in values:
                raise RunError(file, f"{expected}, with '{key}'", f"the keys {sorted(values)}", fix)
            TypeAdapter(kind).validate_python(values[key], strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise RunError(f"{file}, {key}", expected, f"a wrong value ({problem})", fix) from None
    except (OSError, ValueError) as error:
        raise RunError(file, expected, str(error), fix) from None
    return values


def settings_of(folder: Path) -> Config:
    """The settings a run was started with. Raises: RunError: damaged, or of another version."""
    file = folder / "config.json"
    try:
        return parse_kept(read_json(file))
    except ConfigError as error:
        raise RunError(file, "settings of this version", error.found, ANEW) from None


def _settings_of(folder: Path) -> dict[str, Any]:
    """The settings a run was started with; those that are newer than the run at what it did."""
    before = read_json(folder / "config.json")
    try:
        return from_root(parse_kept(before)).model_dump(mode="json")
    except ConfigError:
        return before  # what differs will say what this version does not know


def _differences(before: Any, after: Any, prefix: str = "") -> dict[str, str]:
    """What differs, as {"key = old": "key = new"}, but for settings that change no result."""
    changed: dict[str, str] = {}
    for key in sorted(set(before) | set(after)):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed |= _differences(old, new, f"{prefix}{key}.")
        elif old != new and f"{prefix}{key}" not in NO_DIFFERENCE:
            changed[f"{prefix}{key} = {old!r}"] = f"{prefix}{key} = {new!r}"
    return changed


def _label_counts(splits: Splits) -> dict[str, dict[str, int]]:
    labels = np.array(splits.posts.column("label"), dtype=object)
    parts = {name: labels[getattr(splits, name)] for name in ("train", "val", "test")}
    known = {name: [label for label in part if label is not None] for name, part in parts.items()}
    return {name: dict(sorted(Counter(part).items())) for name, part in known.items()}
