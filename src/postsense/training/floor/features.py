"""Prepared posts → the features of frozen encoders that simple models learn from."""

import logging
from typing import Any

import numpy as np
import torch

from postsense.arrays import Array
from postsense.config import Config, EncoderSettings, ImageEncoderSettings, TextEncoderSettings
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.features import FeatureColumn, statistics
from postsense.encoders.open_encoders import OpenEncoders
from postsense.errors import EncoderError
from postsense.inputs.columns import Preparation
from postsense.inputs.preparation import PreparedPosts
from postsense.parallel.device import pick_device
from postsense.progress import Progress, silent
from postsense.training.labeled import STATISTICS_POSTS

logger = logging.getLogger(__name__)
FROZEN = {"trainable": False, "frozen_layers": 0, "fidelity": "corrected"}


def simple_features(
    prepared: PreparedPosts,
    config: Config,
    rows: Array,
    learned: int,
    progress: Progress = silent,
) -> dict[str, Array]:
    """By modality that the settings read, standardised features (N, D) float32 of rows (N,).

    They are those that the posts are prepared with. Where an encoder runs inside the model it is
    frozen as it was before training, and the built-in one comes for what has no vector by itself: a
    joint model, or a new network over words. Features of regions are left out, as is what none of
    the first `learned` rows has, whose mean and deviation are taken. Zeros for a post that lacks
    the modality.
    """
    found = dict[str, Array]()
    for name in ("text", "image"):
        if name not in config.inputs or (name == "image" and config.reads_regions):
            continue
        column = prepared.columns.get(name)
        if isinstance(column, FeatureColumn):
            column = column.take(rows)
        else:
            column = _encode(name, prepared, config, rows, progress)
        if column is not None and (column.rows[:learned] >= 0).any():
            found[name] = _standardised(column, learned)
    return found


def _standardised(column: FeatureColumn, learned: int) -> Array:
    vectors, present = torch.from_numpy(column.store.pooled(column.rows)), column.rows >= 0
    known = np.flatnonzero(present[:learned])[:STATISTICS_POSTS]
    mean, deviation = statistics(vectors[known])
    vectors.sub_(mean).div_(deviation)
    vectors[~present] = 0
    features: Array = vectors.numpy()
    return features


def _encode(
    name: str, prepared: PreparedPosts, config: Config, rows: Array, progress: Progress
) -> FeatureColumn | None:
    """The features of some posts by an encoder that is frozen for them; None: it gives none."""
    posts, settings = prepared.posts.take(rows.tolist()), frozen_encoders(config)
    preparation = Preparation(posts, config, OpenEncoders(), progress)
    device, threads = pick_device(config.training), preparation.threads
    how: Any = {"with_tokens": False, "threads": threads, "progress": progress}
    try:
        if name == "text":
            return encode_texts(posts, preparation.encoders.text(settings, device), **how)
        encoder = preparation.encoders.image(settings, device, config.data.truncated)
        return encode_pictures(posts, encoder, **how)[0]
    except EncoderError as error:
        logger.warning("no simple answer from the %s alone: %s", name, error)
        return None


def frozen_encoders(config: Config) -> EncoderSettings:
    """The settings of encoders that give a vector of words, or of a picture, by themselves."""
    encoders, joint = config.encoders, config.fusion.declared.encodes
    text, image = TextEncoderSettings(), ImageEncoderSettings()
    if "text" not in joint and encoders.text.declared.pretrained:
        text = encoders.text.model_copy(update={**FROZEN, "read_layers": 1})
    if "image" not in joint:
        image = encoders.image.model_copy(update=FROZEN)
    return encoders.model_copy(update={"text": text, "image": image})
