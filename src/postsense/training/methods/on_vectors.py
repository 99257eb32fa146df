"""Methods `regression` and `ridge`: a head that is fitted in one go to vectors that stay."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import xlogy

from postsense.arrays import Array
from postsense.config import Config
from postsense.inputs.batches import PostDataset
from postsense.progress import Progress, silent
from postsense.registry.table import load_object
from postsense.training.checkpoint import PhaseState
from postsense.training.comment_dropout import with_fresh_twins
from postsense.training.ensemble.pooling import headline
from postsense.training.folds import folds_of
from postsense.training.labeled import TrainingData, new_model
from postsense.training.learners.learner import Fold, Learner, Lesson
from postsense.training.trained import Trained
from postsense.training.unseen import Unseen
from postsense.training.vectors import lesson_of

FOLDS = 5


def train_on_vectors(
    data: TrainingData, config: Config, folder: Path, progress: Progress = silent
) -> Trained:
    """Fit the head to all posts of train, with the penalty of the settings or that of folds.

    The penalty that folds choose has the least mean loss on the posts that they leave out. Posts of
    val are not looked at.
    """
    learner = learner_of(config)
    asked = with_points(config, learner, len(data.train))
    model = new_model(data, asked)
    posts = with_fresh_twins(data.train, config.comments.absence)
    lesson = lesson_of(model, posts, len(data.classes))
    given = penalty_of(config)
    chosen = _Choice(given) if given is not None else _choose(learner, lesson, data, posts, config)
    learner.teach(model, lesson, chosen.penalty)
    progress("train", 1, 1)
    state, report = PhaseState(), {"penalty": chosen.penalty, **chosen.report}
    return Trained(model.eval(), state, report, config=asked, unseen=chosen.unseen)


@dataclass(frozen=True)
class _Choice:
    """A penalty, and what folds showed of it where they chose it."""

    penalty: float
    report: Mapping[str, Any] = field(default_factory=lambda: {"fold_losses": {}})
    unseen: Unseen | None = None


def _choose(
    learner: Learner, lesson: Lesson, data: TrainingData, posts: PostDataset, config: Config
) -> _Choice:
    """The penalty of the least loss on folds. posts: of the lesson, those of train come first."""
    train = data.train
    assert train.labels is not None and data.contents is not None
    fold = folds_of(train.labels, data.contents, FOLDS, config.seed)
    folds = folds_in(posts.rows, train.rows, fold)
    answers = learner.answers(lesson, folds, learner.penalties)
    losses = {each: mean_loss(answers[each], lesson) for each in learner.penalties}
    penalty = least_loss(losses)
    probs = answers[penalty][: len(train)]
    known = np.isfinite(probs).all(axis=1)
    unseen, labels = Unseen(train.rows[known], probs[known]), train.labels[known]
    report = {
        "fold_losses": {str(each): loss for each, loss in losses.items() if np.isfinite(loss)},
        "folds": {"posts": len(labels), **headline(unseen.probs, labels)},
    }
    return _Choice(penalty, report, unseen)


def learner_of(config: Config) -> Learner:
    """What fits the head of the method."""
    declared = config.declared_method.learner
    assert declared is not None
    learner: Learner = load_object(declared)
    return learner


def folds_in(rows: Array, posts: Array, fold: Array) -> list[Fold]:
    """The folds of a lesson whose vectors are of some posts, each once or more.

    rows: (N,) the post of each vector, of posts (P,), whose folds are given (P,).
    """
    place = np.zeros(int(posts.max()) + 1, dtype=np.int64)
    place[posts] = fold
    of_row = place[rows]
    found = [
        Fold(np.flatnonzero(of_row != each), np.flatnonzero(of_row == each))
        for each in np.unique(fold)
    ]
    return [each for each in found if len(each.learned)]


def mean_loss(probs: Array, lesson: Lesson) -> float:
    """Mean cross-entropy, in nats, of probabilities (N, K), by weights of posts; NaN of none."""
    losses = -xlogy(lesson.targets, np.clip(probs, 1e-4, 1)).sum(axis=1)
    asked = np.isfinite(losses)
    return (
        float(np.average(losses[asked], weights=lesson.weights[asked])) if asked.any() else np.nan
    )


def least_loss(losses: Mapping[float, float]) -> float:
    """The penalty of the least loss; the largest where none is known."""
    return min(losses, key=lambda each: (np.nan_to_num(losses[each], nan=np.inf), -each))


def penalty_of(config: Config) -> float | None:
    """The penalty that the settings name; None: folds choose it."""
    settings = config.ridge if config.declared_method.kernel else config.regression
    return settings.penalty


def with_points(config: Config, learner: Learner, posts: int) -> Config:
    """The settings with as many points as the model will have."""
    points = learner.most_points(config, posts)
    if points is None:
        return config
    return config.model_copy(update={"ridge": config.ridge.model_copy(update={"points": points})})
