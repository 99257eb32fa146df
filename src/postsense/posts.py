"""Posts: one table in memory, one row of it at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import numpy as np
import pyarrow as pa

from postsense.registry.inputs import INPUTS

Label = str | int | float | bool
LabelKind = Literal["text", "int", "float", "bool"]  # what the names of classes stand for

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),  # null: the post has no text
        ("image", pa.string()),  # path of the picture; null: the post has no picture
        ("label", pa.string()),
        ("split", pa.string()),
        ("comments", pa.list_(pa.string())),
        ("attributes", pa.list_(pa.string())),  # words for what the picture shows
        ("created_at", pa.string()),
        ("regions", pa.string()),  # path of features of the picture's regions
        *((name, pa.string()) for name, one in INPUTS.items() if one.optional),
    ]
)


@dataclass(frozen=True)
class Post:
    """A picture and a few words. Text and image may be None, though not both for a usable post.

    more: what it has of the optional inputs of `registry.inputs`, such as a title, by name.
    """

    id: str
    text: str | None = None
    image: str | None = None
    label: str | None = None
    split: str | None = None
    comments: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    created_at: str | None = None
    regions: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)


class Posts(Sequence[Post]):
    """An immutable sequence of posts over one Arrow table (about the bytes of its texts in memory).

    `name` says where the posts came from, for messages. `extra` holds other columns of the user's
    table, as it gives them, a value for each post; they stay with the posts they belong to.
    `label_kind` is what the labels were before they became names. `made_ids`: the table had no ids,
    so that these mean nothing beside another table's.
    """

    def __init__(
        self,
        table: pa.Table,
        name: str,
        extra: Mapping[str, Sequence[Any]] | None = None,
        *,
        label_kind: LabelKind = "text",
        made_ids: bool = False,
    ) -> None:
        self.table = table
        self.name = name
        self.extra = dict(extra or {})
        self.label_kind: LabelKind = label_kind
        self.made_ids = made_ids

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Post: ...
    @overload
    def __getitem__(self, index: slice) -> "Posts": ...
    def __getitem__(self, index: int | slice) -> "Post | Posts":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return _post({name: self.table[name][index].as_py() for name in SCHEMA.names})

    def __iter__(self) -> Iterator[Post]:
        for batch in self.table.to_batches(max_chunksize=4096):
            yield from map(_post, batch.to_pylist())

    def column(self, name: str) -> list[Any]:
        """The values of one column as Python objects, None where missing."""
        return list(self.table[name].to_pylist())

    def take(self, rows: "np.ndarray | Sequence[int]") -> "Posts":
        """The posts at these rows, in this order."""
        rows = np.asarray(rows, dtype=np.int64)
        extra = {name: [values[row] for row in rows] for name, values in self.extra.items()}
        return self.with_table(self.table.take(pa.array(rows)), extra)

    def with_table(
        self, table: pa.Table, extra: Mapping[str, Sequence[Any]] | None = None
    ) -> "Posts":
        """Posts of another table, and its extra columns, that are otherwise like these."""
        kind, made = self.label_kind, self.made_ids
        return Posts(table, self.name, extra, label_kind=kind, made_ids=made)

    def split(self, name: str) -> "Posts":
        """The posts of one split: "train", "val", "test" or a name of the user's."""
        rows = [row for row, split in enumerate(self.column("split")) if split == name]
        return self.take(rows)

    def labeled(self) -> "Posts":
        """The posts that have a label."""
        return self.take(np.flatnonzero(self.table["label"].is_valid().to_numpy()))


def _post(row: dict[str, Any]) -> Post:
    lists = {name: tuple(row[name] or ()) for name in ("comments", "attributes")}
    optional = {name: row.pop(name) for name, one in INPUTS.items() if one.optional}
    more = {name: value for name, value in optional.items() if value is not None}
    return Post(**{**row, **lists}, more=more)


def posts_of_texts(texts: Sequence[str | None], name: str) -> Posts:
    """Posts that are only these texts."""
    columns = {field: pa.nulls(len(texts), SCHEMA.field(field).type) for field in SCHEMA.names}
    columns["id"] = pa.array([str(row) for row in range(len(texts))])
    columns["text"] = pa.array(texts, pa.string())
    return Posts(pa.table(columns, schema=SCHEMA), name)


def joined_posts(first: Posts, second: Posts) -> Posts:
    """The posts of both tables, the first's first; an extra column that one lacks is None there."""
    extra = {
        name: [
            *first.extra.get(name, [None] * len(first)),
            *second.extra.get(name, [None] * len(second)),
        ]
        for name in {**first.extra, **second.extra}
    }
    return first.with_table(pa.concat_tables([first.table, second.table]), extra)
