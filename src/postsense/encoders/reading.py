"""What people wrote → what a tokenizer is given, so that no sign is lost on it."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

from postsense.config import TextEncoderSettings
from postsense.data.symbols import Symbol, symbols_of
from postsense.data.text import normalize_text
from postsense.encoders.vocabulary import Vocabulary, lacks

MOST_IN_A_ROW = 3  # of one thing, as tweets are cut: who laughs ten times leaves room for words


class TextReader:
    """Spells texts as the settings say; a symbol that the vocabulary has stays as it is.

    vocabulary: opens that of the tokenizer, once the first symbol is met.
    """

    def __init__(self, settings: TextEncoderSettings, vocabulary: Callable[[], Vocabulary]) -> None:
        self.settings, self._vocabulary = settings, vocabulary
        self._lacking = dict[str, bool]()

    def __call__(self, texts: Sequence[str | None]) -> list[str]:
        """Each text as the tokenizer is to read it, "" where there is none."""
        spelled = (self._spell(text) if text else "" for text in texts)
        return [f"{self.settings.prefix}{text}" if text else "" for text in spelled]

    def _spell(self, text: str) -> str:
        text = normalize_text(text, self.settings.normalize)
        symbols = symbols_of(text) if self.settings.unknown == "words" else []
        parts, start = list[str](), 0
        for symbol, words in zip(symbols, self._chosen(text, symbols), strict=True):
            parts += [text[start : symbol.start], words or text[symbol.start : symbol.end]]
            start = symbol.end
        return "".join([*parts, text[start:]])

    def _chosen(self, text: str, symbols: Sequence[Symbol]) -> list[str | None]:
        """What is written in the place of each symbol; None: it stays.

        In a word of which one disguised letter is unknown, all disguised ones are read.
        """
        word = _word_numbers(text, symbols)
        disguised = {
            number
            for symbol, number in zip(symbols, word, strict=True)
            if symbol.letters and self._lacks(symbol.raw)
        }
        chosen, in_a_row = list[str | None](), 0
        for place, (symbol, number) in enumerate(zip(symbols, word, strict=True)):
            in_a_row = in_a_row + 1 if place and _follows(text, symbols[place - 1], symbol) else 1
            if symbol.letters:
                chosen.append(self._letters(symbol) if number in disguised else None)
            elif self._lacks(symbol.raw):
                chosen.append(self._named(symbol) if in_a_row <= MOST_IN_A_ROW else " ")
            else:
                apart = self._lacks(f"a{symbol.raw}") and not self._lacks("a")
                chosen.append(f" {symbol.raw} " if apart else None)  # unknown as the end of a word
        return chosen

    def _letters(self, symbol: Symbol) -> str | None:
        """The first plain spelling that the vocabulary has, else the symbol's name."""
        known = (letters for letters in symbol.letters if not self._lacks(letters))
        return next(known, self._named(symbol))

    def _named(self, symbol: Symbol) -> str | None:
        """The name between colons, if the vocabulary has any word of it."""
        some = any(not self._lacks(word) for word in symbol.name.split())
        return f" : {symbol.name} : " if some else None

    def _lacks(self, written: str) -> bool:
        if written not in self._lacking:
            self._lacking[written] = lacks(self._vocabulary(), written)
        return self._lacking[written]


def _word_numbers(text: str, symbols: Sequence[Symbol]) -> list[int]:
    """Which word of the text each symbol is in, a word being what has no white space inside."""
    if not symbols:
        return []
    starts = [word.start() for word in re.finditer(r"\S+", text)]
    return [bisect_right(starts, symbol.start) for symbol in symbols]


def _follows(text: str, before: Symbol, symbol: Symbol) -> bool:
    """Whether the symbol repeats the one before it, with nothing but white space between."""
    return before.raw == symbol.raw and not text[before.end : symbol.start].strip()
