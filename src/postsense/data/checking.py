"""Posts → what is in them and what is wrong with them, before anything is trained."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from postsense.data.duplicates import (
    Fingerprint,
    find_duplicates,
    fingerprint_picture,
)
from postsense.data.images import inspect_picture, read_picture
from postsense.data.lexicon import KnownWords, known_words
from postsense.data.oddities import Oddities, find_oddities
from postsense.errors import PictureError
from postsense.parallel.processes import available_cores
from postsense.posts import Posts
from postsense.progress import Progress, silent

CHECKED = ("text", "image", "label", "split")  # of our columns, those that must be in order
PICTURE_PROBLEMS = ("missing", "broken", "oversized", "animated")
NO_SPLIT = "no split"
_EXACT = {"same text", "same picture"}
_BATCH = 1024
_SHOWN = 5


@dataclass(frozen=True)
class Counts:
    """Numbers of posts; text and picture count if the table has one, whether usable or not."""

    posts: int
    with_text: int
    with_picture: int
    with_both: int
    with_neither: int
    with_comments: int
    labeled: int


@dataclass(frozen=True)
class PictureProblem:
    """A picture to look at. kind: of PICTURE_PROBLEMS; of animated ones the first frame is used."""

    id: str
    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Posts that say or show the same. kinds: of duplicates.KINDS, why they are one group."""

    ids: tuple[str, ...]
    splits: tuple[str | None, ...]
    labels: tuple[str | None, ...]
    kinds: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        return _EXACT.issuperset(self.kinds)

    @property
    def is_across_splits(self) -> bool:
        """Whether one split knows posts of another; a post without a split is a train post."""
        return len({split or "train" for split in self.splits}) > 1

    @property
    def has_label_conflict(self) -> bool:
        return len(set(self.labels) - {None}) > 1


@dataclass(frozen=True)
class TableReport:
    """What check_posts found. labels: posts by split and label. empty_texts: ids.

    oddities: of labels, texts and splits. lexicon: how many texts it knows a word of.
    """

    name: str
    counts: Counts
    labels: Mapping[str, Mapping[str, int]]
    pictures: tuple[PictureProblem, ...]
    empty_texts: tuple[str, ...]
    duplicates: tuple[DuplicateGroup, ...]
    oddities: Oddities
    lexicon: KnownWords

    def to_dict(self) -> dict[str, Any]:
        """The report in types that JSON has, with every id that it names."""
        return {
            "name": self.name,
            "counts": asdict(self.counts),
            "labels": {split: dict(counts) for split, counts in self.labels.items()},
            "pictures": {
                **self._picture_counts(),
                "listed": [asdict(problem) for problem in self.pictures],
            },
            "empty_texts": {"posts": len(self.empty_texts), "listed": list(self.empty_texts)},
            "duplicates": {
                **self._duplicate_counts(),
                "listed": [_group_dict(group) for group in self.duplicates],
            },
            **self.oddities.to_dict(),
            "lexicon": self.lexicon.to_dict(),
        }

    def lines(self) -> list[str]:
        """The report for people, a line a finding; of long lists the first few."""
        counts, pictures = self.counts, self._picture_counts()
        return [
            f"{counts.posts} posts: {counts.with_both} with text and picture, "
            f"{counts.with_text - counts.with_both} with text only, "
            f"{counts.with_picture - counts.with_both} with picture only, "
            f"{counts.with_neither} with neither; "
            f"{counts.with_comments} with comments; {counts.labeled} labeled",
            *(f"{split}: {_counted(labels)}" for split, labels in self.labels.items()),
            *self.oddities.lines(),
            *_listed(
                f"pictures: {_counted(pictures)}",
                [f"{p.id}: {p.kind}, {p.path}: {p.reason}" for p in self.pictures],
            ),
            *_listed(f"empty texts: {len(self.empty_texts)}", self.empty_texts),
            *self._duplicate_lines(),
            *([self.lexicon.line()] if self.lexicon.texts else []),
        ]

    def _picture_counts(self) -> dict[str, int]:
        found = Counter(problem.kind for problem in self.pictures)
        return {kind: found[kind] for kind in PICTURE_PROBLEMS}

    def _duplicate_counts(self) -> dict[str, int]:
        groups = self.duplicates
        return {
            "groups": len(groups),
            "posts": sum(len(group.ids) for group in groups),
            "exact": sum(group.is_exact for group in groups),
            "near": sum(not group.is_exact for group in groups),
            "across_splits": sum(group.is_across_splits for group in groups),
            "label_conflicts": sum(group.has_label_conflict for group in groups),
        }

    def _duplicate_lines(self) -> list[str]:
        counts = self._duplicate_counts()
        across = [group for group in self.duplicates if group.is_across_splits]
        conflicts = [group for group in self.duplicates if group.has_label_conflict]
        return [
            f"groups of duplicates: {counts['groups']}, {counts['exact']} exact and "
            f"{counts['near']} near, {counts['posts']} posts in all",
            *_listed(
                f"groups across splits: {len(across)}",
                [_group_line(group, group.splits) for group in across],
            ),
            *_listed(
                f"groups with different labels: {len(conflicts)}",
                [_group_line(group, group.labels) for group in conflicts],
            ),
        ]


