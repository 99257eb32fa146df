"""Labels as the table has them (texts, whole numbers, numbers, truth values) ↔ their names.

A class is known by its name, a text. What kind of value the names stand for is kept beside them, so
that predictions come back as what the labels were.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from postsense.posts import Label, LabelKind

logger = logging.getLogger(__name__)
_ARROW: Final[dict[str, pa.DataType]] = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
}
_NUMPY: Final[dict[str, Any]] = {"int": np.int64, "float": np.float64, "bool": np.bool_}
_MAX_INT: Final = 2**63 - 1


def cell_kinds(values: Iterable[Any]) -> set[LabelKind]:
    """What kinds of values the cells of a label column hold; missing ones are of no kind."""
    by_type: dict[type, list[Any]] = {}
    for value in values:
        by_type.setdefault(type(value), []).append(value)
    return {kind for group in by_type.values() for kind in _kinds_of(group)}


def _kinds_of(values: Sequence[Any]) -> set[LabelKind]:
    """The kinds of values of one type."""
    first = values[0]
    if first is None:
        return set()
    if isinstance(first, bool | np.bool_):
        return {"bool"}
    if isinstance(first, int | np.integer):
        return {"int"} if all(abs(int(value)) <= _MAX_INT for value in values) else {"text"}
    if isinstance(first, float | np.floating):
        numbers = {float(value) for value in values if not math.isnan(value)}
        whole = {number.is_integer() and abs(number) <= _MAX_INT for number in numbers}
        return {"int" if fits else "float" for fits in whole}
    blank = isinstance(first, str) and all(not value.strip() for value in values)
    return set() if blank else {"text"}


def common_kind(kinds: set[LabelKind], where: str) -> LabelKind:
    """The one kind of a label column; texts, with a warning, where kinds are mixed.

    Whole floats are whole numbers, which pandas makes floats of in a column with gaps.
    """
    if kinds == {"int", "float"}:
        return "float"
    if len(kinds) > 1:
        names = {"text": "texts", "int": "numbers", "float": "numbers", "bool": "truth values"}
        mixed = " and ".join(sorted({names[kind] for kind in kinds}))
        logger.warning("%s: labels are %s mixed; all of them are read as texts", where, mixed)
        return "text"
    return next(iter(kinds), "text")


def typed_label(name: str, kind: LabelKind) -> Label:
    """The value that a class name stands for. Raises: ValueError: none of that kind."""
    if kind == "bool":
        if name not in ("True", "False"):
            raise ValueError(name)
        return name == "True"
    if kind == "int":
        return int(name)
    return float(name) if kind == "float" else name


def typed_array(names: Sequence[str | None], kind: LabelKind) -> "np.ndarray[Any, Any]":
    """The values of names (N,), of the kind's own dtype; of dtype object for texts or with None."""
    values = [None if name is None else typed_label(name, kind) for name in names]
    whole = kind != "text" and None not in names
    return np.array(values, dtype=_NUMPY[kind] if whole else object)


def arrow_labels(names: Sequence[str | None], kind: LabelKind) -> pa.Array:
    """The values of names (N,) as a column of the kind's own type."""
    values = [None if name is None else typed_label(name, kind) for name in names]
    return pa.array(values, _ARROW[kind])


def label_name(value: Any) -> str | None:
    """The name of a value that `arrow_labels` wrote."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else str(value)


def known_label(label: str, classes: Iterable[str], kind: LabelKind) -> str | None:
    """The class that a label means, None for none of them.

    Numbers and truth values may be spelled otherwise, as CSV files have them: "1.0" is 1, "true" is
    True, and 1 and True are one another.
    """
    known = set(classes)
    if label in known:
        return label
    if kind == "text":
        return None
    spelled = {"true": "1", "false": "0"}.get(label.strip().casefold(), label)
    try:
        number = label_name(float(spelled))
    except (ValueError, OverflowError):
        return None
    name = {"1": "True", "0": "False"}.get(str(number)) if kind == "bool" else number
    return name if name in known else None


def in_order(classes: Sequence[str], kind: LabelKind) -> list[int]:
    """Positions of the classes in the order of their values: 2 before 10."""
    return sorted(range(len(classes)), key=lambda number: typed_label(classes[number], kind))
