"""What a discovery may start from: settings, posts and a folder that are fit for it."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from postsense import __version__
from postsense.config import Config
from postsense.encoders.features import FeatureColumn
from postsense.errors import ConfigError, DataError
from postsense.inputs import PreparedPosts
from postsense.posts import Posts
from postsense.run_folder import mark_run, sweep
from postsense.tables import write_bad_rows

Array = np.ndarray[Any, Any]


def refuse_unfit(config: Config) -> None:
    """Refuse settings of other models. Raises: ConfigError."""
    expected = {
        "method": ("cluster_pseudo_labels", config.method),
        "fusion.name": ("concat", config.fusion.name),
        "encoders.text.trainable": (False, config.encoders.text.runs_inside),
        "encoders.image.trainable": (False, config.encoders.image.runs_inside),
        "retrieval.corpus": (None, config.retrieval.corpus),
    }
    for key, (wanted, found) in expected.items():
        if found != wanted:
            fix = "Leave it out; 'postsense train' has other models."
            raise ConfigError("discover", f"{key} = {wanted}", f"{found}", fix)


def refuse_alike(prepared: PreparedPosts, clusters: int) -> None:
    """Refuse fewer different posts than groups, which nothing tells apart. Raises: DataError."""
    usable = prepared.usable
    different = len(np.unique(prepared.contents[usable], axis=0)) if len(usable) else 0
    if different < clusters:
        raise DataError(
            prepared.posts.name,
            f"at least {clusters} different posts for {clusters} groups",
            f"{different} in {len(usable)} usable posts",
            "Lower --clusters, or give more posts.",
        )


def refuse_lacking(prepared: PreparedPosts, rows: Array) -> None:
    """Refuse posts none of which has words, or none a picture. Raises: DataError.

    rows: of the posts that are clustered.
    """
    columns = {name: prepared.columns.get(name) for name in ("text", "image")}
    for name, column in columns.items():
        if isinstance(column, FeatureColumn) and not (column.rows[rows] >= 0).any():
            lacked = {"text": "words", "image": "pictures"}[name]
            raise DataError(
                prepared.posts.name,
                "posts with words and posts with pictures, to group them by both",
                f"no {lacked} in the {len(rows)} posts to be grouped",
                f"Add {lacked}, or name their column: --set data.columns.{name}=COLUMN.",
            )


def claim(folder: Path, prepared: PreparedPosts, config: Config, fingerprint: str) -> None:
    """Write what the run is and which posts are bad, or refuse if the folder holds another one.

    Raises: RunError: it was started with other settings or posts, or is not a run.
    """
    description = {
        "postsense": __version__,
        "posts": {"train": len(prepared.usable), "val": 0, "test": 0},
        "fingerprint": fingerprint,
    }
    mark_run(folder, config.model_dump(mode="json"), description)
    sweep(folder)
    write_bad_rows(prepared.bad, folder / "bad_rows.jsonl")


def fingerprint_of(posts: Posts) -> str:
    """A hash of all that is read of the table; pictures count by their path."""
    digest = hashlib.blake2b(digest_size=16, person=b"discover")
    for name in ("id", "text", "image", "regions"):
        for value in posts.column(name):
            digest.update(b"\0" if value is None else b"\1" + value.encode() + b"\0")
    return digest.hexdigest()
