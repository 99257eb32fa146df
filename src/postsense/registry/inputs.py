"""What a post can be read as: the table that schema, columns, preparation and branches follow."""

from dataclasses import dataclass
from typing import Literal

from postsense.registry.table import Registry


@dataclass(frozen=True)
class Input:
    """Something that a model can read of a post.

    name: of the column of ours, and in a batch. description: for the settings.
    prepare: "module:function" that makes its column of a PreparedPosts: see `inputs.columns`.
    holds: "words" go through the encoder of texts, "picture" through that of pictures.
    of_picture: it says what the picture shows, and goes with it where words are swapped.
    listed: a cell is a list of words. optional: it is read if the table's column is named in the
    settings, data.columns.NAME; else if the fusion reads it. block: it is a vector beside those of
    words and picture, read where blocks.NAME, its weight, is above 0. of: our name of the column
    that it is made of, where that is not its own. width: of its vectors; None: as the encoder's.
    """

    name: str
    description: str
    prepare: str
    holds: Literal["words", "picture"] = "words"
    of_picture: bool = False
    listed: bool = False
    optional: bool = False
    block: bool = False
    of: str | None = None
    width: int | None = None

    @property
    def column(self) -> str:
        """Our name of the column that it is made of."""
        return self.of or self.name


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
            "comments",
            "mean vector of the post's own comments",
            "postsense.inputs.own_comments:vector_column",
            listed=True,
            block=True,
        ),
        Input(
            "comment_words",
            "words and pairs of words of the post's own comments",
            "postsense.inputs.own_comments:word_column",
            listed=True,
            block=True,
            of="comments",
            width=4096,
        ),
    ],
)
