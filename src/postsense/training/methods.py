"""The methods by name: splits of posts → a trained classifier."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from postsense.classifier import Classifier
from postsense.config import Config
from postsense.data.splitting import Splits, thin_train
from postsense.errors import ConfigError
from postsense.inputs import PreparedPosts, prepare_posts, reads_pairs
from postsense.progress import Progress, silent
from postsense.retrieval.borrowing import borrow_for_training
from postsense.training.self_training import train_self_training
from postsense.training.supervised import TrainingData, train_supervised
from postsense.training.trained import Trained

METHODS = {"supervised": train_supervised, "self_training": train_self_training}


@dataclass(frozen=True)
class Fitted:
    """A classifier and how it was trained."""

    classifier: Classifier
    trained: Trained


def prepare_splits(splits: Splits, config: Config, progress: Progress = silent) -> PreparedPosts:
    """Borrow from the corpus, if the settings name one, and encode posts, comments and the rest.

    Raises: ConfigError: self-training without a corpus. DataError, CorpusError: too many bad rows,
        or a corpus that cannot be used.
    """
    if config.method == "self_training" and config.retrieval.corpus is None:
        fix = "Name one with --corpus; build it with 'postsense corpus build TABLE --out CORPUS'."
        raise ConfigError("retrieval.corpus", "a corpus to learn from", "none", fix)
    held_out = np.concatenate([splits.val, splits.test])
    borrowed = borrow_for_training(splits.posts, splits.train, held_out, config, progress)
    return prepare_posts(splits.posts, config, progress, borrowed)


def fit_classifier(
    splits: Splits,
    prepared: PreparedPosts,
    config: Config,
    folder: Path,
    progress: Progress = silent,
) -> Fitted:
    """Train with config.method from config.seed. folder: where checkpoints are kept."""
    splits = thin_train(splits, config.data.train_fraction, config.seed)
    train, val = (np.intersect1d(rows, prepared.usable) for rows in (splits.train, splits.val))
    borrowed, pairs = prepared.borrowed, None
    if borrowed is not None and borrowed.pairs is not None:
        pairs = borrowed.pairs.among(train, prepared.usable)
    data = TrainingData(
        train=prepared.dataset(train, splits.classes, with_contents=reads_pairs(config)),
        val=prepared.dataset(val, splits.classes),
        classes=splits.classes,
        pairs=pairs,
        ids=prepared.posts.column("id"),
    )
    trained = METHODS[config.method](data, config, folder, progress)
    if borrowed is not None:  # new posts must be compared with the corpus as these were
        assert config.retrieval.corpus is not None
        known = {"alpha": borrowed.alpha, "corpus": config.retrieval.corpus.resolve()}
        retrieval = config.retrieval.model_copy(update=known)
        config = config.model_copy(update={"retrieval": retrieval})
    return Fitted(Classifier(config, splits.classes, trained.model), trained)
