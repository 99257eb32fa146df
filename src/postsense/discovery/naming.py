"""What the user calls groups, in words or by a few labels → a name for each group."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postsense.arrays import Array
from postsense.errors import ConfigError


@dataclass(frozen=True)
class LabelVote:
    """What the labels of a few posts say of the groups.

    names: by the number of the group, from 1. agreed: labelled posts whose label is their group's.
    labeled: how many there are.
    """

    names: dict[int, str]
    agreed: int
    labeled: int


def default_names(groups: int) -> dict[int, str]:
    """Names by number: group 1, group 2 and so on."""
    return {number: f"group {number}" for number in range(1, groups + 1)}


def unnamed(names: Mapping[int, str]) -> list[int]:
    """The numbers of the groups that still have their first name."""
    first = default_names(max(names, default=0))
    return [number for number, name in names.items() if name == first[number]]


def parse_names(assignments: Sequence[str], groups: int) -> dict[int, str]:
    """The names by group number of `number=name` assignments.

    Raises: ConfigError: another form, no such group, an empty name, a group named twice.
    """
    names = dict[int, str]()
    for assignment in assignments:
        number, separator, name = assignment.partition("=")
        where, name = f"--name {assignment!r}", " ".join(name.split())
        if not separator or not number.strip().isdecimal():
            fix = "Write for example --name 1=food."
            raise ConfigError(where, "the number of a group, = and its name", "another form", fix)
        if not name:
            raise ConfigError(where, "a name after the =", "none", "Write for example 1=food.")
        known = int(number)
        if not 1 <= known <= groups:
            fix = "The page and groups.json number the groups."
            raise ConfigError(where, f"a group from 1 to {groups}", f"'{number.strip()}'", fix)
        if known in names:
            found = f"'{names[known]}' and '{name}'"
            raise ConfigError(where, f"one name for group {known}", found, "Name it once.")
        names[known] = name
    return names


def names_by_labels(numbers: Array, labels: Sequence[str | None]) -> LabelVote:
    """Each group gets the label that most of its labelled posts have; equal ones by the alphabet.

    numbers: (N,) int, the group of each post from 1; 0: of none. Groups without labelled posts
    get no name.
    """
    votes: dict[int, Counter[str]] = {}
    for number, label in zip(numbers.tolist(), labels, strict=True):
        if number > 0 and label is not None:
            votes.setdefault(number, Counter())[label] += 1
    names, agreed, labeled = dict[int, str](), 0, 0
    for number, counts in sorted(votes.items()):
        names[number] = min(counts, key=lambda label: (-counts[label], label))
        labeled += counts.total()
    for number, counts in votes.items():
        agreed += counts[names[number]]
    return LabelVote(names, agreed, labeled)


def joined_names(names: Mapping[int, str]) -> dict[str, list[int]]:
    """The numbers of the groups that share each name, by name."""
    joined: dict[str, list[int]] = {}
    for number, name in sorted(names.items()):
        joined.setdefault(name, []).append(number)
    return dict(sorted(joined.items()))
