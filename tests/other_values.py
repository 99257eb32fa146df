"""A setting → other values that it may have, from its type and bounds alone where they tell."""

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import TypeAdapter, ValidationError

from postsense.config.fields import Setting
from postsense.config.section import NameIn


class NoOtherValueError(LookupError):
    """Nothing tells what else a setting could be."""


def other_values(setting: Setting, value: Any, spelled: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Values that the setting's field accepts, none of them `value`; those that are likely first.

    spelled: by dotted key, those of settings that are texts or paths, which must mean something.
    Raises: NoOtherValueError.
    """
    candidates = spelled.get(setting.key) or list(_candidates(setting, value))
    accepts = TypeAdapter(Annotated[setting.field.annotation, setting.field])
    found = [one for one in candidates if one != value and _fits(accepts, one)]
    if not found:
        raise NoOtherValueError(
            f"no other value of {setting.key} = {value!r} ({setting.field.annotation}) is known:"
            " add one to SPELLED in tests/test_every_setting.py"
        )
    return found


def is_choice(setting: Setting) -> bool:
    """Whether each of its values must make a difference, rather than one of several numbers."""
    kinds = _kinds(setting.field.annotation)
    if any(isinstance(one, NameIn) for one in setting.field.metadata):
        return True
    return any(get_origin(kind) is Literal or kind is bool for kind in kinds)


def _candidates(setting: Setting, value: Any) -> Iterator[Any]:
    for one in setting.field.metadata:
        if isinstance(one, NameIn):
            yield from one.registry
    for kind in _kinds(setting.field.annotation):
        if get_origin(kind) is Literal:
            yield from get_args(kind)
        elif kind is bool:
            yield not value
        elif kind in (int, float):
            yield from _numbers(kind, value, setting.field.metadata)
        elif kind is NoneType:
            yield None


def _numbers(kind: type, value: Any, metadata: Sequence[Any]) -> Iterator[Any]:
    """Numbers at the bounds, and a little below and above; what differs most comes first."""
    step = next((int(one.multiple_of) for one in metadata if isinstance(one, MultipleOf)), 1)
    low = next((one.ge for one in metadata if isinstance(one, Ge)), None)
    low = next((one.gt for one in metadata if isinstance(one, Gt)), low)
    high = next((one.le for one in metadata if isinstance(one, Le)), None)
    high = next((one.lt for one in metadata if isinstance(one, Lt)), high)
    if kind is int:
        start = value if value is not None else low or 0
        yield from (low, start + step, start - step, start // 2, start + 4 * step)
        return
    start = value if value is not None else 0.5
    middle = [(start + bound) / 2 for bound in (high, low) if bound is not None]
    yield from (low, *middle, 2 * start + (start == 0), high)


def _fits(accepts: TypeAdapter[Any], value: Any) -> bool:
    try:
        accepts.validate_python(value)
    except ValidationError:
        return False
    return True


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation allows, those of a union one by one."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    return [annotation]
