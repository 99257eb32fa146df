"""The methods by name: splits of posts → a trained classifier."""

from pathlib import Path

import numpy as np

from postsense.classifier import Classifier
from postsense.config import Config
from postsense.data.splitting import Splits
from postsense.inputs import PreparedPosts
from postsense.progress import Progress, silent
from postsense.training.checkpoint import PhaseState
from postsense.training.supervised import TrainingData, train_supervised

METHODS = {"supervised": train_supervised}


def fit_classifier(
    splits: Splits,
    prepared: PreparedPosts,
    config: Config,
    folder: Path,
    progress: Progress = silent,
) -> tuple[Classifier, PhaseState]:
    """Train with config.method from config.seed. folder: where checkpoints are kept."""
    train, val = (np.intersect1d(rows, prepared.usable) for rows in (splits.train, splits.val))
    data = TrainingData(
        train=prepared.dataset(train, splits.classes),
        val=prepared.dataset(val, splits.classes),
        classes=splits.classes,
    )
    model, state = METHODS[config.method](data, config, folder, progress)
    return Classifier(config, splits.classes, model), state
