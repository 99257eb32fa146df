"""Comments under similar posts → the few that hint at what a post means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postsense.arrays import Array
from postsense.config import CommentSettings

GENERIC_PHRASES = (
    *("thank you", "thank you so much", "thanks for sharing this", "you are welcome"),
    *("so true", "exactly this", "I agree with you", "you are so right", "well said"),
    *("good point", "same here", "me too", "love this", "I love it so much", "great picture"),
    *("nice photo", "beautiful picture", "so cute", "awesome", "wow amazing", "oh my god"),
    *("I can't believe it", "no way", "lol that is so funny", "hahaha", "this is hilarious"),
    *("I can't stop laughing", "good morning", "good night", "have a nice day", "happy birthday"),
    *("congratulations", "good luck", "see you soon", "miss you", "love you", "yes please"),
    *("I don't know", "what is this", "who is this", "where is this", "shut up"),
    *("what are you talking about", "follow me back", "check your messages", "retweet this"),
    *("please share", "click the link"),
)


@dataclass(frozen=True)
class Hint:
    """A comment that a post is read with. post: id of the post it stands under.

    consensus: of one that a corpus lent, its mean cosine with all comments it was chosen from, in
    [-1, 1]; higher is better; of the post's own, which are not chosen, 1. is_own: the post's own.
    """

    text: str
    post: str
    consensus: float
    is_own: bool = False


@dataclass(frozen=True)
class Hints:
    """The comments that N posts are read with, own ones first.

    fresh: those that they would be read with if nobody had commented on them; None: the same.
    """

    given: tuple[tuple[Hint, ...], ...]
    fresh: tuple[tuple[Hint, ...], ...] | None = None


@dataclass(frozen=True)
class PooledComment:
    """A comment under a similar post, before the choice. vector: (D,) unit; genericness: cosine."""

    text: str
    post: str
    vector: Array
    genericness: float


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


def genericness(vectors: Array, phrases: Array) -> Array:
    """How much each comment is one of those that readers write under anything.

    Source: ours; the paper's error analysis blames comments such as "thank you", which agree with
    each other, so that consensus prefers them.
        g_i = max_b cos(p_i, b), b one of GENERIC_PHRASES
    Measuring against random comments of the corpus instead finds its commonest topic, not phrases
    without one: under posts of which two thirds are about a storm, what names the storm.

    Args:
        vectors: (P, D) float, unit length. phrases: (G, D) float, unit length.
    Returns: (P,) float in [-1, 1]; higher is more generic.
    """
    highest: Array = (vectors @ phrases.T).max(axis=1)
    return highest


def own_first(
    ids: Sequence[str],
    own: Sequence[Sequence[str] | None],
    borrowed: Sequence[Sequence[Hint]] | None,
    count: int,
) -> Hints:
    """Each post's first own comments, in their order; borrowed ones fill up to count.

    Args:
        ids, own: (N,) of the posts, None or empty where nobody has commented.
        borrowed: (N,) best first; None: there is nothing to borrow from.
    """
    lent = [()] * len(ids) if borrowed is None else [tuple(some[:count]) for some in borrowed]
    given = []
    for post, texts, some in zip(ids, own, lent, strict=True):
        kept = [Hint(text, post, 1.0, is_own=True) for text in (texts or ())[:count]]
        said = {hint.text for hint in kept}
        more = [hint for hint in some if hint.text not in said]
        given.append((*kept, *more)[:count])
    return Hints(tuple(given), fresh=tuple(lent))


def choose_hints(pool: Sequence[PooledComment], settings: CommentSettings) -> tuple[Hint, ...]:
    """The settings.count comments of highest consensus that are neither short nor generic.

    Equal texts count once, under the first post that has them. Ties go to the earlier comment.
    """
    unique = list({comment.text: comment for comment in reversed(pool)}.values())[::-1]
    fit = [comment for comment in unique if _tells_something(comment, settings)]
    if not fit:
        return ()
    scores = consensus_scores(np.stack([comment.vector for comment in fit]))
    order = np.argsort(-scores, kind="stable")[: settings.count]
    return tuple(Hint(fit[i].text, fit[i].post, float(scores[i])) for i in order)


def _tells_something(comment: PooledComment, settings: CommentSettings) -> bool:
    long = len(comment.text.split()) >= settings.min_words
    return long and comment.genericness <= settings.max_generic
