"""The kinds of encoders: what reads words, and where features of pictures come from."""

from dataclasses import dataclass

from postsense.registry.table import Registry


@dataclass(frozen=True)
class WordNetwork:
    """What reads the words of a text encoder: `encoders.text.network`.

    pretrained: it comes trained, so that it may stay frozen, and the tokens of several of its
    layers can be read; else it is a new network over the word embeddings of a checkpoint.
    """

    name: str
    title: str
    pretrained: bool


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
        WordNetwork("transformer", "the checkpoint as it is", pretrained=True),
        WordNetwork("bilstm", "a new BiLSTM over its word embeddings", pretrained=False),
        WordNetwork("cnn", "a new CNN over its word embeddings", pretrained=False),
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
