"""How much the blocks count that stand beside words and picture: a weight for each such input."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from postsense.config.section import ONE_MODEL, ReadWhere, Section
from postsense.registry.fusions import FUSIONS
from postsense.registry.inputs import INPUTS, Input

FROM_LABELS = ReadWhere(
    "a method that learns from labels",
    lambda config: config.declared_method.learns_from_labels,
    ("method",),
)
_FROZEN = ReadWhere(
    "a text encoder that does not run in the model",
    lambda config: not config.encoders.text.runs_inside,
    ("encoders.text.trainable", "encoders.text.fidelity"),
)


def _weight(block: Input) -> Any:
    """The setting of a block: its type with where it is read, and its field."""
    able = [name for name, fusion in FUSIONS.items() if block.name in fusion.may_read]
    reading = ReadWhere(
        f"fusion.name={' or '.join(able)}",
        lambda config: block.name in config.fusion.declared.may_read,
        ("fusion.name",),
    )
    encoded = () if block.width else (_FROZEN,)
    field = Field(0.0, ge=0, le=1000, description=f"weight of the {block.description}; 0: not read")
    # an ensemble reads comments where there are some; its members weigh all else by themselves
    learned = (FROM_LABELS,) if block.column == "comments" else (ONE_MODEL,)
    kind: Any = float
    for one in (*learned, reading, *encoded):
        kind = Annotated[kind, one]
    return kind, field


if TYPE_CHECKING:
    _Weights = Section
else:
    _Weights = create_model(
        "_Weights",
        __base__=Section,
        **{name: _weight(one) for name, one in INPUTS.items() if not one.has_column},
    )


_WORDS = ReadWhere(
    "words that a text encoder makes vectors of, for the fusion to read",
    lambda config: config.reads_words and "text" not in config.fusion.declared.encodes,
    ("fusion.name",),
)
_PICTURES = ReadWhere(
    "pictures that an encoder makes vectors of, for the fusion to read",
    lambda config: (
        config.reads_picture
        and "image" not in config.fusion.declared.encodes
        and not config.fusion.declared.raw_regions
    ),
    ("fusion.name",),
)


class BlockSettings(_Weights):
    """How much each vector counts: those of words and picture, and the blocks beside them."""

    text: Annotated[float, ONE_MODEL, _WORDS] = Field(
        1.0, gt=0, le=1000, description="weight of encoded words, titles and comments among them"
    )
    image: Annotated[float, ONE_MODEL, _PICTURES] = Field(
        1.0, gt=0, le=1000, description="weight of encoded pictures"
    )

    def weight(self, name: str) -> float:
        """How much the block of this name counts; 0: it is not read."""
        weight: float = getattr(self, name)
        return weight
