"""Settings of what is read of a post beside its encoded words and picture, and what counts more."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, create_model

from postsense.config.section import ReadWhere, Section
from postsense.registry.fusions import FUSIONS
from postsense.registry.inputs import INPUTS

_MOST = 1000.0


def _reading_fusions(name: str) -> ReadWhere:
    able = [fusion.name for fusion in FUSIONS.values() if name in fusion.may_read]
    return ReadWhere(
        f"fusion.name={' or '.join(able)}",
        lambda config: name in config.fusion.declared.may_read,
        ("fusion.name",),
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

if TYPE_CHECKING:
    _Vectors = Section
else:
    _Vectors = create_model(
        "_Vectors",
        __base__=Section,
        **{
            name: (
                Annotated[float, _reading_fusions(name)],
                Field(0.0, ge=0, le=_MOST, description=f"{one.description}; 0: not read"),
            )
            for name, one in INPUTS.items()
            if not one.has_column
        },
    )


class BlockSettings(_Vectors):
    """How much each part of what a fusion reads counts: features are multiplied by it.

    Vectors that need no encoder (see `registry.inputs`) are read where they count at all.
    """

    text: Annotated[float, _WORDS] = Field(
        1.0, gt=0, le=_MOST, description="weight of encoded words, titles and comments among them"
    )
    image: Annotated[float, _PICTURES] = Field(
        1.0, gt=0, le=_MOST, description="weight of encoded pictures"
    )

    def weight(self, name: str) -> float:
        """The weight of a part by its name."""
        return float(getattr(self, name))
