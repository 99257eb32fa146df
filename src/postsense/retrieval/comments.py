"""Comments under similar posts → the few that hint at what a post means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from postsense.config import CommentSettings

Array = np.ndarray[Any, Any]
NEAREST = 10  # background comments that a comment is held against


@dataclass(frozen=True)
class Hint:
    """A comment lent to a post. post: id of the corpus post it stands under.

    consensus: mean cosine with all comments it was chosen from, in [-1, 1]; higher is better.
    """

    text: str
    post: str
    consensus: float


@dataclass(frozen=True)
class PooledComment:
    """A comment under a similar post, before the choice. vector: (D,) unit."""

    text: str
    post: str
    vector: Array


def consensus_scores(vectors: Array) -> Array:
    """How much each comment says what the others say.

    Source: Xu & Li 2022, Comment-Aware Self-Training, eq. 5.
        q_i = 1/|P| sum_{p in P} cos(p_i, p)
    Deviation: none; the comment itself is in the sum, which shifts all scores alike.

    Args:
        vectors: (P, D) float, unit length.
    Returns: (P,) float in [-1, 1]; higher is better.
    """
    scores: Array = vectors @ vectors.mean(axis=0)
    return scores


def genericness(vectors: Array, background: Array) -> Array:
    """How much each comment is like comments under posts that have nothing to do with it.

    Source: ours; the paper's error analysis blames comments such as "thank you", which readers
    write under anything and which agree with each other, so that consensus prefers them.
        g_i = mean of the NEAREST highest cos(p_i, b), b in background

    Args:
        vectors: (P, D) float, unit length. background: (S, D) float, unit length, of a random
            sample of posts, one comment each.
    Returns: (P,) float in [-1, 1]; higher is more generic; -1 without a background.
    """
    nearest = min(NEAREST, len(background))
    if not nearest:
        return np.full(len(vectors), -1.0, dtype=np.float32)
    cosines = vectors @ background.T
    top: Array = np.partition(cosines, -nearest, axis=1)[:, -nearest:].mean(axis=1)
    return top


def choose_hints(
    pool: Sequence[PooledComment], background: Array, settings: CommentSettings
) -> tuple[Hint, ...]:
    """The settings.count comments of highest consensus that are neither short nor generic.

    Equal texts count once, under the first post that has them. Ties go to the earlier comment.
    """
    first = {comment.text: comment for comment in reversed(pool)}
    unique = [comment for comment in pool if first[comment.text] is comment]
    long = [comment for comment in unique if len(comment.text.split()) >= settings.min_words]
    if not long:
        return ()
    vectors = np.stack([comment.vector for comment in long])
    if settings.max_generic < 1.0:
        specific = np.flatnonzero(genericness(vectors, background) <= settings.max_generic)
        long, vectors = [long[place] for place in specific], vectors[specific]
    if not long:
        return ()
    scores = consensus_scores(vectors)
    order = np.argsort(-scores, kind="stable")[: settings.count]
    return tuple(Hint(long[i].text, long[i].post, float(scores[i])) for i in order)
