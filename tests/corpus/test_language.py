import socket

import pytest

from postsense.corpus.language import check_language, language_probabilities, plain_words
from postsense.errors import CorpusError

TEXTS = [
    "The weather is lovely today and we are going to the beach",
    "El huracán llegó esta noche a la ciudad y no hay luz",
    "THE WHOLE CITY IS UNDER WATER RIGHT NOW",
]


def test_a_text_is_likely_in_its_own_language():
    english = language_probabilities(TEXTS, "en")
    spanish = language_probabilities(TEXTS, "es")
    assert english[0] > 0.8 and english[1] < 0.1 and english[2] > 0.8
    assert spanish[1] > 0.8


def test_a_text_without_words_has_no_language():
    assert plain_words("@USER HTTPURL 😂 2012 #") == ""
    assert language_probabilities(["", "12 !"], "en") == [None, None]


def test_signs_that_every_language_has_do_not_count():
    assert plain_words("@USER Hola #amigo, HTTPURL 😂 EMAIL") == "Hola amigo,"


@pytest.mark.parametrize("language", ["xx", "english", ""])
def test_an_unknown_language_is_refused(language):
    with pytest.raises(CorpusError, match="ISO 639-1"):
        check_language(language)


def test_known_languages_and_any_are_accepted():
    for language in ("en", "de", "pt", "any"):
        check_language(language)


def test_nothing_is_fetched_from_the_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert language_probabilities(["what a day"], "en")[0] is not None
