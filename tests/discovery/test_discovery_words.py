"""The words that set a group apart, against the equations written slowly."""

import math

import numpy as np
import pytest

from postsense.discovery.words import (
    PRIOR_SHARE,
    PRIOR_WORDS,
    distinctive_words,
    log_odds,
    words_of,
)


def naive_z(counts: list[list[int]], group: int, word: int) -> float:
    """Monroe et al. 2008, eqs. 15, 16, 22, one term at a time; j is all groups but one."""
    total = sum(map(sum, counts))
    prior_words = min(PRIOR_WORDS, PRIOR_SHARE * total)
    prior = prior_words * sum(row[word] for row in counts) / total
    odds, variance = [], 0.0
    for side in ([counts[group]], [row for other, row in enumerate(counts) if other != group]):
        seen, size = sum(row[word] for row in side), sum(map(sum, side))
        odds.append(math.log((seen + prior) / (size + prior_words - seen - prior)))
        variance += 1 / (seen + prior)
    return (odds[0] - odds[1]) / math.sqrt(variance)


@pytest.mark.parametrize("frequent", [40, 4000])
def test_scores_are_the_log_odds_of_the_paper(frequent: int) -> None:
    counts = np.random.default_rng(0).integers(1, frequent, (3, 7))
    slow = [[naive_z(counts.tolist(), group, word) for word in range(7)] for group in range(3)]
    np.testing.assert_allclose(log_odds(counts), slow, atol=1e-8)


def test_two_groups_have_opposite_scores() -> None:
    counts = np.random.default_rng(1).integers(0, 9, (2, 5)) + 1
    np.testing.assert_allclose(log_odds(counts)[0], -log_odds(counts)[1])


def test_no_words_at_all_have_no_scores() -> None:
    assert log_odds(np.zeros((2, 0))).shape == (2, 0)
    assert not log_odds(np.zeros((2, 3))).any()


def test_a_single_word_has_finite_scores() -> None:
    assert np.isfinite(log_odds(np.array([[3], [5]]))).all()


def test_a_group_is_known_by_the_words_that_others_lack() -> None:
    cats = [("the", "cat", f"c{n}") for n in range(20)]
    dogs = [("the", "dog", f"d{n}") for n in range(20)]
    found = distinctive_words(cats + dogs, np.repeat([0, 1], 20), 2)
    assert found == [("cat",), ("dog",)]


def test_a_text_that_is_sent_often_counts_once() -> None:
    spam = [("buy", "now")] * 50
    real = [("cat", f"c{n}") for n in range(20)]
    other = [("dog", f"d{n}") for n in range(20)]
    numbers = np.repeat([0, 1], [70, 20])
    assert distinctive_words(spam + real + other, numbers, 2) == [("cat",), ("dog",)]


def test_posts_of_no_group_do_not_count() -> None:
    words = [("cat", f"c{n}") for n in range(9)] + [("dog", f"d{n}") for n in range(9)]
    more = [("dog", f"e{n}") for n in range(99)]
    alone = distinctive_words(words, np.repeat([0, 1], 9), 2)
    assert distinctive_words(words + more, np.repeat([0, 1, -1], [9, 9, 99]), 2) == alone


def test_words_are_counted_up_to_the_limit_and_do_not_depend_on_the_order_of_posts() -> None:
    words = [(*(f"w{n}" for n in range(9)), f"x{m}") for m in range(9)]
    words += [("z", f"y{m}") for m in range(30)]
    numbers, order = np.repeat([0, 1], [9, 30]), np.random.default_rng(0).permutation(39)
    found = distinctive_words(words, numbers, 2, count=4)
    assert found[0] == ("w0", "w1", "w2", "w3")
    assert distinctive_words([words[n] for n in order], numbers[order], 2, count=4) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RT @someone: Two CATS &amp; a dog! https://t.co/x #Pets 2024", "two cats dog pets"),
        ("don’t", "dont"),
        ("mail alice@example.com now", "mail now"),
        ("see pic.twitter.com/AbC or t.me/alice", "see or"),
        ("see &#64;alice", "see"),
        ("", ""),
        (None, ""),
    ],
)
def test_words_have_no_handles_links_numbers_or_letters(text: str | None, words: str) -> None:
    assert words_of(text) == tuple(words.split())
