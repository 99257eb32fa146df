"""Method `ensemble`: members answer posts they have not seen; these weigh and shift the mean."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from postsense.evaluation.metrics import headline_metrics
from postsense.inputs.preparation import PreparedPosts
from postsense.prediction.ensemble import Ensemble, Member, Pool
from postsense.prediction.inference import softmax
from postsense.progress import Progress
from postsense.training.ensemble.answers import (
    Answered,
    Task,
    TrainOn,
    answer_unseen,
    teach_in_steps,
    teach_on_vectors,
)
from postsense.training.ensemble.pooling import Chosen, choose_pool, choose_weights
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
    known = _known(task, answered)
    if runs:
        _refuse_few(config, known)
    ways, pooling = _ways(config, answered), config.ensemble.pooling
    chosen = choose_weights(known.probs, known.labels, known.fold, ways, pooling, task.prior)
    shift = config.ensemble.prior_shift
    pool = choose_pool(known.probs, known.labels, chosen.weights, task.prior, shift)
    unseen = Unseen(known.rows, pool.join(known.probs))
    report = _report(answered, known, chosen, pool, unseen)
    return Fitted(_ensemble(task, config, answered, pool), report, unseen=unseen)


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


@dataclass(frozen=True)
class _Known:
    """What every member has answered unseen: posts of train, and of val, which are a fold more.

    rows: (N,) positions of the posts; probs: (M, N, K) of the members; labels, fold: (N,). of: how
    many posts there are with those that a member has learned from.
    """

    rows: Array
    probs: Array
    labels: Array
    fold: Array
    of: int


def _known(task: Task, answered: Mapping[str, Answered]) -> _Known:
    probs = np.stack([one.probs for one in answered.values()])  # (M, P, K)
    rows, labels, fold = task.rows, task.labels, task.fold
    val = task.val
    if len(val):
        members = [Member(name, one.classifiers) for name, one in answered.items()]
        said = [softmax(member.outputs(task.prepared, val).logits) for member in members]
        probs = np.concatenate([probs, np.stack(said)], axis=1)
        rows = np.concatenate([rows, val])
        labels = np.concatenate([labels, _labels(task.splits, task.prepared, val)])
        fold = np.concatenate([fold, np.full(len(val), -1)])
    asked = np.isfinite(probs).all(axis=(0, 2))
    return _Known(rows[asked], probs[:, asked], labels[asked], fold[asked], len(rows))


def _report(
    answered: Mapping[str, Answered], known: _Known, chosen: Chosen, pool: Pool, unseen: Unseen
) -> dict[str, Any]:
    """What metrics.json says of members, weights and folds; there are no epochs."""
    members = [
        {
            "name": name,
            "weight": float(weight),
            **one.report,
            "folds": headline_metrics(probs, known.labels),
        }
        for (name, one), weight, probs in zip(
            answered.items(), chosen.weights, known.probs, strict=True
        )
    ]
    joined = {name: getattr(pool, name) for name in ("prior_shift", "temperature", "trust")}
    return {
        **{"epochs": 0, "best_epoch": 0, "history": []},
        "members": members,
        "weights_by": chosen.how,
        "fold_losses": chosen.losses,
        "fold_accuracies": chosen.accuracies,
        "pool": joined,
        "folds": {"posts": len(known.rows), **headline_metrics(unseen.probs, known.labels)},
    }


def _ensemble(task: Task, config: Config, answered: Mapping[str, Answered], pool: Pool) -> Ensemble:
    """The members that have a weight."""
    kept = {name: weight for name, weight in zip(answered, pool.weights, strict=True) if weight > 0}
    members = tuple(Member(name, answered[name].classifiers) for name in kept)
    splits, keys = task.splits, task.prepared.content_keys
    seen = Seen.of(
        trained=keys[task.rows],
        selected=keys[task.val],
        grouped=keys[:0],
        tested=keys[splits.test],
    )
    left = replace(pool, weights=tuple(kept.values()))
    return Ensemble(config, splits.classes, members, left, splits.posts.label_kind, seen)


def _refuse_few(config: Config, known: _Known) -> None:
    """Refuse to weigh members by hardly any posts, since runs among them have seen the others."""
    if len(known.rows) >= LEAST_POSTS or len(known.rows) == known.of:
        return
    raise RunError(
        f"ensemble.members, {list(config.ensemble.members)}",
        f"at least {LEAST_POSTS} labelled posts of train and val that no member was trained on",
        f"{len(known.rows)} of {known.of}",
        "Add val rows, or name the presets of the runs: they are trained on folds.",
    )


def _ways(config: Config, answered: Mapping[str, Answered]) -> dict[str, Array]:
    """The members (M,) bool that may weigh the same: the default, then with or without some.

    Of stand-ins, one that a corpus lends to joins the default, others take its place together with
    those that read the same modality alone.
    """
    configs = [one.classifiers[0].config for one in answered.values()]
    named = np.array([name in config.ensemble.members for name in answered])
    borrows = np.array([one.borrows_comments for one in configs])
    ways = {"equal": named}
    if (borrows & ~named).any():
        ways["borrowed comments too"] = named | borrows
    modalities = [_modalities(one) for one in configs]
    for name, modality in (("words alone", ["text"]), ("pictures alone", ["image"])):
        mask = np.array([found == modality for found in modalities])
        if mask.any() and not mask.all():
            ways[name] = mask
    return ways


def _modalities(config: Config) -> list[str]:
    """Of words and picture, what the settings read, be it as blocks."""
    return [*(["text"] if config.reads_words else []), *(["image"] if config.reads_picture else [])]
