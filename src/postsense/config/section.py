"""What every group of settings has in common, and what a setting says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, JsonValue
from pydantic_core import PydanticCustomError, core_schema

from postsense.registry.table import Registry

if TYPE_CHECKING:
    from postsense.config.run import Config

# what a field of settings may carry as json_schema_extra
AFTER_TRAINING: Final[dict[str, JsonValue]] = {"after_training": True}
"""May be set where a trained model is used, too: it is about the posts or about this machine."""
OF_MACHINE: Final[dict[str, JsonValue]] = {"after_training": True, "of_machine": True}
"""Is about this machine alone: a model that comes from elsewhere never decides it."""
SAME_RESULT: Final[dict[str, JsonValue]] = {"same_result": True}
"""Changes no result: a run goes on with another value of it."""


@dataclass(frozen=True)
class ReadWhere:
    """Stands in the annotation of a setting, or of a section, that is not read everywhere.

    combination: what it is read with, as a message says it: "training.schedule=step". holds:
    whether all settings together are such a combination. decided_by: dotted keys of the settings
    that decide, whose values a message tells.
    """

    combination: str
    holds: Callable[["Config"], bool]
    decided_by: tuple[str, ...] = ()


ITERATES = ReadWhere(
    "a method that goes through the posts again and again",
    lambda config: config.declared_method.iterates,
    ("method",),
)
ONE_MODEL = ReadWhere(
    "a method that trains one model",
    lambda config: not config.declared_method.combines,
    ("method",),
)


class Section(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


@dataclass(frozen=True)
class NameIn:
    """Stands in the annotation of a setting that names an entry of a table."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def _known(self, name: str) -> str:
        if name not in self.registry:
            *others, last = (f"'{one}'" for one in self.registry)
            problem, names = "input should be {names}", f"{', '.join(others)} or {last}"
            raise PydanticCustomError("unknown_name", problem, {"names": names})
        return name
