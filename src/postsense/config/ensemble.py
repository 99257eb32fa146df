"""Settings of method `ensemble`: its members, and how they are chosen and weighed."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from postsense.config.section import NameIn, Section
from postsense.registry.efforts import EFFORTS


class EnsembleSettings(Section):
    effort: Annotated[str, NameIn(EFFORTS)] = Field(
        "standard", description="how much time is spent, where no members are named"
    )
    members: tuple[str, ...] = Field(
        (), max_length=64, description="presets, or folders of runs, that it joins; (): by effort"
    )
    stand_ins: tuple[str, ...] = Field(
        (),
        max_length=64,
        description="members that count only where words, or pictures, are left out, or where"
        " comments that a corpus lends help; (): by effort where no members are named",
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

    @property
    def all_members(self) -> tuple[str, ...]:
        """Those that count by default, then those that stand in for them."""
        return (*self.members, *self.stand_ins)

    @model_validator(mode="after")
    def _are_unique(self) -> "EnsembleSettings":
        if len(set(self.all_members)) < len(self.all_members):
            raise ValueError("ensemble.members and stand_ins: a member more than once")
        return self
