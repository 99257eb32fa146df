"""What looks wrong in a table without being an error: labels, texts and splits to look at."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from postsense.data.blanks import without_invisible
from postsense.data.split_names import KNOWN_NAMES, SPLIT_ALIASES
from postsense.posts import Posts

_SHOWN: Final = 5
_LONGEST: Final = 12  # characters of a text that may be a word for nothing
NO_VALUE: Final = frozenset(
    {"nan", "null", "none", "nil", "nat", "na", "n/a", "n.a.", "#n/a", "<na>", "(null)"}
    | {"undefined", "missing", "-", "--", "—", "–"}
)
_JOINT: Final = re.compile(r"(?<=\w)[-_](?=\w)")  # not_funny; the sign of -1 is another thing
_QUOTES: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—−", "-"),
    }
)


@dataclass(frozen=True)
class LabelVariants:
    """Labels that look like one: names with their numbers of posts, and what they differ in."""

    labels: Mapping[str, int]
    differ_in: str


@dataclass(frozen=True)
class Oddities:
    """What to look at in a table. words: those for no value, by column, with their counts.

    unused_splits: posts by the name of a split that is none of ours. posts: of the table.
    """

    posts: int
    unused_splits: Mapping[str, int] = field(default_factory=dict)
    variants: tuple[LabelVariants, ...] = ()
    words: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What was found in types that JSON has."""
        return {
            "unused_splits": dict(self.unused_splits),
            "label_variants": [
                {"labels": dict(found.labels), "differ_in": found.differ_in}
                for found in self.variants
            ],
            "words_for_nothing": {column: dict(found) for column, found in self.words.items()},
        }

    def lines(self) -> list[str]:
        """A line a finding, none if nothing is odd."""
        lines = []
        if self.unused_splits:
            unused, named = sum(self.unused_splits.values()), _counted(self.unused_splits)
            lines.append(
                f"{unused} of {self.posts} posts are in splits {named}, which"
                f" are not used; known names are {KNOWN_NAMES}: rename them, or name another"
                " column with --split"
            )
        lines += [
            f"labels {_counted(found.labels, joined=' and ')} differ only in {found.differ_in};"
            " they are classes of their own unless you make them one"
            for found in self.variants
        ]
        for column, found in self.words.items():
            lines.append(
                f"{column}s that are a word for nothing: {_counted(found)}; they are read as they"
                " stand: empty these cells if they have no value"
            )
        return lines


def find_oddities(posts: Posts) -> Oddities:
    """What to look at among the labels, texts and splits of posts."""
    labels = Counter(label for label in posts.column("label") if label is not None)
    splits = Counter(split for split in posts.column("split") if split is not None)
    own = set(SPLIT_ALIASES.values())
    words = {"text": _words_for_nothing(Counter(posts.column("text")))}
    words["label"] = _words_for_nothing(labels)
    return Oddities(
        posts=len(posts),
        unused_splits={name: splits[name] for name in sorted(splits) if name not in own},
        variants=label_variants(labels),
        words={column: found for column, found in words.items() if found},
    )


def label_variants(counts: Mapping[str, int]) -> tuple[LabelVariants, ...]:
    """The labels that are alike but for case, blanks, spelling of a number and the like."""
    alike = defaultdict(list)
    for label in sorted(counts):
        alike[_plain(label, tuple(_SAME))].append(label)
    return tuple(
        LabelVariants({label: counts[label] for label in labels}, _difference(labels))
        for labels in alike.values()
        if len(labels) > 1
    )


def _number(label: str) -> str:
    """One spelling of a number or truth value: 0.0, +0, 00 and 0 are one."""
    try:
        value = float(label) if label.isascii() and "_" not in label else None
    except ValueError:
        value = None
    if value is None or value != value:
        return {"true": "True", "false": "False"}.get(label.casefold(), label)
    return str(int(value)) if value.is_integer() else repr(value)


_SAME: Final[Mapping[str, Callable[[str], str]]] = {  # in this order, each on what the last gave
    "characters that are not seen": without_invisible,
    "blanks": lambda label: " ".join(_JOINT.sub(" ", label).split()),
    "Unicode form": lambda label: unicodedata.normalize("NFKC", label),
    "quotes and dashes": lambda label: label.translate(_QUOTES),
    "case": str.casefold,
    "how a number is written": _number,
}


def _plain(label: str, kinds: Sequence[str]) -> str:
    """The label without differences of these kinds."""
    for kind in kinds:
        label = _SAME[kind](label)
    return label


def _difference(labels: Sequence[str]) -> str:
    """The fewest kinds of difference that account for all of it, such as `case and blanks`."""
    for count in range(1, len(_SAME) + 1):
        for kinds in combinations(_SAME, count):
            if len({_plain(label, kinds) for label in labels}) == 1:
                return " and ".join(kinds)
    return "spelling"


def _words_for_nothing(counts: Mapping[str | None, int]) -> dict[str, int]:
    """Those of the values that are a word for no value, the commonest first."""
    found = {
        value: count
        for value, count in counts.items()
        if value is not None
        and len(value) <= _LONGEST
        and value.strip().casefold() in NO_VALUE
        and value != "none"  # the name of a class, or of a mood, as often as not
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _counted(counts: Mapping[str, int], joined: str = ", ") -> str:
    named = [f"'{_shown(name)}' ({count})" for name, count in counts.items()]
    more = [f"{len(named) - _SHOWN} more"] if len(named) > _SHOWN else []
    return joined.join([*named[:_SHOWN], *more])


def _shown(name: str) -> str:
    r"""The name with what is not seen, and blanks that are no space, as escapes: 'a\u200bb'."""
    seen = (char if char == " " or char.isprintable() else ascii(char)[1:-1] for char in name)
    return "".join(seen)
