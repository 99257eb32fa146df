"""Probabilities of posts → groups: how large, by what words known, and their most typical posts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postsense.arrays import Array
from postsense.discovery.words import distinctive_words

TYPICAL = 12
WORDS = 12
SHOWS = 8


@dataclass(frozen=True)
class GroupedPosts:
    """N posts, what is known of each, and the K probabilities that place it in a group.

    probs: (N, K) float32, rows sum to 1. vectors: (N, D) float32, what distances are taken of.
    contents: (N, 2) int64, numbers of text and picture, equal where these are the same, -1 where
    there is none. words: of the text. shows: words for what the picture shows, None if that is not
    known. labels: of the few posts that have one.
    """

    ids: Sequence[str]
    probs: Array
    vectors: Array
    contents: Array
    words: Sequence[Sequence[str]]
    shows: Sequence[Sequence[str]] | None = None
    labels: Sequence[str | None] | None = None

    @property
    def numbers(self) -> Array:
        """(N,) the likeliest group of each post, from 0."""
        numbers: Array = self.probs.argmax(axis=1)
        return numbers


@dataclass(frozen=True)
class Group:
    """Posts that belong together.

    numbers: of the clusters it is made of, by size from 1; more than one where they share a name.
    share: of all posts. words, shows: what sets its texts and its pictures apart, surest first.
    typical: positions of its most typical posts. labels: posts by label, most frequent first.
    """

    numbers: tuple[int, ...]
    name: str
    size: int
    share: float
    words: tuple[str, ...]
    shows: tuple[str, ...]
    typical: tuple[int, ...]
    labels: dict[str, int]


def describe_groups(
    posts: GroupedPosts, names: Sequence[str], members: Sequence[Sequence[int]]
) -> list[Group]:
    """The K groups, largest first.

    names: (K,) of each column of the probabilities. members: (K,) numbers of its clusters.
    """
    numbers, groups = posts.numbers, len(names)
    words = distinctive_words(posts.words, numbers, groups, WORDS)
    shows: list[tuple[str, ...]] = [()] * groups
    if posts.shows is not None:
        shows = distinctive_words(posts.shows, numbers, groups, SHOWS)
    found = []
    for group, name in enumerate(names):
        rows = np.flatnonzero(numbers == group)
        found.append(
            Group(
                numbers=tuple(members[group]),
                name=name,
                size=len(rows),
                share=len(rows) / max(len(numbers), 1),
                words=words[group],
                shows=shows[group],
                typical=typical_posts(posts, rows, group),
                labels=_label_counts(posts, rows),
            )
        )
    return sorted(found, key=lambda group: (-group.size, group.numbers))


def typical_posts(
    posts: GroupedPosts, rows: Array, group: int, count: int = TYPICAL
) -> tuple[int, ...]:
    """Positions of the group's most probable posts; of equally probable ones the nearest its mean.

    Probabilities count to two digits. A text or a picture is there once, whoever repeats it.
    """
    if not len(rows):
        return ()
    vectors = posts.vectors[rows].astype(np.float64)
    distances = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
    order = np.lexsort((rows, distances, -np.round(posts.probs[rows, group], 2)))
    texts, pictures, chosen = set[int](), set[int](), list[int]()
    for row in rows[order].tolist():
        text, picture = posts.contents[row].tolist()
        if text in texts or picture in pictures:
            continue
        texts |= {text} - {-1}
        pictures |= {picture} - {-1}
        chosen.append(row)
        if len(chosen) == count:
            break
    return tuple(chosen)


def order_by_size(numbers: Array, clusters: int) -> tuple[int, ...]:
    """The clusters from the one of most posts to that of fewest. numbers: (N,) of the posts."""
    sizes = np.bincount(numbers, minlength=clusters)
    return tuple(np.argsort(-sizes, kind="stable").tolist())


def _label_counts(posts: GroupedPosts, rows: Array) -> dict[str, int]:
    if posts.labels is None:
        return {}
    given = [label for row in rows.tolist() if (label := posts.labels[row]) is not None]
    counts = Counter(given)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
