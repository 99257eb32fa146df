"""What a discovery may start from: settings and posts that are fit for it."""

import numpy as np

from postsense.arrays import Array
from postsense.config import Config
from postsense.encoders.features import FeatureColumn
from postsense.errors import ConfigError, DataError
from postsense.inputs.preparation import PreparedPosts


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
