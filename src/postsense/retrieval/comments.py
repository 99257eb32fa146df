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
    """A comment lent to a post. post: id of the corpus post it stands under.

    consensus: mean cosine with all comments it was chosen from, in [-1, 1]; higher is better.
    """

    text: str
    post: str
    consensus: float


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
