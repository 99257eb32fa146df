"""Texts and a text encoder → how much of what people wrote it cannot read, by script."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

from postsense.config import EncoderSettings
from postsense.encoders.reading import TextReader
from postsense.encoders.vocabulary import Vocabulary, lacks, open_vocabulary
from postsense.posts import Posts

logger = logging.getLogger(__name__)

ENOUGH_PIECES = 100  # of two letters and more: who has fewer of a script spells its words out
ENOUGH_CHARACTERS = 1000  # the same for a script that writes words with one character each
MENTIONED_FROM = 0.01  # share from which training speaks of it
_SHOWN = 5
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
SIGNS = "emojis and signs"
_LATIN, _HAN = "Latin", "Han"
_GREEK_SIGNS = set("αβγδεζηθικλμνξοπρςστυφχψωΔΛΠΣΦΨΩ")  # alone they are no Greek words
_NAMES = {"CJK": _HAN, "KANGXI": _HAN, "KATAKANA-HIRAGANA": "Katakana"}
_NO_SCRIPT = {"DIGIT", "COMBINING", "MODIFIER", "SUPERSCRIPT", "SUBSCRIPT", "VARIATION"}


@dataclass(frozen=True)
class Unread:
    """How much of a table's texts an encoder cannot read. encoder: its name in the settings.

    letters: of all texts, digits and unknown signs among them. unread: letters of words that
    become unknown, or that are of a script of which the vocabulary has single letters at most.
    texts: those that have letters. unread_texts: those without a word that can be read. scripts:
    unread letters by script, the commonest first.
    """

    encoder: str
    letters: int
    unread: int
    texts: int
    unread_texts: int
    scripts: Mapping[str, int]

    @property
    def share(self) -> float:
        """The share of the letters that cannot be read, in [0, 1]."""
        return self.unread / max(self.letters, 1)

    def to_dict(self) -> dict[str, Any]:
        """The numbers in types that JSON has."""
        return {**vars(self), "scripts": dict(self.scripts), "share": self.share}

    def line(self) -> str:
        """The finding for people, and what helps."""
        if not self.unread:
            return f"encoders.text '{self.encoder}' can read all letters of the texts"
        shown = f"{self.share:.0%}" if self.share >= MENTIONED_FROM else f"{self.share:.2%}"
        more = [f"{len(self.scripts) - _SHOWN} more"] if len(self.scripts) > _SHOWN else []
        line = (
            f"{shown} of the letters cannot be read by encoders.text '{self.encoder}'"
            f" ({', '.join([*list(self.scripts)[:_SHOWN], *more])})"
        )
        line += f", {self.unread_texts} of {self.texts} texts not at all" * bool(self.unread_texts)
        foreign = self.share >= MENTIONED_FROM and set(self.scripts) != {SIGNS}
        return line + (f"; {_ADVICE}" if foreign else "")


_ADVICE = (
    "for these languages set encoders.text.name to a multilingual checkpoint, a local folder or"
    f" {MULTILINGUAL} with encoders.allow_download=true"
)


def unread_of(posts: Posts, settings: EncoderSettings) -> Unread:
    """How much of the posts' texts the text encoder of the settings cannot read.

    Languages in Latin letters count as read. Raises: EncoderError: no such encoder.
    """
    vocabulary = open_vocabulary(settings)
    written = settings.text.model_copy(update={"prefix": ""})  # what people wrote, not what we do
    reader, judge = TextReader(written, lambda: vocabulary), _Judge(vocabulary)
    letters, scripts, texts, unread_texts = 0, Counter[str](), 0, 0
    for text in posts.column("text"):
        (spelled,) = reader([text])
        found = judge(spelled)
        letters += found.letters
        scripts.update(found.scripts)
        texts += found.letters > 0
        unread_texts += 0 < found.letters == sum(found.scripts.values())
    unread = sum(scripts.values())
    ordered = dict(scripts.most_common())
    return Unread(settings.text.name, letters, unread, texts, unread_texts, ordered)


def warn_of_unread(posts: Posts, settings: EncoderSettings) -> None:
    """Say in the log what the text encoder cannot read, if that is more than a trace."""
    found = unread_of(posts, settings)
    if found.share >= MENTIONED_FROM:
        logger.warning("%s: %s", posts.name, found.line())


@dataclass(frozen=True)
class _Judged:
    """letters: of a text. scripts: those that cannot be read, by script."""

    letters: int
    scripts: Mapping[str, int]


class _Judge:
    """Tells of texts what of them a vocabulary cannot read; each word is looked at once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._known = dict[str, Mapping[str, int]]()

    def __call__(self, text: str) -> _Judged:
        letters, scripts = 0, Counter[str]()
        for word in _words(text):
            letters += len(word)
            if word not in self._known:
                self._known[word] = self._unread(word)
            scripts.update(self._known[word])
        return _Judged(letters, scripts)

    def _unread(self, word: str) -> Mapping[str, int]:
        """The letters of a word that cannot be read, by script."""
        pieces = self.vocabulary.pieces(word)
        unknown = not any(pieces)
        unread = Counter[str]()
        for script, part in _parts(word):
            if unknown or self._is_unread(part, script):
                unread[script or SIGNS] += len(part)
        if unknown and len(unread) > 1:  # a word of one's own script falls with what it stands in
            unread = Counter({name: count for name, count in unread.items() if name != SIGNS})
        return unread

    def _is_unread(self, part: str, script: str | None) -> bool:
        pieces = self.vocabulary.pieces(part)
        if None in pieces or lacks(self.vocabulary, part):
            return True
        if script in (None, _LATIN) or self._reads(str(script)):
            return False
        letters = [sign for sign in part if unicodedata.category(sign)[0] != "M"]
        return len(pieces) > 1 or (len(letters) < 2 and part not in _GREEK_SIGNS)

    def _reads(self, script: str) -> bool:
        """Whether the vocabulary has words of a script, or spells out all words there are."""
        many, single = self._pieces_by_script
        if many[_LATIN] < ENOUGH_PIECES and sum(many.values()) < ENOUGH_PIECES:
            return True
        return many[script] >= ENOUGH_PIECES or single[script] >= ENOUGH_CHARACTERS

    @cached_property
    def _pieces_by_script(self) -> tuple[Counter[str], Counter[str]]:
        """How many pieces have two letters and more of a script, and how many just one."""
        many, single = Counter[str](), Counter[str]()
        for piece in self.vocabulary.spellings():
            if piece.isascii():
                many[_LATIN] += len(piece) > 1
                continue
            for script, part in _parts("".join(_words(piece))):
                if script is not None:
                    (many if len(part) > 1 else single)[script] += 1
        return many, single


