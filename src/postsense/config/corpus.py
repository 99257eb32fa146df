"""Settings of a corpus, and of what it lends."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from postsense.config.blocks import FROM_LABELS
from postsense.config.data import Columns, Delimiter
from postsense.config.encoders import EncoderSettings
from postsense.config.section import AFTER_TRAINING, ONE_MODEL, ReadWhere, Section
from postsense.registry.inputs import INPUTS


class CorpusSettings(Section):
    """What a corpus of posts and comments is built with; kept in its manifest."""

    columns: Columns = Columns()
    delimiter: Delimiter | None = Field(
        None,
        description="what parts the cells of a .csv, .tsv or .txt; none: a guess, which is said",
    )
    image_root: Path | None = Field(
        None, description="folder where pictures are looked for that are not below the table's"
    )
    comment_post: str = Field("post_id", description="the post's id in a table of comments")
    comment_text: str = Field("text", description="the words in a table of comments")
    language: str = Field("en", description="ISO 639-1 code of the posts kept; 'any': all")
    min_language_confidence: float = Field(
        0.5, ge=0, le=1, description="probability of the language below which a post is dropped"
    )
    require_image: bool = Field(True, description="drop posts without a picture")
    require_comments: bool = Field(True, description="drop posts without comments")
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="share of unusable rows above which a build refuses"
    )
    encoders: EncoderSettings = EncoderSettings()
    index: Literal["auto", "exact", "compressed"] = Field(
        "auto", description="auto: exact search below exact_below posts"
    )
    exact_below: int = Field(50_000, ge=0, description="posts up to which search is exact")
    min_recall: float = Field(
        0.95, ge=0, le=1, description="recall@K against exact search that an index must reach"
    )

    @model_validator(mode="after")
    def _keeps_its_columns(self) -> "CorpusSettings":
        for name, one in INPUTS.items():
            if one.optional and name in self.columns.sources:
                raise ValueError(f"a corpus keeps no {name}: leave columns.{name} out")
        return self


_LENT = ReadWhere(
    "a corpus", lambda config: config.retrieval.corpus is not None, ("retrieval.corpus",)
)
_HINTS = ReadWhere(
    "a corpus or comments.own=true",
    lambda config: config.retrieval.corpus is not None or config.comments.own,
    ("retrieval.corpus", "comments.own"),
)
_ATTENDED = ReadWhere(
    "a fusion that attends to comments",
    lambda config: config.fusion.declared.comments is not None,
    ("fusion.name",),
)
_BLOCKS = ReadWhere(
    "blocks.comments above 0",
    lambda config: config.reads_comment_blocks,
    ("blocks.comments",),
)
_OWN = ReadWhere(
    "comments.own=true or blocks.comments above 0",
    lambda config: config.reads_own_comments,
    ("comments.own", "blocks.comments"),
)
_ASKED = ReadWhere(
    "a corpus that lends comments or is learned from",
    lambda config: config.asks_corpus,
    ("retrieval.corpus", "comments.count", "method"),
)
_NUMBERED = ReadWhere(
    "comments.count above 0", lambda config: config.comments.count > 0, ("comments.count",)
)
_SCORED = ReadWhere(
    "retrieval.fidelity=corrected",
    lambda config: config.retrieval.fidelity == "corrected",
    ("retrieval.fidelity",),
)
_LATE = ReadWhere(
    "a fusion that attends to encoded comments",
    lambda config: not config.fusion.declared.is_joint,
    ("fusion.name",),
)


class RetrievalSettings(Section):
    corpus: Path | None = Field(
        None,
        description="folder of the corpus that lends comments",
        json_schema_extra=AFTER_TRAINING,
    )
    alpha: Annotated[float | None, _ASKED] = Field(
        None, ge=0, le=1, description="weight of the picture (alpha); none: from the data, Eqs. 2-4"
    )
    fidelity: Annotated[Literal["corrected", "released"], _ASKED] = Field(
        "corrected", description="'released': two indexes and the intersection of their answers"
    )
    posts: Annotated[int, _ASKED, _NUMBERED] = Field(
        10, ge=1, le=10_000, description="similar posts that lend comments"
    )
    per_picture: Annotated[int, _ASKED] = Field(
        2, ge=1, description="similar posts on one picture at most"
    )
    min_score: Annotated[float, _ASKED, _SCORED] = Field(
        0.4, ge=-1, le=1, description="fused score below which a post lends nothing; -1: all lend"
    )


class CommentSettings(Section):
    own: Annotated[bool, ONE_MODEL, _ATTENDED, _NUMBERED, FROM_LABELS] = Field(
        False, description="a post's own comments, those of the table, come before borrowed ones"
    )
    absence: Annotated[float, _OWN] = Field(
        0.5,
        ge=0,
        lt=1,
        description="probability that a post of train is shown without its own comments in an"
        " epoch, as a fresh post has none",
    )
    most: Annotated[int, _BLOCKS] = Field(
        32, ge=1, le=1000, description="first own comments of a post that blocks are made of"
    )
    count: Annotated[int, ONE_MODEL, _HINTS] = Field(
        5, ge=0, le=1000, description="hint comments of a post (N); 0: none are read"
    )
    per_post: Annotated[int, ONE_MODEL, _LENT, _NUMBERED] = Field(
        5, ge=1, le=1000, description="first comments taken of a similar post"
    )
    dropout: Annotated[float, ONE_MODEL, _HINTS, _NUMBERED, _LATE] = Field(
        0.8, ge=0, lt=1, description="dropout on the vectors of hint comments"
    )
    min_words: Annotated[int, ONE_MODEL, _LENT, _NUMBERED] = Field(
        3, ge=1, description="words a borrowed comment must have"
    )
    max_generic: Annotated[float, ONE_MODEL, _LENT, _NUMBERED] = Field(
        0.5,
        ge=0,
        le=1,
        description="likeness to phrases like 'thank you' from which a comment is dropped",
    )
