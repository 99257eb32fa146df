"""No handle, address or link is left in a text, however long its words."""

import pytest

from growth import assert_in_proportion
from postsense.data.anonymization import hide_people


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("pic.twitter.com/abc", "HTTPURL"),
        ("(t.me/alice) ...T.ME/alice x", "(HTTPURL ...HTTPURL x"),
        ("youtu.be/x?y=z#a example.org:8080/~alice яндекс.рф/имя", "HTTPURL HTTPURL HTTPURL"),
        ("https://x.example/@alice mailto:alice@x.example", "HTTPURL mailto:@USER"),
        ("mail ...a.b+c@d.example and .@b", "mail ...@USER and .@USER"),
        ("@a..bob@c.d @a.@b @me@mastodon.example", "@USER..@USER @USER.@USER @USER"),
        (f"{'a' * 99}@x.example", "@USER"),
        ("u/Some_One and /u/x-y-z", "@USER and @USER"),
    ],
)
def test_people_and_links_are_hidden(text: str, hidden: str) -> None:
    assert hide_people(text) == hidden
    assert hide_people(hidden) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "and/or w/e 24/7 a.m./p.m. e.g./i.e. 24.5/25.5 and… no/yes",
        "example.org is down. @ home, p12, cats/a.jpg, 2:1",
    ],
)
def test_other_words_stay_as_they_are(text: str) -> None:
    assert hide_people(text) == text


@pytest.mark.parametrize("part", ["a", "a.", "+a", "a-", "a@", "@a.", "u/", "a.bc/", ".", "@"])
def test_a_long_word_takes_time_in_proportion(part: str) -> None:
    few, many = (part * (length // len(part)) + " " for length in (5_000, 80_000))
    assert_in_proportion(hide_people, few, many, times=16)
