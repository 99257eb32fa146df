"""Methods `regression` and `ridge`: a head that is fitted in one go to vectors that stay."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import xlogy

from postsense.arrays import Array
from postsense.config import Config
from postsense.evaluation.metrics import headline_metrics
from postsense.inputs.batches import PostDataset
from postsense.progress import Progress, silent
from postsense.registry.table import load_object
from postsense.training.checkpoint import PhaseState
from postsense.training.comment_dropout import with_fresh_twins
from postsense.training.folds import folds_of
from postsense.training.labeled import TrainingData, new_model
from postsense.training.learners.learner import Learner, Lesson, folds_in
from postsense.training.trained import Trained
from postsense.training.unseen import Unseen
from postsense.training.vectors import lesson_of

FOLDS = 5


def train_on_vectors(
    data: TrainingData, config: Config, folder: Path, progress: Progress = silent
) -> Trained:
    """Fit the head to all posts of train, with the penalty of the settings or that of folds.

    Posts of val are not looked at.
    """
    fold = None
    if _penalty(config) is None:
        assert data.train.labels is not None and data.contents is not None
        fold = folds_of(data.train.labels, data.contents, FOLDS, config.seed)
    trained = fit_head(data, config, fold)
    progress("train", 1, 1)
    return trained


def fit_head(data: TrainingData, config: Config, fold: Array | None) -> Trained:
    """A model with its head fitted to all posts of train, and what folds said of them.

    The penalty that folds choose has the least mean loss on the posts that they leave out.

    fold: (n,) of each post of train; None: no fold is asked, and the settings name the penalty.
    """
    learner = _learner(config)
    asked = _with_points(config, learner, len(data.train))
    model = new_model(data, asked)
    posts = with_fresh_twins(data.train, config.comments.absence)
    lesson = lesson_of(model, posts, len(data.classes))
    given = _penalty(config)
    tried = learner.penalties if given is None else (given,)
    if fold is None:
        penalty, report, unseen = tried[0], dict[str, Any](), None
    else:
        answers = learner.answers(lesson, folds_in(_of_vectors(fold, data, posts)), tried)
        losses = {each: mean_loss(answers[each], lesson) for each in tried}
        penalty = _least_loss(losses)
        known = {str(each): loss for each, loss in losses.items() if np.isfinite(loss)}
        unseen = _unseen(answers[penalty], data.train)
        report = {"fold_losses": known, "folds": _measured(unseen, data.train)}
    learner.teach(model, lesson, penalty)
    report = {"penalty": penalty, **report}
    return Trained(model.eval(), PhaseState(), report, config=asked, unseen=unseen)


def _of_vectors(fold: Array, data: TrainingData, posts: PostDataset) -> Array:
    """The fold of each vector: posts that are shown again without comments stay in theirs."""
    place = np.zeros(int(data.train.rows.max()) + 1, dtype=np.int64)
    place[data.train.rows] = fold
    found: Array = place[posts.rows]
    return found


def _unseen(answers: Array, train: PostDataset) -> Unseen:
    """What was said of posts of train, which come first, before they were learned from."""
    probs = answers[: len(train)]
    known = np.isfinite(probs).all(axis=1)
    return Unseen(train.rows[known], probs[known])


def _measured(unseen: Unseen, train: PostDataset) -> dict[str, Any]:
    assert train.labels is not None
    labels = train.labels[np.isin(train.rows, unseen.rows)]
    return {"posts": len(labels), **headline_metrics(unseen.probs, labels)}


def _learner(config: Config) -> Learner:
    """What fits the head of the method."""
    declared = config.declared_method.learner
    assert declared is not None
    learner: Learner = load_object(declared)
    return learner


def mean_loss(probs: Array, lesson: Lesson) -> float:
    """Mean cross-entropy, in nats, of probabilities (N, K), by weights of posts; NaN of none."""
    losses = -xlogy(lesson.targets, np.clip(probs, 1e-4, 1)).sum(axis=1)
    asked = np.isfinite(losses)
    return (
        float(np.average(losses[asked], weights=lesson.weights[asked])) if asked.any() else np.nan
    )


def _least_loss(losses: Mapping[float, float]) -> float:
    """The penalty of the least loss; the largest where none is known."""
    return min(losses, key=lambda each: (np.nan_to_num(losses[each], nan=np.inf), -each))


def _penalty(config: Config) -> float | None:
    """The penalty that the settings name; None: folds choose it."""
    settings = config.ridge if config.declared_method.kernel else config.regression
    return settings.penalty


def _with_points(config: Config, learner: Learner, posts: int) -> Config:
    """The settings with as many points as the model will have."""
    points = learner.most_points(config, posts)
    if points is None:
        return config
    return config.model_copy(update={"ridge": config.ridge.model_copy(update={"points": points})})
