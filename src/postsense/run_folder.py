"""What marks a folder as a run: its settings and posts, written once, compared ever after."""

import hashlib
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from postsense import __version__
from postsense.atomic import write_json
from postsense.config import Config
from postsense.config_loading import parse_config
from postsense.corpus.reading import open_corpus
from postsense.data.splitting import Splits
from postsense.encoders.regions import REGIONS
from postsense.errors import ConfigError, RunError
from postsense.inputs import reads_attributes

WRITTEN_WHOLE = (
    *("config.json", "run.json", "bad_rows.jsonl", "metrics.json"),
    *("predictions.parquet", "pseudo_labels.parquet"),
    *("groups.json", "groups.parquet", "index.html"),
)
LEFTOVER = re.compile(  # as `replacing` and `save_model` call what they have not finished
    "|".join(
        rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}{re.escape(Path(name).suffix)}"
        for name in WRITTEN_WHOLE
    )
    + r"|\.model\.[0-9a-f]{32}"
)
NO_DIFFERENCE = {
    "encoders": {"cache", "threads"},
    "training": {"workers", "gradient_checkpointing"},
}


def claim_run(folder: Path, config: Config, splits: Splits) -> None:
    """Write what the run is, or refuse if the folder holds another one."""
    settings = config.model_dump(mode="json")
    description: dict[str, Any] = {
        "postsense": __version__,
        "posts": {name: len(getattr(splits, name)) for name in ("train", "val", "test")},
        "classes": list(splits.classes),
        "labels": _label_counts(splits),
        "val_drawn_from_train": splits.carved,
        "unlabeled": splits.unlabeled,
        "fingerprint": _fingerprint(splits, config),
    }
    mark_run(folder, settings, description)


def mark_run(folder: Path, settings: dict[str, Any], description: dict[str, Any]) -> None:
    """Write settings and description of a run, unless they are there. Raises: RunError."""
    refuse_taken(folder, settings, description["fingerprint"])
    if not (folder / "config.json").is_file():
        write_json(folder / "run.json", description)
        write_json(folder / "config.json", settings)  # last: it marks the folder as a run


def refuse_taken(folder: Path, settings: dict[str, Any], fingerprint: str) -> None:
    """Refuse a folder that holds another run, or files that are no run's, and leave it as it is.

    What was left half-written when a run was killed while it marked its folder is no stranger.
    Raises: RunError.
    """
    if (folder / "config.json").is_file():
        _refuse_other_run(folder, settings, fingerprint)
        return
    names = {item.name for item in folder.glob("*")} - {"run.json"}
    strangers = sorted(name for name in names if not LEFTOVER.fullmatch(name))
    if strangers:
        found = f"{strangers[:5]} in it"
        raise RunError(folder, "an empty or new folder, or a run", found, "Choose another --out.")


def _refuse_other_run(folder: Path, settings: dict[str, Any], fingerprint: str) -> None:
    changed = _differences(_settings_of(folder), settings)
    if changed:
        raise RunError(
            folder,
            f"the settings it was started with, {', '.join(sorted(changed))}",
            ", ".join(sorted(changed.values())),
            "Choose another --out, or the same settings.",
        )
    if read_json(folder / "run.json")["fingerprint"] != fingerprint:
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


def read_json(file: Path) -> Any:
    """The JSON in a file of a run. Raises: RunError: missing or damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(file, "JSON written by a run", str(error), "Train the run again.") from None


def _settings_of(folder: Path) -> dict[str, Any]:
    """The settings a run was started with; those that are newer than the run at their defaults."""
    before = read_json(folder / "config.json")
    try:
        return parse_config(before).model_dump(mode="json")
    except ConfigError:
        return dict(before)  # what differs will say what this version does not know


def _differences(before: Any, after: Any, prefix: str = "") -> dict[str, str]:
    """What differs, as {"key = old": "key = new"}, but for settings that change no result."""
    changed: dict[str, str] = {}
    for key in sorted(set(before) | set(after)):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed |= _differences(old, new, f"{prefix}{key}.")
        elif old != new and key not in NO_DIFFERENCE.get(prefix.rstrip("."), ()):
            changed[f"{prefix}{key} = {old!r}"] = f"{prefix}{key} = {new!r}"
    return changed


def _label_counts(splits: Splits) -> dict[str, dict[str, int]]:
    labels = np.array(splits.posts.column("label"), dtype=object)
    parts = {name: labels[getattr(splits, name)] for name in ("train", "val", "test")}
    known = {name: [label for label in part if label is not None] for name, part in parts.items()}
    return {name: dict(sorted(Counter(part).items())) for name, part in known.items()}


def _fingerprint(splits: Splits, config: Config) -> str:
    """A hash of all that the run reads of the table and of a corpus; pictures count by their path.

    Raises: CorpusError: there is no such corpus.
    """
    digest = hashlib.blake2b(digest_size=16)
    if config.retrieval.corpus is not None:
        digest.update(open_corpus(config.retrieval.corpus).fingerprint)
    if reads_attributes(config):
        digest.update(json.dumps(splits.posts.column("attributes")).encode())
    regions = (REGIONS,) if config.encoders.image.name == REGIONS else ()
    for name in ("id", "text", "image", "label", *regions):
        for value in splits.posts.column(name):
            digest.update(b"\0" if value is None else b"\1" + value.encode() + b"\0")
    for rows in (splits.train, splits.val, splits.test):
        digest.update(np.ascontiguousarray(rows, dtype=np.int64).tobytes() + b"\2")
    return digest.hexdigest()
