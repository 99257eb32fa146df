"""Posts and a corpus → what the corpus lends them: hint comments, and similar posts to learn from.

Source: Xu & Li 2022, Comment-Aware Self-Training, section 3.1.
"""

from dataclasses import dataclass, replace

import numpy as np

from postsense.arrays import Array
from postsense.config import CommentSettings, Config
from postsense.corpus.reading import Corpus
from postsense.encoders.open_encoders import OpenEncoders
from postsense.posts import Posts
from postsense.progress import Progress, silent
from postsense.retrieval.comments import (
    GENERIC_PHRASES,
    Hint,
    PooledComment,
    choose_hints,
    genericness,
)
from postsense.retrieval.opened import Opened
from postsense.retrieval.queries import embed_queries, embed_words
from postsense.retrieval.search import Found, open_searcher

_BLOCK = 1024  # posts whose pools of comments are in memory at a time


@dataclass(frozen=True)
class Pairs:
    """P retrieved posts of labelled ones, to be pseudo-labelled.

    posts: every retrieved post once. queries: (P,) positions of the labelled posts. rows: (P,)
    positions of the retrieved ones, which follow the user's own. ranks: (P,) from 0, scores: (P,).
    """

    posts: Posts
    queries: Array
    rows: Array
    ranks: Array
    scores: Array

    def among(self, queries: Array, usable: Array) -> "Pairs":
        """The pairs of these labelled posts whose retrieved post is usable."""
        kept = np.isin(self.queries, queries) & np.isin(self.rows, usable)
        arrays = {
            name: getattr(self, name)[kept] for name in ("queries", "rows", "ranks", "scores")
        }
        return replace(self, **arrays)


@dataclass(frozen=True)
class Borrowed:
    """What a corpus lends N posts. alpha: weight of the picture in the search, in [0, 1].

    hints: of each post, best first, () where nothing fits. pairs: None unless asked for.
    """

    alpha: float
    hints: tuple[tuple[Hint, ...], ...]
    pairs: Pairs | None = None


def borrow_for_training(
    posts: Posts, train: Array, held_out: Array, config: Config, progress: Progress = silent
) -> Borrowed | None:
    """What the corpus lends the posts of a run; None if the settings name no corpus.

    train, held_out: positions of train posts, and of val and test posts. Corpus posts that are held
    out, or duplicates of such, are lent to nobody.
    Raises: CorpusError: no such corpus, or one that cannot be used.
    """
    if config.retrieval.corpus is None:
        return None
    searcher, encoders = open_searcher(config.retrieval.corpus, config.retrieval), OpenEncoders()
    queries = embed_queries(posts, searcher.corpus, progress, encoders)
    if config.retrieval.alpha is None:
        searcher = searcher.balanced(queries.take(train))
    searcher = searcher.without(searcher.duplicates(queries.take(held_out)))
    wanted = max(config.retrieval.posts, config.self_training.neighbors)
    found = searcher.search(queries, wanted, progress)
    nearest = found.first(config.retrieval.posts)
    hints = _lend_comments(searcher.corpus, nearest, config.comments, encoders)
    pairs = None
    if config.declared_method.learns_from_corpus:
        nearest = found.first(config.self_training.neighbors)
        pairs = _pair(searcher.corpus, nearest, train, first_row=len(posts))
    return Borrowed(searcher.alpha, hints, pairs)


def borrow_for_prediction(
    posts: Posts,
    config: Config,
    *,
    held_out: Posts | None = None,
    progress: Progress = silent,
    opened: Opened | None = None,
) -> Borrowed | None:
    """What the corpus lends new posts; None if the model reads no comments.

    held_out: posts that are measured on; their duplicates are lent to nobody.
    opened: what is open; None: corpus and encoders are opened.
    """
    corpus = config.retrieval.corpus
    if corpus is None or not config.comments.count:
        return None
    encoders = OpenEncoders() if opened is None else opened.encoders
    search = open_searcher if opened is None else opened.searcher
    searcher = search(corpus, config.retrieval)
    queries = embed_queries(posts, searcher.corpus, progress, encoders)
    if held_out is not None:
        measured = embed_queries(held_out, searcher.corpus, progress, encoders)
        searcher = searcher.without(searcher.duplicates(measured))
    found = searcher.search(queries, config.retrieval.posts, progress)
    hints = _lend_comments(searcher.corpus, found, config.comments, encoders)
    return Borrowed(searcher.alpha, hints)


def _lend_comments(
    corpus: Corpus, found: Found, settings: CommentSettings, encoders: OpenEncoders
) -> tuple[tuple[Hint, ...], ...]:
    if not settings.count:
        return ((),) * len(found.numbers)
    phrases = embed_words(GENERIC_PHRASES, corpus, encoders)
    hints: list[tuple[Hint, ...]] = []
    for start in range(0, len(found.numbers), _BLOCK):
        rows = found.numbers[start : start + _BLOCK]
        pools = _pools(corpus, np.unique(rows[rows >= 0]), phrases, settings.per_post)
        for row in rows:
            pool = [comment for number in row[row >= 0] for comment in pools[number]]
            hints.append(choose_hints(pool, settings))
    return tuple(hints)


def _pools(
    corpus: Corpus, numbers: Array, phrases: Array, per_post: int
) -> dict[int, list[PooledComment]]:
    """The first per_post comments of each post, by its number."""
    pools = {}
    ids = corpus.posts(numbers).column("id")
    for number, post, comments in zip(numbers.tolist(), ids, corpus.comments(numbers), strict=True):
        few = comments[:per_post]
        vectors = np.stack([comment.vector for comment in few]) if few else phrases[:0]
        pools[number] = [
            PooledComment(comment.text, post, vector, generic)
            for comment, vector, generic in zip(
                few, vectors, genericness(vectors, phrases).tolist(), strict=True
            )
        ]
    return pools


def _pair(corpus: Corpus, found: Found, train: Array, first_row: int) -> Pairs:
    """One pair for each train post and each post found for it."""
    numbers = found.numbers[train]
    asked, ranks = np.nonzero(numbers >= 0)
    unique, rows = np.unique(numbers[asked, ranks], return_inverse=True)
    return Pairs(
        posts=corpus.posts(unique),
        queries=train[asked],
        rows=first_row + rows,
        ranks=ranks,
        scores=found.scores[train][asked, ranks],
    )