def check_posts(posts: Posts, progress: Progress = silent) -> TableReport:
    """What is in the posts, and which pictures, texts, duplicates and labels need a look.

    Each picture file is read and decoded once, by one thread a core.
    """
    paths = posts.column("image")
    pictures = _look_at({path for path in paths if path is not None}, progress)
    ids, texts = posts.column("id"), posts.column("text")
    problems = [
        PictureProblem(post_id, path, *problem)
        for post_id, path in zip(ids, paths, strict=True)
        if path is not None and (problem := pictures[path].problem) is not None
    ]
    empty = [post_id for post_id, text in zip(ids, texts, strict=True) if text is None]
    prints = [None if path is None else pictures[path].fingerprint for path in paths]
    return TableReport(
        name=posts.name,
        counts=_count(posts),
        labels=_count_labels(posts),
        pictures=tuple(problems),
        empty_texts=tuple(empty),
        duplicates=_group(posts, prints),
        oddities=find_oddities(posts),
        lexicon=known_words(texts),
    )


@dataclass(frozen=True)
class _Picture:
    """problem: kind and reason, or nothing to say; fingerprint: None if unusable or near-blank."""

    problem: tuple[str, str] | None
    fingerprint: Fingerprint | None


def _look_at(paths: Iterable[str], progress: Progress) -> dict[str, _Picture]:
    ordered = sorted(paths)
    looked: dict[str, _Picture] = {}
    with ThreadPoolExecutor(available_cores()) as threads:
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            looked.update(zip(batch, threads.map(_look_at_one, batch), strict=True))
            progress("pictures", len(looked), len(ordered))
    return looked


def _look_at_one(path: str) -> _Picture:
    try:
        data = read_picture(path)
        frames = inspect_picture(data, path).frames
        fingerprint = fingerprint_picture(data, path)
    except PictureError as error:
        reason = f"expected {error.expected}, found {error.found}"
        return _Picture((_problem_kind(error), reason), None)
    return _Picture(("animated", f"{frames} frames") if frames > 1 else None, fingerprint)


def _problem_kind(error: PictureError) -> str:
    if error.found in ("no such file", "an address"):
        return "missing"
    return "oversized" if error.expected.startswith("at most") else "broken"


def _count(posts: Posts) -> Counts:
    text, picture = posts.table["text"].is_valid(), posts.table["image"].is_valid()
    comments = pc.fill_null(pc.greater(pc.list_value_length(posts.table["comments"]), 0), False)
    return Counts(
        posts=len(posts),
        with_text=_true(text),
        with_picture=_true(picture),
        with_both=_true(pc.and_(text, picture)),
        with_neither=len(posts) - _true(pc.or_(text, picture)),
        with_comments=_true(comments),
        labeled=_true(posts.table["label"].is_valid()),
    )


def _true(values: Any) -> int:
    return int(np.count_nonzero(values.to_numpy()))


def _count_labels(posts: Posts) -> dict[str, dict[str, int]]:
    """Labels by name within splits in the order train, val, test, others, none."""
    pairs = zip(posts.column("split"), posts.column("label"), strict=True)
    found = Counter((split or NO_SPLIT, label) for split, label in pairs if label is not None)
    order = {"train": 0, "val": 1, "test": 2, NO_SPLIT: 4}
    splits = sorted({split for split, _ in found}, key=lambda name: (order.get(name, 3), name))
    return {
        split: {label: found[name, label] for name, label in sorted(found) if name == split}
        for split in splits
    }


def _group(posts: Posts, prints: Sequence[Fingerprint | None]) -> tuple[DuplicateGroup, ...]:
    found = find_duplicates(posts.column("text"), prints)
    ids, splits, labels = (np.array(posts.column(c), object) for c in ("id", "split", "label"))
    return tuple(
        DuplicateGroup(tuple(ids[rows]), tuple(splits[rows]), tuple(labels[rows]), kinds)
        for rows, kinds in zip(found.groups, found.group_kinds(), strict=True)
    )


def _group_dict(group: DuplicateGroup) -> dict[str, Any]:
    return {key: list(value) for key, value in asdict(group).items()}


def _group_line(group: DuplicateGroup, notes: Sequence[str | None]) -> str:
    named = [f"{post_id} ({note or '-'})" for post_id, note in zip(group.ids, notes, strict=True)]
    return f"{_few(named)}: {', '.join(group.kinds)}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _listed(title: str, items: Sequence[str]) -> list[str]:
    more = [f"  and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return [title, *(f"  {item}" for item in items[:_SHOWN]), *more]


def _few(items: Sequence[str]) -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return ", ".join([*items[:_SHOWN], *more])
