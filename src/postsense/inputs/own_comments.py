"""A post's own comments → one vector, the mean of theirs."""

from collections.abc import Sequence

import numpy as np

from postsense.encoders.features import FeatureColumn
from postsense.inputs.columns import Broken, Preparation, text_input
from postsense.inputs.vectors import VectorColumn
from postsense.posts import posts_of_texts

_BLOCK = 4096  # posts whose comments' vectors are in memory at a time


def vector_column(name: str, preparation: Preparation) -> tuple[VectorColumn, Broken]:
    """The mean of the vectors of a post's first comments; each text is encoded once."""
    most, given = preparation.config.comments.most, preparation.posts.column("comments")
    comments = [(texts or [])[:most] for texts in given]
    places: dict[str, int] = {}
    rows = [[places.setdefault(text, len(places)) for text in texts] for texts in comments]
    texts = posts_of_texts([*places], "comments")
    column = text_input(preparation, texts, with_tokens=False)
    assert isinstance(column, FeatureColumn)  # blocks are read beside frozen encoders only
    return mean_vectors(column, rows), {}


def mean_vectors(column: FeatureColumn, rows: Sequence[Sequence[int]]) -> VectorColumn:
    """The mean over the texts of each post. rows: (N,) positions of a post's texts in the column.

    Texts without a vector, such as one of signs that nobody can read, do not count.
    """
    readable = [[row for row in texts if column.rows[row] >= 0] for texts in rows]
    given = [texts for texts in readable if texts]
    parts = [np.zeros((0, column.store.dim), dtype=np.float16)]
    for start in range(0, len(given), _BLOCK):
        block = given[start : start + _BLOCK]
        flat = np.array([row for texts in block for row in texts])
        sizes = np.array([len(texts) for texts in block])
        sums = np.add.reduceat(
            column.store.pooled(column.rows[flat]), np.cumsum(sizes) - sizes, axis=0
        )
        parts.append((sums / sizes[:, None]).astype(np.float16))
    has = np.array([bool(texts) for texts in readable], dtype=bool)
    return VectorColumn(np.concatenate(parts), np.where(has, np.cumsum(has) - 1, -1))
