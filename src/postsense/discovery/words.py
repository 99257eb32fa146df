"""Words of posts in groups → the words that set each group apart."""

import html
from collections.abc import Sequence

import numpy as np

from postsense.arrays import Array
from postsense.data.anonymization import hide_people
from postsense.data.duplicates import clean_text

PRIOR_WORDS = 500.0
PRIOR_SHARE = 0.1
MIN_POSTS = 2
MIN_LETTERS = 2


def words_of(text: str | None) -> tuple[str, ...]:
    """The words of a text in lower case, in their order: no handles, links, numbers or letters."""
    words = clean_text(hide_people(html.unescape(text or ""))).split()
    return tuple(word for word in words if len(word) >= MIN_LETTERS and not word.isdigit())


def distinctive_words(
    words: Sequence[Sequence[str]], numbers: Array, groups: int, count: int = 12, least: float = 1.0
) -> list[tuple[str, ...]]:
    """The words that are more frequent in each group than in all the others, surest first.

    Source: Monroe, Colaresi, Quinn 2008, Fightin' Words, eqs. 15, 16, 22: log-odds with an
    informative Dirichlet prior, over their standard deviation
        d_w = log((y_iw + a_w) / (n_i + a_0 - y_iw - a_w)) - the same of the other groups
        z_w = d_w / sqrt(1 / (y_iw + a_w) + 1 / (y_jw + a_w))
    The prior holds a_0 = PRIOR_WORDS words, of few posts at most PRIOR_SHARE of those they have,
    each as frequent as in all groups together.
    Deviation: a word counts once a post and a post once if others of its group have the same
    words, so that neither one excited post nor a text sent a hundred times names a group.

    Args:
        words: (N,) the words of each post.
        numbers: (N,) int, the group of each post, from 0; -1: of none.
        groups: how many there are.
        count: words a group at most.
        least: z from which a word is shown.
    Returns: for each group its words; ties in alphabetical order.
    """
    counts, vocabulary = _counts(words, numbers, groups)
    scores = log_odds(counts)
    shown = (scores >= least) & (counts >= MIN_POSTS)
    order = [np.argsort(-row, kind="stable") for row in scores]  # the vocabulary is sorted
    kept = [row[shown[group][row]][:count] for group, row in enumerate(order)]
    return [tuple(vocabulary[word] for word in row) for row in kept]


def log_odds(counts: Array) -> Array:
    """The z of every word in every group against all the others. counts: (K, V), also returned."""
    counts = counts.astype(np.float64)
    overall = counts.sum(axis=0)  # (V,)
    total = overall.sum()
    if total == 0:
        return np.zeros_like(counts)
    prior_words = min(PRIOR_WORDS, PRIOR_SHARE * total)
    prior = prior_words * overall / total
    rest = overall - counts
    sizes, others = counts.sum(axis=1, keepdims=True), rest.sum(axis=1, keepdims=True)
    inside, outside = counts + prior, rest + prior
    odds = np.log(inside / (sizes + prior_words - inside + _TINY))
    other_odds = np.log(outside / (others + prior_words - outside + _TINY))
    scores: Array = (odds - other_odds) / np.sqrt(1 / inside + 1 / outside)
    return scores


_TINY = 1e-9  # where all posts are of one word, nothing is left beside it


def _counts(
    words: Sequence[Sequence[str]], numbers: Array, groups: int
) -> tuple[Array, tuple[str, ...]]:
    """How many different posts of each group hold each word, (K, V), and the words, sorted."""
    counted = zip(words, numbers.tolist(), strict=True)
    known = sorted({word for post, group in counted if group >= 0 for word in post})
    place = {word: number for number, word in enumerate(known)}
    counts = np.zeros((groups, len(known)), dtype=np.int64)
    seen = set[tuple[int, frozenset[str]]]()
    for post, group in zip(words, numbers.tolist(), strict=True):
        different = frozenset(post)
        if group < 0 or (group, different) in seen:
            continue
        seen.add((group, different))
        counts[group, [place[word] for word in different]] += 1
    return counts, tuple(known)
