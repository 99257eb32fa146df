"""What a post can be read as: the table that schema, columns, preparation and branches follow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from postsense.registry.table import Registry


@dataclass(frozen=True)
class Input:
    """Something that a model can read of a post.

    name: of the column of ours, and in a batch. description: for the settings.
    prepare: "module:function" that makes its column of a PreparedPosts: see `inputs.columns`.
    holds: "words" go through the encoder of texts, "picture" through that of pictures. A "vector"
        stands beside them, with statistics of its own: no column of a table is named for it, and it
        is read where blocks.NAME is above 0.
    of_picture: it says what the picture shows, and goes with it where words are swapped.
    listed: a cell is a list of words. optional: it is read if the table's column is named in the
    settings, data.columns.NAME; else if the fusion reads it.
    width: D of a vector; 0: that of the text encoder. of: our name of the column that a vector is
    made of. statistics: "module:function" of (its column, rows of train) that returns what is
    subtracted from a vector, then what it is divided by, each (D,). length: what it is
    scaled to after that; None: it stays as long as it is.
    """

    name: str
    description: str
    prepare: str | Callable[..., Any]
    holds: Literal["words", "picture", "vector"] = "words"
    of_picture: bool = False
    listed: bool = False
    optional: bool = False
    width: int = 0
    of: str = "text"
    statistics: str | Callable[..., Any] = ""
    length: float | None = None

    @property
    def has_column(self) -> bool:
        """Whether a table has a column for it."""
        return self.holds != "vector"

    @property
    def column(self) -> str:
        """Our name of the column that it is made of."""
        return self.name if self.has_column else self.of


INPUTS = Registry(
    "input",
    [
        Input("text", "words of the post", "postsense.inputs.columns:text_column"),
        Input(
            "image",
            "path of the picture, relative to the table",
            "postsense.inputs.columns:image_column",
            holds="picture",
            of_picture=True,
        ),
        Input(
            "attributes",
            "list of words for what the picture shows",
            "postsense.inputs.columns:attribute_column",
            of_picture=True,
            listed=True,
        ),
        Input(
            "title",
            "more words beside the post's, such as a headline or an alt text; none: not read",
            "postsense.inputs.columns:words_column",
            optional=True,
        ),
        Input(
            "lexical",
            "28 numbers on feeling, length, signs and spelling of the words",
            "postsense.inputs.lexical:lexical_column",
            holds="vector",
            width=28,
            statistics="postsense.inputs.vectors:vector_statistics",
        ),
        Input(
            "tfidf",
            "which words and parts of words are used, the rarer the heavier",
            "postsense.inputs.hashed_words:hashed_column",
            holds="vector",
            width=8192,
            statistics="postsense.inputs.hashed_words:frequency_statistics",
            length=16.0,
        ),
        Input(
            "comments",
            "mean vector of the post's own comments",
            "postsense.inputs.own_comments:vector_column",
            holds="vector",
            of="comments",
            statistics="postsense.inputs.vectors:vector_statistics",
        ),
    ],
)
