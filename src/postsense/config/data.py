"""Settings of tables: which column is what, and which rows are used."""

from pydantic import Field

from postsense.config.section import Section

UNREAD_IN_PREDICT = ("label", "split", "comments", "attributes", "created_at")  # of our columns


class Columns(Section):
    """The table's name for each of our columns; dots reach into nested ones (`splits.grouped`)."""

    id: str = Field("id", description="unique name of the post; absent: the row number")
    text: str = Field("text", description="words of the post")
    image: str = Field("image", description="path of the picture, relative to the table")
    regions: str = Field("regions", description="path of the picture's region features, likewise")
    label: str = Field("label", description="class of the post")
    split: str = Field("split", description="train, val (also dev, validation) or test")
    comments: str = Field("comments", description="list of readers' comments")
    attributes: str = Field("attributes", description="list of words for what the picture shows")
    created_at: str = Field("created_at", description="when the post was written")


class DataSettings(Section):
    columns: Columns = Columns()
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="share of unusable rows above which a command refuses"
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=0.5, description="share of train used as val when the table has no val"
    )
    train_fraction: float = Field(
        1.0, gt=0, le=1, description="share of train that keeps its labels, drawn for each seed"
    )
