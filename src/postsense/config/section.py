"""What every group of settings has in common."""

from typing import Final

from pydantic import BaseModel, ConfigDict, JsonValue

# what a field of settings may carry as json_schema_extra
AFTER_TRAINING: Final[dict[str, JsonValue]] = {"after_training": True}
"""May be set where a trained model is used, too: it is about the posts or about this machine."""
OF_MACHINE: Final[dict[str, JsonValue]] = {"after_training": True, "of_machine": True}
"""Is about this machine alone: a model that comes from elsewhere never decides it."""


class Section(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
