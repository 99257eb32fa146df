"""What users of scikit-learn pass as X and y → posts of tables, texts or rows, and labels."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa

from postsense.config import UNREAD_IN_PREDICT, Columns, Config
from postsense.data.loading import load_posts
from postsense.data.reading import reading_of
from postsense.errors import DataError
from postsense.posts import SCHEMA, Post, Posts


def given_posts(given: Any, table: Any, config: Config, **options: Any) -> Posts:
    """The posts of a table, of texts alone, or of the numbered rows of another table.

    Args:
        given: what `load_posts` reads; texts; posts; or numbers of rows, from 0.
        table: what rows are numbered of; None: nothing.
        options: of `load_posts`.
    Raises: DataError: rows of no table, or none of its rows.
    """
    how: Any = {"reading": reading_of(config), **options}
    listed = _listed(given)
    if listed is None or not len(listed):
        return load_posts(given, config.data.columns, **how)
    if all(isinstance(item, int) and not isinstance(item, bool) for item in listed):
        return _numbered(listed, table, config, how)
    if all(item is None or isinstance(item, str) for item in listed):
        optional = {*how.pop("optional", ()), "text", "image"}
        return load_posts([{"text": item} for item in listed], Columns(), optional=optional, **how)
    if all(isinstance(item, Post) for item in listed):
        named = Columns(**{name: name for item in listed for name in item.more})
        return load_posts([_row(item) for item in listed], named, **how)
    return load_posts(listed, config.data.columns, **how)


def labeled_posts(given: Any, labels: Any, table: Any, config: Config) -> Posts:
    """The posts with these labels, one each; what the table says of labels and splits is not read.

    Raises: DataError: not one label a post, or something else than labels.
    """
    options = {"reads": config.columns_read(), "optional": UNREAD_IN_PREDICT}
    posts = given_posts(given, table, config, **options)
    values = _label_values(labels)
    if len(values) != len(posts):
        fix = "Give each post one, None where it has none."
        raise DataError("y", f"{len(posts)} labels, one a post", str(len(values)), fix)
    named = load_posts(
        [{"label": value} for value in values], optional=("text", "image"), reads=("label",)
    )
    columns = {"label": named.table["label"], "split": pa.nulls(len(posts), pa.string())}
    relabeled = posts.table
    for name, column in columns.items():
        relabeled = relabeled.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return Posts(
        relabeled,
        posts.name,
        posts.extra,
        label_kind=named.label_kind,
        made_ids=posts.made_ids,
    )


def _listed(given: Any) -> Sequence[Any] | None:
    """The items of a list, an array or a series; None for a table."""
    if isinstance(given, str | PathLike | Posts | Mapping) or hasattr(given, "columns"):
        return None
    if isinstance(given, np.ndarray):
        flat = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
        if flat.ndim != 1:
            fix = "Pass a table with named columns, texts, or numbers of rows."
            raise DataError("X", "one value a post", f"an array of shape {given.shape}", fix)
        return list(flat.tolist())
    if hasattr(given, "iloc"):  # a series of pandas
        return list(given.tolist())
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        return None
    return [item.item() if isinstance(item, np.generic) else item for item in given]


def _row(post: Post) -> dict[str, Any]:
    """The post as a row of a table."""
    lists = {"comments": list(post.comments), "attributes": list(post.attributes)}
    given = {name: value for name, value in vars(post).items() if name != "more"}
    return {**given, **lists, **post.more}


def _numbered(rows: Sequence[int], table: Any, config: Config, how: dict[str, Any]) -> Posts:
    if table is None:
        fix = "Name it: PostClassifier(posts=TABLE)."
        raise DataError("X", "numbers of rows of a table", "numbers and no table", fix)
    posts = load_posts(table, config.data.columns, **how)
    wrong = [row for row in rows if not 0 <= row < len(posts)]
    if wrong:
        expected = f"numbers of rows from 0 to {len(posts) - 1}"
        raise DataError(f"X, rows of {posts.name}", expected, str(wrong[0]), "Count from 0.")
    return posts.take(rows)


def _label_values(labels: Any) -> list[Any]:
    """The labels as Python has them, None where one is missing."""
    if hasattr(labels, "columns") and hasattr(labels, "iloc") and labels.shape[1] == 1:
        labels = labels.iloc[:, 0]
    elif isinstance(labels, pa.Array | pa.ChunkedArray):
        labels = labels.to_pylist()
    values = _listed(labels)
    if values is None or any(isinstance(value, Mapping | list | tuple) for value in values):
        fix = "Posts to select epochs by are passed as validation=TABLE."
        raise DataError("y", "a list or array of labels", f"'{type(labels).__name__}'", fix)
    return [None if _is_missing(value) else value for value in values]


def _is_missing(value: Any) -> bool:
    nan = isinstance(value, float) and value != value
    return value is None or nan or type(value).__name__ in ("NAType", "NaTType")
