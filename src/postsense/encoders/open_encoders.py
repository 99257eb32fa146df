"""Encoders, tokenizers and picture policies by their settings, each opened once."""

from collections.abc import Callable, Hashable
from typing import Literal, TypeVar

import torch

from postsense.config import EncoderSettings
from postsense.data.images import PicturePolicy
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.encoders.open_stores import OpenStores
from postsense.encoders.pretrained import text_checkpoint
from postsense.encoders.processors import Tokenizer, chosen_policy, load_tokenizer

Opened = TypeVar("Opened")


class OpenEncoders:
    """What reads texts and pictures, opened when it is first asked for and kept.

    stores: where features of frozen encoders are kept; None: on disk, opened for each use. A
    checkpoint that changes on disk is read as it was when it was opened.
    """

    def __init__(self, stores: OpenStores | None = None) -> None:
        self.stores = stores
        self._opened: dict[Hashable, object] = {}

    def text(self, settings: EncoderSettings, device: torch.device) -> FrozenTextEncoder:
        """The frozen encoder of texts. Raises: EncoderError: it cannot be found."""
        return self._once(
            (_place(settings), settings.text, device),
            lambda: FrozenTextEncoder(settings, device, self.stores),
        )

    def image(
        self,
        settings: EncoderSettings,
        device: torch.device,
        truncated: Literal["refuse", "use"] = "refuse",
    ) -> FrozenImageEncoder:
        """The frozen encoder of pictures. Raises: EncoderError: it cannot be found."""
        return self._once(
            (_place(settings), settings.image, device, truncated),
            lambda: FrozenImageEncoder(settings, device, truncated, self.stores),
        )

    def tokenizer(self, settings: EncoderSettings) -> Tokenizer:
        """The tokenizer of the encoder of texts. Raises: EncoderError."""
        return self._once(
            (_place(settings), settings.text, "tokenizer"),
            lambda: load_tokenizer(text_checkpoint(settings), settings.text.max_length),
        )

    def policy(self, settings: EncoderSettings) -> PicturePolicy:
        """How pictures become pixels for the encoder of pictures. Raises: EncoderError."""
        return self._once(
            (_place(settings), settings.image, "policy"), lambda: chosen_policy(settings)
        )

    def close(self) -> None:
        """Let go of everything; what is asked for next is opened again."""
        self._opened.clear()
        if self.stores is not None:
            self.stores.close()

    def _once(self, key: Hashable, opened: Callable[[], Opened]) -> Opened:
        if key not in self._opened:
            self._opened[key] = opened()
        found: Opened = self._opened[key]  # type: ignore[assignment]
        return found


def _place(settings: EncoderSettings) -> Hashable:
    """Where checkpoints come from and where features are kept."""
    return settings.cache_folder, settings.allow_download
