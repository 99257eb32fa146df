"""The kinds of encoders: what reads words, and where features of pictures come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from postsense.registry.table import Registry


@dataclass(frozen=True)
class WordNetwork:
    """What reads the words of a text encoder: `encoders.text.network`.

    build: "module:class" of a new network, made of the word embeddings of a checkpoint; None: the
    checkpoint itself, which comes trained, may stay frozen and has layers whose tokens can be read.
    """

    name: str
    title: str
    build: str | Callable[..., Any] | None = None

    @property
    def pretrained(self) -> bool:
        """Whether it comes trained."""
        return self.build is None


@dataclass(frozen=True)
class ImageEncoderKind:
    """Where features of pictures come from, by `encoders.image.name`.

    column: of the table, which holds what is read. trains: an encoder that may train or run inside
    the model; else features are kept as they are. in_corpus: posts of a corpus have them too.
    """

    name: str
    title: str
    column: str = "image"
    trains: bool = True
    in_corpus: bool = True


WORD_NETWORKS = Registry(
    "network",
    [
        WordNetwork("transformer", "the checkpoint as it is"),
        WordNetwork(
            "bilstm",
            "a new BiLSTM over its word embeddings",
            "postsense.encoders.word_networks:BilstmNetwork",
        ),
        WordNetwork(
            "cnn",
            "a new CNN over its word embeddings",
            "postsense.encoders.word_networks:CnnNetwork",
        ),
    ],
)
IMAGE_ENCODERS = Registry(
    "image encoder",
    [
        ImageEncoderKind("builtin", "EfficientNet-Lite0, which ships with postsense"),
        ImageEncoderKind(
            "regions",
            "features of a detector, in files that the table names",
            column="regions",
            trains=False,
            in_corpus=False,
        ),
        ImageEncoderKind("checkpoint", "a Hugging Face name or a local folder"),
    ],
)


def image_encoder_kind(name: str) -> ImageEncoderKind:
    """The kind of encoder that `encoders.image.name` names."""
    return IMAGE_ENCODERS[name if name in IMAGE_ENCODERS else "checkpoint"]
