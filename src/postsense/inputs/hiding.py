"""Prepared posts → the same without their words, pictures or comments, to see what those bring."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from postsense.arrays import Array
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.regions import REGIONS
from postsense.inputs.batches import CommentColumn, Comments, InputColumn, Pixels, Read, TokenIds
from postsense.inputs.preparation import PreparedPosts
from postsense.registry.inputs import INPUTS

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "words": ("text", "title"),
    "picture": ("image", "attributes", REGIONS),
    "comments": ("comments",),
}
"""What may be hidden, and the columns of a table that it is made of."""


@dataclass(frozen=True)
class HiddenColumn:
    """A column whose posts are all read as if they lacked it."""

    column: InputColumn

    def batch(self, posts: Array) -> Read:
        """The batch of the column, with nothing present."""
        return hidden(self.column.batch(posts))


class HiddenComments(CommentColumn):
    """Hint comments, none of which is there."""

    def batch(self, posts: Array, fresh: Array | None = None) -> Comments:
        """The comments of the posts at these positions, all absent."""
        comments = super().batch(posts, fresh)
        return Comments(comments.texts, torch.zeros_like(comments.present))


def hidden(read: Read) -> Read:
    """What was read of B posts, as if no post had it."""
    if isinstance(read, TokenIds):
        return TokenIds(read.ids, torch.zeros_like(read.mask))
    if isinstance(read, Pixels):
        return Pixels(torch.zeros_like(read.pixels), torch.zeros_like(read.present))
    nothing = {
        name: torch.zeros_like(value) for name, value in vars(read).items() if value is not None
    }
    return Embeddings(**nothing)


def hide(prepared: PreparedPosts, part: str) -> PreparedPosts:
    """The posts without this part, which is one of PARTS, however they are read."""
    columns, sources = prepared.columns, PARTS[part]
    read = {
        name: HiddenColumn(column) if INPUTS[name].column in sources else column
        for name, column in columns.read.items()
    }
    comments = columns.comments
    if part == "comments" and comments is not None:
        comments = HiddenComments(comments.texts, comments.rows, comments.blank)
    readings = {key: hide(one, part) for key, one in prepared.readings.items()}
    return replace(
        prepared, columns=replace(columns, read=read, comments=comments), readings=readings
    )


def parts_read(prepared: PreparedPosts) -> tuple[str, ...]:
    """The parts that are read of the posts, however they are read."""
    found = set[str]()
    for one in (prepared, *prepared.readings.values()):
        columns = {INPUTS[name].column for name in one.columns.read}
        found |= {part for part, sources in PARTS.items() if columns & set(sources)}
        found |= {"comments"} if one.columns.comments is not None else set()
    return tuple(part for part in PARTS if part in found)


def has_part(prepared: PreparedPosts, part: str) -> Array:
    """(N,) bool, which posts have this part."""
    table = prepared.posts.table
    if part == "comments":
        own = np.array([bool(texts) for texts in prepared.posts.column("comments")], dtype=bool)
        for row, hints in enumerate(() if prepared.hints is None else prepared.hints.given):
            own[row] |= bool(hints)
        return own
    valid = [table[name].is_valid() for name in PARTS[part] if name in table.column_names]
    found: Array = np.logical_or.reduce([one.to_numpy() for one in valid])
    return found
