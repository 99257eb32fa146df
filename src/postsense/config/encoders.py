"""Settings of the encoders of words and pictures."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from postsense.config.section import (
    AFTER_TRAINING,
    OF_MACHINE,
    SAME_RESULT,
    NameIn,
    ReadWhere,
    Section,
)
from postsense.registry.encoders import (
    WORD_NETWORKS,
    ImageEncoderKind,
    WordNetwork,
    image_encoder_kind,
)

Pooling = Literal["mean", "max", "cls"]
Fidelity = Literal["corrected", "released"]
Precision = Literal["fp32", "bf16", "auto"]

_FIDELITY = (
    "'released': a frozen encoder runs at every step in training mode, its dropout on and its"
    " batch statistics moving, as in the code of SPP-SCL"
)
_PRECISION = (
    "numbers that a frozen encoder computes in; 'auto': bf16 for transformers that are not built"
    " in, where the processor or GPU has it"
)


_WORDS = ReadWhere("a fusion that reads words", lambda config: config.reads_words, ("fusion.name",))
_PICTURES = ReadWhere(
    "a fusion that reads pictures", lambda config: config.reads_picture, ("fusion.name",)
)
_TEXT_VECTOR = ReadWhere(
    "a fusion, comments or clusters that read one vector of a text",
    lambda config: config.reads_text_vector,
    ("fusion.name",),
)
_IMAGE_VECTOR = ReadWhere(
    "a fusion, a loss, comments or clusters that read one vector of a picture",
    lambda config: config.reads_image_vector,
    ("fusion.name", "encoders.image.name"),
)
_PICTURE_FILES = ReadWhere(
    "an encoder of picture files",
    lambda config: not config.reads_regions,
    ("encoders.image.name",),
)
_FROZEN_WORDS = ReadWhere(
    "a frozen encoder of words",
    lambda config: not config.encoders.text.runs_inside,
    ("encoders.text.trainable", "encoders.text.fidelity"),
)
_FROZEN_PICTURES = ReadWhere(
    "a frozen encoder of picture files",
    lambda config: not (config.encoders.image.runs_inside or config.reads_regions),
    ("encoders.image.trainable", "encoders.image.fidelity", "encoders.image.name"),
)
_CHECKPOINT = ReadWhere(
    "an encoder that is not built in",
    lambda config: config.encoders.image.name not in ("builtin", "regions"),
    ("encoders.image.name",),
)


class TextEncoderSettings(Section):
    name: str = Field(
        "builtin",
        description="'builtin' (MiniLM), Hugging Face name or local folder",
        json_schema_extra=AFTER_TRAINING,
    )
    pooling: Annotated[Pooling, _TEXT_VECTOR] = Field(
        "mean", description="how token states become one vector"
    )
    layers: int | None = Field(None, ge=1, description="transformer layers kept; none: all")
    max_length: int = Field(64, ge=4, description="tokens kept of a text, special tokens included")
    normalize: Literal["raw", "tweet"] = Field(
        "raw", description="'tweet': @USER, HTTPURL and :emoji_name:"
    )
    unknown: Literal["words", "keep"] = Field(
        "words",
        description="emojis and signs that the vocabulary lacks; 'words': their names are read",
    )
    prefix: str = Field(
        "",
        max_length=200,
        description="written before every text, as E5 wants 'query: ' with its space",
    )
    precision: Annotated[Precision, _FROZEN_WORDS] = Field("fp32", description=_PRECISION)
    network: Annotated[str, NameIn(WORD_NETWORKS)] = Field(
        "transformer",
        description="what reads the words: the checkpoint, or a new net over its word embeddings",
    )
    trainable: bool = Field(False, description="train the encoder; frozen ones are encoded once")
    frozen_layers: int = Field(
        0, ge=0, description="first layers, and what is below them, that do not train; 0: all train"
    )
    read_layers: int = Field(
        1,
        ge=1,
        description="last layers whose tokens 'cross_modal' reads, 4 if unset; others read 1",
    )
    fidelity: Fidelity = Field("corrected", description=_FIDELITY)

    @property
    def runs_inside(self) -> bool:
        """Whether the encoder runs in the model at every step, rather than once before."""
        return self.trainable or self.fidelity == "released"

    @property
    def declared(self) -> WordNetwork:
        """What the network of this name says of itself."""
        return WORD_NETWORKS[self.network]


class ImageEncoderSettings(Section):
    name: str = Field(
        "builtin",
        description="'builtin' (EfficientNet-Lite0), Hugging Face name, local folder, or 'regions':"
        " the features that the table's column names",
        json_schema_extra=AFTER_TRAINING,
    )
    pooling: Annotated[Pooling, _IMAGE_VECTOR] = Field(
        "mean", description="how picture regions become one vector"
    )
    pixels: Annotated[Literal["checkpoint", "quick"], _CHECKPOINT] = Field(
        "checkpoint",
        description="'quick': prepared by steps of our own even where the checkpoint's differ",
    )
    precision: Annotated[Precision, _FROZEN_PICTURES] = Field("fp32", description=_PRECISION)
    layers: Annotated[int | None, _PICTURE_FILES] = Field(
        None, ge=1, description="transformer layers kept; none: all"
    )
    trainable: bool = Field(False, description="train the encoder; frozen ones are encoded once")
    frozen_layers: int = Field(
        0, ge=0, description="first layers, and what is below them, that do not train; 0: all train"
    )
    fidelity: Fidelity = Field("corrected", description=_FIDELITY)

    @property
    def runs_inside(self) -> bool:
        """Whether the encoder runs in the model at every step, rather than once before."""
        return self.trainable or self.fidelity == "released"

    @property
    def declared(self) -> ImageEncoderKind:
        """What encoders of this kind say of themselves."""
        return image_encoder_kind(self.name)


class EncoderSettings(Section):
    text: Annotated[TextEncoderSettings, _WORDS] = TextEncoderSettings()
    image: Annotated[ImageEncoderSettings, _PICTURES] = ImageEncoderSettings()
    projection: int | None = Field(
        None,
        ge=1,
        description="width of a trained layer over each modality; none: no such layer,"
        " but with ITC over frozen encoders one of losses.itc_width",
    )
    allow_download: bool = Field(
        False,
        description="let a Hugging Face name be fetched from the hub over the network",
        json_schema_extra=OF_MACHINE | SAME_RESULT,
    )
    cache: Path | None = Field(
        None,
        description="folder of kept features; none: $POSTSENSE_CACHE or ~/.cache/postsense",
        json_schema_extra=OF_MACHINE | SAME_RESULT,
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads that encode; 0: all cores",
        json_schema_extra=OF_MACHINE | SAME_RESULT,
    )

    @property
    def cache_folder(self) -> Path:
        """Where features, exported encoders and pictures out of tables are kept."""
        if self.cache is not None:
            return self.cache.expanduser()
        chosen = os.environ.get("POSTSENSE_CACHE")
        return Path(chosen) if chosen else Path.home() / ".cache" / "postsense"
