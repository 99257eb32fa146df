"""What an English lexicon says of texts, and how many texts it knows a word of."""

import pytest
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from postsense.data.lexicon import (
    MOST_EMOJIS,
    Feeling,
    count_links,
    feeling_of,
    known_words,
    split_tags,
    value_of_word,
    without_links,
    words_in,
)

GERMAN = ["der hund schläft im garten", "morgen fahren wir nach köln", "so schön wie nie zuvor"]


@pytest.mark.parametrize("text", ["", "a good day", "NOT good at all!!", "meh 😁 but #great :("])
def test_the_feeling_is_that_of_the_authors_analyzer(text: str) -> None:
    said = SentimentIntensityAnalyzer().polarity_scores(text)
    assert feeling_of(text) == Feeling(said["neg"], said["neu"], said["pos"], said["compound"])


def test_of_many_emojis_the_first_are_read() -> None:
    many = "😁" * MOST_EMOJIS
    assert feeling_of(many + "😢" * 5000) == feeling_of(many) != feeling_of("😁" * 3)


def test_hashtags_become_words() -> None:
    assert split_tags("#SoMuchFun at #NYC2012 #größe #happy_day #") == (
        "So Much Fun at NYC 2012 größe happy day #"
    )
    assert split_tags("no tag") == "no tag"


def test_links_are_no_words() -> None:
    text = "good http://t.co/bad www.bad.org HTTPURL day's"
    assert words_in(text) == ["good", "day's"]
    assert count_links(text) == 3 and without_links("a www.b.c d") == "a   d"


def test_texts_in_which_it_knows_a_word_are_counted() -> None:
    found = known_words(["Good, GOOD day", "love and good", None, "table", "http://good.org"])
    assert (found.texts, found.known) == (4, 2) and found.share == 0.5
    assert dict(found.commonest) == {"good": 2, "love": 1}
    assert found.line() == (
        "the English lexicon of blocks.lexical knows a word in 50% of the texts"
        " (good, love above all)"
    )
    assert value_of_word("good") == 1.9 and value_of_word("table") is None


def test_it_says_that_it_does_not_know_another_language() -> None:
    found = known_words(GERMAN)
    assert found.known == 0 and found.line().endswith(
        "in 0% of the texts; features of feeling are zero for the others"
    )
    assert known_words([None]).share == 0.0
    assert found.to_dict() == {"texts": 3, "known": 0, "commonest": {}, "share": 0.0}
