"""Method `supervised`: cross-entropy on labelled posts, one phase."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from postsense.batches import PostDataset
from postsense.build import build_model, load_encoders
from postsense.config import Config
from postsense.encoders.features import FeatureColumn, statistics
from postsense.errors import DataError
from postsense.losses.classification import balanced_class_weights
from postsense.losses.total import Weighted, classification_term
from postsense.model import Branch, PostModel
from postsense.progress import Progress, silent
from postsense.retrieval.borrowing import Pairs
from postsense.training.loop import Phase, run_phase
from postsense.training.trained import Trained

STATISTICS_POSTS = 20_000  # posts that feature statistics are taken from, at most
TOKEN_STATISTICS_POSTS = 500  # the same for tokens: 49 regions of a post are many


@dataclass(frozen=True)
class TrainingData:
    """Labelled posts to train on, to select by (may be empty), and the K class names.

    pairs: posts that were retrieved for those of train. ids: of all posts, by their position.
    """

    train: PostDataset
    val: PostDataset
    classes: tuple[str, ...]
    pairs: Pairs | None = None
    ids: list[str] = field(default_factory=list)


def train_supervised(
    data: TrainingData, config: Config, folder: Path, progress: Progress = silent
) -> Trained:
    """Train one classifier from one seed; checkpoints go to folder."""
    model = new_model(data, config)
    phase = Phase(
        name="train",
        terms=loss_terms(data, config),
        train=data.train,
        val=data.val,
        settings=config.training,
        seed=config.seed,
    )
    return Trained(model, run_phase(phase, model, folder, progress))


def new_model(data: TrainingData, config: Config) -> PostModel:
    """A model with fresh weights from the seed, its branches scaled to the training posts.

    Raises: DataError: no training post has a modality that the fusion reads.
    """
    torch.manual_seed(config.seed)
    text, image = data.train.columns.text, data.train.columns.image
    encoders = load_encoders(config, _width(text), _width(image))
    model = build_model(config, encoders, len(data.classes))
    _standardize(model.text, text, data.train.rows, "a text")
    _standardize(model.image, image, data.train.rows, "a picture")
    return model


def loss_terms(data: TrainingData, config: Config) -> Mapping[str, Weighted]:
    """The objective by name. Class weights come from the labels of train."""
    weights = None
    if config.losses.class_weights == "balanced" and data.train.labels is not None:
        weights = balanced_class_weights(torch.from_numpy(data.train.labels), len(data.classes))
    return {"classification": classification_term(config.losses, weights)}


def _width(column: object) -> int | None:
    return column.store.dim if isinstance(column, FeatureColumn) else None


def _standardize(branch: Branch | None, column: object, rows: "np.ndarray", modality: str) -> None:
    if branch is None or not isinstance(column, FeatureColumn):
        return
    stored = column.rows[rows]
    stored = stored[stored >= 0][:STATISTICS_POSTS]
    if not len(stored):
        raise DataError(
            "train",
            f"posts with {modality}",
            "none",
            "Add some, or choose --preset text-only or image-only.",
        )
    branch.standardize_with(*statistics(torch.from_numpy(column.store.pooled(stored))))
    if column.store.with_tokens:
        tokens, mask = column.store.tokens(stored[:TOKEN_STATISTICS_POSTS])
        branch.standardize_tokens_with(*statistics(torch.from_numpy(tokens[mask])))
