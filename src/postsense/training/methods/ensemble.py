"""Method `ensemble`: members answer posts they have not seen; these weigh and shift the mean."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from postsense.arrays import Array
from postsense.config import Config
from postsense.config.members import member_configs
from postsense.data.seen import Seen
from postsense.data.splitting import Splits
from postsense.errors import RunError
from postsense.inputs.preparation import PreparedPosts
from postsense.prediction.ensemble import Ensemble, Member
from postsense.prediction.inference import softmax
from postsense.progress import Progress
from postsense.registry.efforts import EFFORTS
from postsense.training.ensemble.answers import (
    Answered,
    Task,
    TrainOn,
    answer_unseen,
    teach_in_steps,
    teach_on_vectors,
)
from postsense.training.ensemble.pooling import choose_pool, choose_weights, headline
from postsense.training.ensemble.resolving import Runs, configs_of
from postsense.training.fitted import Fitted
from postsense.training.folds import folds_of
from postsense.training.unseen import Unseen

LEAST_POSTS = 20  # that members are weighed by


def train_ensemble(
    splits: Splits,
    prepared: PreparedPosts,
    config: Config,
    folder: Path,
    progress: Progress,
    train_on: TrainOn,
    runs: Runs,
) -> Fitted:
    """Train every member on folds of train and on all of it; weigh them by what the folds showed.

    train_on: trains one classifier on the train rows of some splits. runs: members that are trained
    already, by name. They answer the posts that they have not seen, and members are weighed by
    those that all have answered.
    Raises: RunError: that is none, or too few.
    """
    if config.ensemble.learn_from_val:
        learned = np.union1d(splits.train, splits.val)
        splits = replace(splits, train=learned, val=splits.val[:0])
    task = _task(splits, prepared, config)
    configs = member_configs(config, configs_of(runs))
    answered: dict[str, Answered] = {}
    with threadpool_limits(1, user_api="blas"):  # folds take turns on the cores
        for number, (name, member) in enumerate(configs.items()):
            if name in runs:
                answered[name] = answer_unseen(task, runs[name])
            else:
                answered[name] = _teach(task, member, folder / name, train_on)
            progress("members", number + 1, len(configs))
    return _weigh(task, config, answered, runs)


def _teach(task: Task, config: Config, folder: Path, train_on: TrainOn) -> Answered:
    if config.declared_method.learner is not None:
        return teach_on_vectors(task, config)
    return teach_in_steps(task, config, folder, train_on)


def _task(splits: Splits, prepared: PreparedPosts, config: Config) -> Task:
    rows = np.intersect1d(splits.train, prepared.usable)
    labels = _labels(splits, prepared, rows)
    fold = folds_of(labels, prepared.contents[rows], config.ensemble.folds, config.seed)
    return Task(splits, prepared, rows, labels, fold)


def _labels(splits: Splits, prepared: PreparedPosts, rows: Array) -> Array:
    labels: Array = prepared.dataset(rows, splits.classes).labels  # type: ignore[assignment]
    return labels


def _weigh(task: Task, config: Config, answered: dict[str, Answered], runs: Runs) -> Fitted:
    """The ensemble, of members that have a weight, and what is reported."""
    splits, prepared = task.splits, task.prepared
    members = [Member(name, one.classifiers) for name, one in answered.items()]
    probs = np.stack([one.probs for one in answered.values()])  # (M, P, K)
    labels, fold = task.labels, task.fold
    val = np.intersect1d(splits.val, prepared.usable)
    if len(val):
        said = [softmax(member.outputs(prepared, val).logits) for member in members]
        probs = np.concatenate([probs, np.stack(said)], axis=1)
        labels = np.concatenate([labels, _labels(splits, prepared, val)])
        fold = np.concatenate([fold, np.full(len(val), -1)])
    asked = np.isfinite(probs).all(axis=(0, 2))
    if runs:
        _refuse_few(config, asked, labels)
    prior = np.bincount(task.labels, minlength=len(splits.classes)) / len(task.labels)
    known = (probs[:, asked], labels[asked])
    chosen = choose_weights(*known, fold[asked], _subsets(config, members), config.ensemble.pooling)
    pool = choose_pool(*known, chosen.weights, prior, config.ensemble.prior_shift)
    unseen = Unseen(np.concatenate([task.rows, val])[asked], pool.join(known[0]))
    report = {
        "members": [
            {
                "name": member.name,
                "weight": float(weight),
                **answered[member.name].report,
                "folds": headline(one[asked], labels[asked]),
            }
            for member, weight, one in zip(members, chosen.weights, probs, strict=True)
        ],
        "weights_by": chosen.how,
        "fold_losses": chosen.losses,
        "pool": {
            "prior_shift": pool.prior_shift,
            "temperature": pool.temperature,
            "trust": pool.trust,
        },
        "folds": {"posts": int(asked.sum()), **headline(unseen.probs, labels[asked])},
    }
    kept = [number for number, weight in enumerate(chosen.weights) if weight > 0]
    pool = replace(pool, weights=tuple(pool.weights[number] for number in kept))
    seen = Seen.of(
        trained=prepared.content_keys[task.rows],
        selected=prepared.content_keys[val],
        grouped=prepared.content_keys[:0],
        tested=prepared.content_keys[splits.test],
    )
    kind, left = splits.posts.label_kind, tuple(members[number] for number in kept)
    ensemble = Ensemble(config, splits.classes, left, pool, kind, seen)
    return Fitted(ensemble, {**_no_phase(), **report}, unseen=unseen)


def _refuse_few(config: Config, asked: Array, labels: Array) -> None:
    """Refuse to weigh members by hardly any posts, since runs among them have seen the others."""
    if asked.sum() >= LEAST_POSTS or asked.all():
        return
    raise RunError(
        f"ensemble.members, {list(config.ensemble.members)}",
        f"at least {LEAST_POSTS} labelled posts of train and val that no member was trained on",
        f"{int(asked.sum())} of {len(labels)}",
        "Add val rows, or name the presets of the runs: they are trained on folds.",
    )


def _subsets(config: Config, members: list[Member]) -> dict[str, Array]:
    """The members that may weigh the same: all but stand-ins, then those of one modality each."""
    alone = {name for effort in EFFORTS.values() for name in effort.alone}
    modalities = [{"text", "image"} & set(_modalities(member.config)) for member in members]
    names = [member.name for member in members]
    by_default = config.ensemble.members
    everything = np.array([name not in alone for name in names])
    if not everything.any() or not set(names) & alone or not by_default:
        everything = np.ones(len(names), dtype=bool)
    borrows = np.array([member.config.borrows_comments for member in members])
    subsets = {"equal": everything & ~borrows if (everything & ~borrows).any() else everything}
    if (everything & borrows).any():
        subsets["borrowed comments too"] = everything
    for name, modality in (("words alone", "text"), ("pictures alone", "image")):
        mask = np.array([found == {modality} for found in modalities])
        if mask.any() and not mask.all():
            subsets[name] = mask
    return subsets


def _modalities(config: Config) -> list[str]:
    """Of words and picture, what the settings read, be it as blocks."""
    return [*(["text"] if config.reads_words else []), *(["image"] if config.reads_picture else [])]


def _no_phase() -> dict[str, Any]:
    """What a report says of epochs where there are none."""
    return {"epochs": 0, "best_epoch": 0, "history": []}
