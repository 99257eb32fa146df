"""A member and labelled posts → the member trained on all, and what it says of posts unseen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from postsense.arrays import Array
from postsense.config import Config
from postsense.data.splitting import Splits
from postsense.evaluation.looking_back import seen_posts
from postsense.files.tensors import save_tensors
from postsense.inputs.preparation import PreparedPosts
from postsense.inputs.readings import read_as
from postsense.parallel.processes import is_main
from postsense.prediction.classifier import Classifier
from postsense.prediction.inference import softmax
from postsense.training.labeled import TrainingData
from postsense.training.methods.on_vectors import fit_head

TrainOn = Callable[[Splits, PreparedPosts, Config, Path], Classifier]
_HELD_OUT = 0.1  # of what is learned from, to select epochs by where there are no val rows


@dataclass(frozen=True)
class Answered:
    """A trained member. probs: (P, K) of the posts of train, unseen; NaN where it was not asked.

    classifiers: the seeds of it, one unless it is a run.
    """

    classifiers: tuple[Classifier, ...]
    probs: Array
    report: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What every member is taught. rows: (P,) of train; fold: (P,) of each; labels: (P,)."""

    splits: Splits
    prepared: PreparedPosts
    rows: Array
    labels: Array
    fold: Array

    @property
    def val(self) -> Array:
        """Positions of the posts of val."""
        return np.intersect1d(self.splits.val, self.prepared.usable)

    @property
    def prior(self) -> Array:
        """(K,) shares of the classes in train."""
        return np.bincount(self.labels, minlength=len(self.splits.classes)) / len(self.labels)


def teach_on_vectors(task: Task, config: Config) -> Answered:
    """A member whose method fits a head in one go; its penalty has the least loss on folds."""
    classes, prepared = task.splits.classes, read_as(task.prepared, config)
    train, nothing = (prepared.dataset(rows, classes) for rows in (task.rows, task.rows[:0]))
    trained = fit_head(TrainingData(train, nothing, classes), config, task.fold)
    assert trained.config is not None and trained.unseen is not None
    probs = np.full((len(task.rows), len(classes)), np.nan)
    probs[np.isin(task.rows, trained.unseen.rows)] = trained.unseen.probs
    kind = task.splits.posts.label_kind
    classifier = Classifier(trained.config, classes, trained.model, kind)
    return Answered((classifier,), probs, {"penalty": trained.report["penalty"]})


def teach_in_steps(task: Task, config: Config, folder: Path, train_on: TrainOn) -> Answered:
    """A member that goes through the posts again and again: once for each fold, once for all.

    One whose encoder trains answers the first fold alone, as each takes as long as all the rest.
    folder: where the answers and checkpoints are kept until all is done.
    """
    splits, classes = task.splits, len(task.splits.classes)
    probs = np.full((len(task.rows), classes), np.nan)
    prepared = read_as(task.prepared, config)
    asked = np.unique(task.fold)[: 1 if config.trains_encoder else None]
    for each in asked if len(np.unique(task.fold)) > 1 else ():
        held = task.fold == each
        probs[held] = _answer_fold(task, config, folder / f"fold-{each}", train_on, held)
    whole = replace(splits, train=task.rows, test=splits.test[:0])
    classifier = train_on(_with_val(whole, task, config), prepared, config, folder / "all")
    return Answered((classifier,), probs, {})


def answer_unseen(task: Task, classifiers: tuple[Classifier, ...]) -> Answered:
    """A member that is trained already, and what it says of posts that it has not learned from.

    Of one that does not know what it has seen, all posts are taken for seen.
    """
    prepared = read_as(task.prepared, classifiers[0].config)
    probs = np.full((len(task.rows), len(task.splits.classes)), np.nan)
    seen = seen_posts(classifiers, prepared.content_keys[task.rows])
    new = np.zeros(len(task.rows), dtype=bool) if seen is None else ~seen.trained
    if new.any():
        each = [softmax(one.outputs(prepared, task.rows[new]).logits) for one in classifiers]
        probs[new] = np.mean(each, axis=0)
    return Answered(classifiers, probs, {"seen": int((~new).sum())})


def _answer_fold(task: Task, config: Config, folder: Path, train_on: TrainOn, held: Array) -> Array:
    """Probabilities of the posts of a fold by a member that has not seen them."""
    kept = folder / "answers.safetensors"
    if kept.is_file():
        answers: Array = load_file(kept)["probs"].numpy()
        return answers
    prepared = read_as(task.prepared, config)
    part = replace(task.splits, train=task.rows[~held], test=task.splits.test[:0])
    classifier = train_on(_with_val(part, task, config), prepared, config, folder)
    found = softmax(classifier.outputs(prepared, task.rows[held]).logits)
    if is_main():
        save_tensors(kept, {"probs": torch.from_numpy(found)})
    return found


def _with_val(splits: Splits, task: Task, config: Config) -> Splits:
    """The splits with posts to select epochs by: those of val, else a tenth of train."""
    if len(splits.val):
        return splits
    generator = np.random.default_rng([config.seed, len(splits.train)])
    labels = dict(zip(task.rows.tolist(), task.labels.tolist(), strict=True))
    of_class = np.array([labels[row] for row in splits.train.tolist()])
    chosen: list[int] = []
    for number in np.unique(of_class):
        rows = generator.permutation(splits.train[of_class == number])
        chosen += rows[: int(_HELD_OUT * len(rows))].tolist()
    val = np.array(sorted(chosen), dtype=splits.train.dtype)
    return replace(splits, train=np.setdiff1d(splits.train, val), val=val)
