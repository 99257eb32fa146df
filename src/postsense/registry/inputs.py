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
    settings, data.columns.NAME; else if the fusion reads it.
    """

    name: str
    description: str
    prepare: str
    holds: Literal["words", "picture"] = "words"
    of_picture: bool = False
    listed: bool = False
    optional: bool = False


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
    ],
)
