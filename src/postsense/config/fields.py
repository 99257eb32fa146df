"""Every setting by its dotted key, with what its field and the sections around it say of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from postsense.config.section import ReadWhere

if TYPE_CHECKING:
    from postsense.config.run import Config


@dataclass(frozen=True)
class Setting:
    """One setting. marks: see `config.section`. read_where: all of them must hold."""

    key: str
    field: FieldInfo
    marks: Mapping[str, Any]
    read_where: tuple[ReadWhere, ...]

    @property
    def default(self) -> Any:
        """What it is where nobody sets it."""
        return self.field.get_default(call_default_factory=True)

    def value_in(self, settings: BaseModel) -> Any:
        """What it is in these settings."""
        return value_of(settings, self.key)


def settings_in(
    section: type[BaseModel],
    prefix: str = "",
    marks: Mapping[str, Any] | None = None,
    read_where: tuple[ReadWhere, ...] = (),
) -> Iterator[Setting]:
    """Every setting of a section and of those in it.

    prefix, marks, read_where: of the sections around it.
    """
    for name, field in section.model_fields.items():
        extra = field.json_schema_extra
        own_marks = {**(marks or {}), **(extra if isinstance(extra, dict) else {})}
        conditions = (*read_where, *(one for one in field.metadata if isinstance(one, ReadWhere)))
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings_in(inner, f"{prefix}{name}.", own_marks, conditions)
        else:
            yield Setting(prefix + name, field, own_marks, conditions)


def unread_settings(config: "Config") -> dict[str, str]:
    """What is set and not read, by dotted key, with a line that names what it is read with.

    Settings at their default are not set; those of the machine and others that change no result
    need not be read.
    """
    unread = {}
    for setting in settings_in(type(config)):
        if not setting.read_where or setting.marks.keys() & {"of_machine", "same_result"}:
            continue
        value = setting.value_in(config)
        lacking = [one for one in setting.read_where if not one.holds(config)]
        if lacking and value != setting.default:
            unread[setting.key] = _line(setting.key, value, lacking[0], config)
    return unread


def value_of(settings: BaseModel, key: str) -> Any:
    """The value of a setting by its dotted key."""
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _line(key: str, value: Any, lacking: ReadWhere, config: "Config") -> str:
    found = [f"{name} is {_shown(value_of(config, name))}" for name in lacking.decided_by]
    but = f", but {' and '.join(found)}" if found else ""
    return f"{key}={value} is read with {lacking.combination}{but}"


def _shown(value: Any) -> str:
    return repr(value if isinstance(value, bool | int | float | None) else str(value))
