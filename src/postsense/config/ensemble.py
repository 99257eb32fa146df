"""Settings of method `ensemble`: its members, and how they are chosen and weighed."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from postsense.config.section import NameIn, Section
from postsense.registry.efforts import EFFORTS


class EnsembleSettings(Section):
    effort: Annotated[str, NameIn(EFFORTS)] = Field(
        "standard", description="how much time is spent, where no members are named"
    )
    members: tuple[str, ...] = Field(
        (), max_length=64, description="presets, or folders of runs, that it joins; (): by effort"
    )
    folds: int = Field(
        5, ge=2, le=100, description="parts of train that members answer without having seen them"
    )
    pooling: Literal["auto", "equal", "selection", "stacking"] = Field(
        "auto",
        description="weights of members: all equal, by greedy selection, by stacking, or those of"
        " the simplest that no other beats on folds",
    )
    prior_shift: float | None = Field(
        None,
        ge=0,
        le=1,
        description="how far probabilities move towards rare classes (tau); none: folds choose",
    )
    learn_from_val: bool = Field(
        False, description="val joins train, rather than being measured and chosen by"
    )

    @field_validator("members")
    @classmethod
    def _are_unique(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(members)) < len(members):
            raise ValueError("a member more than once")
        return members