def _words(text: str) -> Iterator[str]:
    """Runs of letters, marks and digits, and signs one by one; each Han character is a word."""
    for kind, run in groupby(unicodedata.normalize("NFC", text), _kind):
        if kind == "word":
            yield "".join(run)
        elif kind == "alone":
            yield from run


@lru_cache(maxsize=65536)
def _kind(sign: str) -> str:
    if sign.isascii():
        return "word" if sign.isalnum() else "between"
    category = unicodedata.category(sign)
    if category[0] == "S":
        return "alone"
    if category[0] in "LMN":
        return "alone" if _script(sign) == _HAN else "word"
    return "between"


def _parts(word: str) -> Iterator[tuple[str | None, str]]:
    """A word by its scripts; marks and digits belong to the letters before them."""
    script: str | None = None
    scripts = [script := _script(sign) or script for sign in word]
    for name, pairs in groupby(zip(scripts, word, strict=True), lambda pair: pair[0]):
        yield name, "".join(sign for _, sign in pairs)


@lru_cache(maxsize=65536)
def _script(sign: str) -> str | None:
    """The script of a letter, such as Thai; None for what belongs to none, as digits and signs."""
    if unicodedata.category(sign)[0] not in "LMN":
        return None
    plain = unicodedata.normalize("NFKC", sign)[:1] or sign
    first = re.split(r"[ ]", unicodedata.name(plain, ""))[0]
    return None if not first or first in _NO_SCRIPT else _NAMES.get(first, first.capitalize())
