"""Names of frozen networks: all of a checkpoint and its settings that decides what they compute."""

from pathlib import Path

from postsense.config.encoders import ImageEncoderSettings, Precision, TextEncoderSettings
from postsense.encoders import builtin
from postsense.encoders.pretrained import (
    BUILTIN,
    fills_positions,
    fingerprint_folder,
    hides_patches,
    pools_with_head,
    read_settings,
)


def text_network(settings: TextEncoderSettings, folder: Path) -> str:
    """The name of a network that reads texts, by weights, layers and precision.

    What there was no choice of at first is named only where it differs from what it was then, so
    that what was kept of before is found.
    """
    own = settings.name != BUILTIN
    weights = fingerprint_folder(folder) if own else builtin.TEXT_SHA256[:32]
    read = settings.read_layers
    several = f"-read{read}" if read > 1 else ""
    filled = "-filled" if own and fills_positions(_model_type(folder)) else ""
    more = f"{several}{filled}{_suffix(settings.precision)}"
    return f"text-{weights}-{settings.layers or 'all'}{more}"


def image_network(settings: ImageEncoderSettings, folder: Path | None) -> str:
    """The name of a network that reads pictures, likewise. folder: None of the built-in one."""
    weights = builtin.IMAGE_SHA256[:32] if folder is None else fingerprint_folder(folder)
    whole = "-whole" if folder is not None and hides_patches(folder) else ""
    headed = folder is not None and settings.pooling == "cls" and pools_with_head(folder)
    more = f"{whole}{'-head' if headed else ''}{_suffix(settings.precision)}"
    return f"image-{weights}-{settings.layers or 'all'}{more}"


def _model_type(folder: Path) -> str:
    return str(read_settings(folder / "config.json").get("model_type"))


def _suffix(precision: Precision) -> str:
    return "" if precision == "fp32" else f"-{precision}"
