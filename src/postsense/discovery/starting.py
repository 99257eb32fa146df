"""What a discovery may start from: settings, posts and a folder that are fit for it."""

import hashlib
from pathlib import Path

import numpy as np

from postsense import __version__
from postsense.atomic import write_json
from postsense.config import Config
from postsense.errors import ConfigError, DataError, RunError
from postsense.inputs import PreparedPosts
from postsense.posts import Posts
from postsense.run_folder import refuse_other_run
from postsense.tables import write_bad_rows


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


def claim(folder: Path, posts: Posts, prepared: PreparedPosts, config: Config) -> None:
    """Write what the run is and which posts are bad, or refuse if the folder holds another one.

    Raises: RunError: it was started with other settings or posts, or is not a run.
    """
    settings, fingerprint = config.model_dump(mode="json"), _fingerprint(posts)
    if (folder / "config.json").is_file():
        refuse_other_run(folder, settings, fingerprint)
    else:
        strangers = sorted({item.name for item in folder.glob("*")} - {"run.json"})
        if strangers:
            expected, found = "an empty or new folder, or a run", f"{strangers[:5]} in it"
            raise RunError(folder, expected, found, "Choose another --out.")
        description = {
            "postsense": __version__,
            "posts": {"train": len(prepared.usable), "val": 0, "test": 0},
            "fingerprint": fingerprint,
        }
        write_json(folder / "run.json", description)
        write_json(folder / "config.json", settings)  # last: it marks the folder as a run
    write_bad_rows(prepared.bad, folder / "bad_rows.jsonl")


def _fingerprint(posts: Posts) -> str:
    """A hash of all that is read of the table; pictures count by their path."""
    digest = hashlib.blake2b(digest_size=16, person=b"discover")
    for name in ("id", "text", "image", "regions"):
        for value in posts.column(name):
            digest.update(b"\0" if value is None else b"\1" + value.encode() + b"\0")
    return digest.hexdigest()
