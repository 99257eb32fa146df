"""Posts and a column of the user's table → groups of posts to measure one by one."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from postsense.arrays import Array
from postsense.errors import DataError, nearest
from postsense.posts import Posts

MISSING: Final = "(missing)"
MAX_GROUPS: Final = 50
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class PostGroup:
    """Posts that share a value. rows: (n,) int, ascending; n >= 1."""

    value: str
    rows: Array


def columns_of(by: str | None) -> tuple[str, ...]:
    """The columns of the user's table that a breakdown reads: of `a`, a; of `a==b`, a and b.

    Raises: DataError: not one column, nor two with == between them.
    """
    if by is None:
        return ()
    columns = tuple(name.strip() for name in by.split("=="))
    if len(columns) > 2 or not all(columns):
        fix = "Write a column, such as labels.text, or two, such as labels.text==labels.image."
        raise DataError("by", "a column, or two with == between them", f"'{by}'", fix)
    return columns


def group_posts(posts: Posts, by: str) -> tuple[PostGroup, ...]:
    """The posts by their value in a column, or by whether two columns of a post agree.

    Ours. Values are compared as they are shown: blanks around them do not count, and 1, 1.0 and
    "1" are one group. Posts without a value come last, as "(missing)". Numbers are in order of
    size, other values in alphabetical order. A column of more than 50 numbers is cut into quarters
    by rank: each number goes, with all posts that have it, where the middle of their ranks lies.

    Args:
        posts: with the columns of `by` in `extra`.
    Raises: DataError: a column is not there, holds more than one value a post, or has more than 50
        values that are not all numbers.
    """
    columns = columns_of(by)
    if len(columns) == 2:
        return _agreement(posts, *columns)
    rows_of = _rows_by(_names(posts, columns[0]))
    missing = rows_of.pop(MISSING, [])
    numbers = {name: _number(name) for name in rows_of if _NUMBER.fullmatch(name)}
    if len(numbers) == len(rows_of):
        ordered = {name: rows_of[name] for name in sorted(rows_of, key=lambda n: (numbers[n], n))}
        groups = _quarters(ordered) if len(ordered) > MAX_GROUPS else ordered
    else:
        groups = dict(sorted(rows_of.items()))
        _refuse_too_many(posts, by, len(groups))
    return _groups({**groups, MISSING: missing})


def _names(posts: Posts, column: str) -> list[str]:
    """What each post has in a column, as it is shown."""
    if column not in posts.extra:
        fix = nearest(column, posts.extra) if posts.extra else "Load it with extra=[...]."
        raise DataError(posts.name, f"a column '{column}' kept beside the posts", "none", fix)
    names = []
    for row, value in enumerate(posts.extra[column]):
        if isinstance(value, Mapping | list | tuple | set | np.ndarray | bytes):
            where, found = f"{posts.name}, post '{posts[row].id}', {column}", "a nested value"
            fix = "Reach into it with a dot, such as labels.text, or choose another column."
            raise DataError(where, "one value a post", found, fix)
        names.append(_shown(value))
    return names


def _shown(value: Any) -> str:
    """A value as tables write it; missing and blank ones are all the same."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # what pandas made of a whole number in a column with gaps
    text = str(value).encode("utf-8", "replace").decode()  # half a character cannot be printed
    return text.strip() or MISSING


def _number(name: str) -> float:
    """The number written; whole ones are exact, however long."""
    try:
        return int(name)
    except ValueError:
        return float(name)


def _rows_by(names: Sequence[str]) -> dict[str, list[int]]:
    rows_of = defaultdict(list)
    for row, name in enumerate(names):
        rows_of[name].append(row)
    return dict(rows_of)


def _agreement(posts: Posts, first: str, second: str) -> tuple[PostGroup, ...]:
    same, other = f"{first} == {second}", f"{first} != {second}"
    verdicts = [
        MISSING if MISSING in (one, two) else same if one == two else other
        for one, two in zip(_names(posts, first), _names(posts, second), strict=True)
    ]
    rows_of = _rows_by(verdicts)
    return _groups({name: rows_of.get(name, []) for name in (same, other, MISSING)})


def _quarters(rows_of: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Ordered numbers with their rows → the same rows under at most four ranges of numbers."""
    total, before = sum(map(len, rows_of.values())), 0
    parts: dict[int, list[str]] = defaultdict(list)
    for name, rows in rows_of.items():
        middle = before + len(rows) / 2
        parts[int(4 * middle / total)].append(name)
        before += len(rows)
    return {
        names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}": sorted(
            row for name in names for row in rows_of[name]
        )
        for names in parts.values()
    }


def _refuse_too_many(posts: Posts, by: str, count: int) -> None:
    if count > MAX_GROUPS:
        fix = "Choose another column; only columns of numbers are cut into ranges."
        raise DataError(f"{posts.name}, {by}", f"at most {MAX_GROUPS} groups", str(count), fix)


def _groups(rows_of: Mapping[str, list[int]]) -> tuple[PostGroup, ...]:
    return tuple(
        PostGroup(value, np.array(rows, dtype=np.int64)) for value, rows in rows_of.items() if rows
    )
