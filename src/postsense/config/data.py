"""Settings of tables: how they are read, which column is what, and which rows are used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model, field_validator

from postsense.config.section import (
    AFTER_TRAINING,
    ITERATES,
    OF_MACHINE,
    SAME_RESULT,
    ReadWhere,
    Section,
)
from postsense.registry.inputs import INPUTS

UNREAD_IN_PREDICT = ("label", "split", "comments", "attributes", "created_at")
"""Of our columns, those that a table of new posts may lack; nobody may have commented yet."""

if TYPE_CHECKING:
    _OptionalColumns = Section
else:
    _OptionalColumns = create_model(
        "_OptionalColumns",
        __base__=Section,
        **{
            name: (str | None, Field(None, description=one.description))
            for name, one in INPUTS.items()
            if one.optional
        },
    )

_OF_A_CORPUS = ReadWhere("a table that a corpus is built from", lambda config: False)
_OWN_COMMENTS = ReadWhere(
    "comments.own=true or a block of comments",
    lambda config: config.reads_own_comments,
    ("comments.own", "blocks.comments"),
)
_REGIONS = ReadWhere(
    "encoders.image.name=regions",
    lambda config: config.reads_regions,
    ("encoders.image.name", "fusion.name"),
)
_ATTRIBUTES = ReadWhere(
    "fusion.name=hierarchical", lambda config: "attributes" in config.inputs, ("fusion.name",)
)
_PICTURES = ReadWhere(
    "picture files that an encoder reads",
    lambda config: config.reads_picture and not config.reads_regions,
    ("fusion.name", "encoders.image.name"),
)
_LABELS = ReadWhere(
    "a method that learns from labels",
    lambda config: config.declared_method.learns_from_labels,
    ("method",),
)


class Columns(_OptionalColumns):
    """The table's name for each of our columns; dots reach into nested ones (`splits.grouped`).

    Optional inputs of posts (see `registry.inputs`) have none unless the user names one.
    """

    id: str = Field("id", description="unique name of the post; absent: the row number")
    text: str = Field("text", description="words of the post")
    image: str = Field("image", description="path of the picture, relative to the table")
    regions: Annotated[str, _REGIONS] = Field(
        "regions", description="path of the picture's region features, likewise"
    )
    label: str = Field("label", description="class of the post")
    split: str = Field("split", description="train, val (also dev, validation, eval) or test")
    comments: Annotated[str, _OWN_COMMENTS] = Field(
        "comments", description="list of readers' comments on the post"
    )
    attributes: Annotated[str, _ATTRIBUTES] = Field(
        "attributes", description="list of words for what the picture shows"
    )
    created_at: Annotated[str, _OF_A_CORPUS] = Field(
        "created_at", description="when the post was written"
    )

    @property
    def sources(self) -> dict[str, str]:
        """The table's name for each of our columns that has one."""
        return {name: source for name, source in self.model_dump().items() if source is not None}


def _one_character(delimiter: str) -> str:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter.lower(), delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(f"data.delimiter = {delimiter!r} (one character such as ';', or 'tab')")
    return delimiter


Delimiter = Annotated[str, AfterValidator(_one_character)]


class DataSettings(Section):
    columns: Columns = Field(Columns(), json_schema_extra=AFTER_TRAINING)
    delimiter: Delimiter | None = Field(
        None,
        description="what parts the cells of a .csv, .tsv or .txt; none: a guess, which is said",
        json_schema_extra=AFTER_TRAINING | SAME_RESULT,
    )
    image_root: Path | None = Field(
        None,
        description="folder where pictures are looked for that are not below the table's",
        json_schema_extra=OF_MACHINE | SAME_RESULT,
    )
    max_bad_fraction: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of unusable rows above which nothing is trained",
        json_schema_extra=AFTER_TRAINING,
    )
    truncated: Annotated[Literal["refuse", "use"], _PICTURES] = Field(
        "refuse",
        description="JPEG, PNG, GIF and BMP files that are cut short: a bad row, or what is there",
        json_schema_extra=AFTER_TRAINING,
    )
    validation_fraction: Annotated[float, ITERATES] = Field(
        0.1, gt=0, lt=0.5, description="share of train used as val when the table has no val"
    )
    train_fraction: Annotated[float, _LABELS] = Field(
        1.0, gt=0, le=1, description="share of train that keeps its labels, drawn for each seed"
    )
    positive_class: str | None = Field(
        None,
        description="class that `binary` metrics are about; none: of two, the last by name",
        json_schema_extra=AFTER_TRAINING,
    )

    @field_validator("positive_class", mode="before")
    @classmethod
    def _as_name(cls, value: Any) -> Any:
        """Numbers and truth values name classes too."""
        return str(value) if isinstance(value, bool | int | float) else value
