"""Method `self_training`: a teacher, then students that learn from its soft labels.

Source: Xu & Li 2022, "Borrowing Human Senses: Comment-Aware Self-Training for Social Media
Multimodal Classification", section 3.3 and eq. 8; the steps are those of the released code.
    teacher = fit(labelled)
    repeat T times:
        targets = softmax(teacher(retrieved posts, with all comments))
        student = fit(CE on labelled + weight * KL(targets || student) on retrieved,
                      whose comments are dropped at random and refilled)
        teacher = student
Deviation: a target counts by how sure the teacher is (self_training.weighting), since pseudo-labels
of a teacher with few labels do harm; the best of teacher and students on val is kept, where the
released code keeps the last student (and its evaluation script tests the teacher).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from postsense.config import Config, MetricName, SelfTrainingSettings
from postsense.errors import DataError
from postsense.evaluation.metrics import HIGHER_IS_BETTER
from postsense.inputs.batches import PostDataset
from postsense.losses.distillation import distillation_term
from postsense.parallel.device import pick_device
from postsense.prediction.inference import predict_logits, softmax
from postsense.progress import Progress, silent
from postsense.retrieval.borrowing import Pairs
from postsense.training.comment_dropout import drop_comments
from postsense.training.labeled import TrainingData, labeled_phase, new_model
from postsense.training.loop import run_phase
from postsense.training.phase import Stream
from postsense.training.pseudo_labels import PseudoLabels, provenance, weigh_pseudo_labels
from postsense.training.trained import Trained


def train_self_training(
    data: TrainingData, config: Config, folder: Path, progress: Progress = silent
) -> Trained:
    """Train a teacher and self_training.rounds students from one seed; the best on val is kept.

    Raises: DataError: no usable post was retrieved for any labelled post.
    """
    unlabeled = _unlabeled(data)
    teacher = _train("teacher", data, config, folder, (), progress)
    candidates, labels = [teacher], list[pa.Table]()
    for round_ in range(1, config.self_training.rounds + 1):
        pseudo = _pseudo_label(teacher, unlabeled, config)
        labels.append(provenance(pseudo, unlabeled.pairs, unlabeled.ids, data.classes, round_))
        streams = (_stream(pseudo, unlabeled, config.self_training),)
        teacher = _train(f"student {round_}", data, config, folder, streams, progress)
        candidates.append(teacher)
    kept = _best(candidates, config.training.select_by) if len(data.val) else teacher
    rounds = [candidate.report for candidate in candidates]
    report = {"kept": kept.report["name"], "rounds": rounds}
    return replace(kept, report=report, pseudo_labels=pa.concat_tables(labels))


@dataclass(frozen=True)
class _Unlabeled:
    """The retrieved posts of the labelled ones. ids: of all posts, by position."""

    dataset: PostDataset
    pairs: Pairs
    ids: list[str]


def _unlabeled(data: TrainingData) -> _Unlabeled:
    pairs = data.pairs
    if pairs is None or not len(pairs.rows):
        raise DataError(
            "retrieval.corpus",
            "similar posts to at least one labelled post",
            "none: what the corpus holds is excluded, a duplicate or too far off",
            "Add posts to the corpus, or lower retrieval.min_score.",
        )
    columns = data.train.columns
    dataset = PostDataset(columns, pairs.rows, comment_rows=pairs.queries)
    return _Unlabeled(dataset, pairs, data.ids)


def _train(
    name: str,
    data: TrainingData,
    config: Config,
    folder: Path,
    streams: tuple[Stream, ...],
    progress: Progress,
) -> Trained:
    """One teacher or student, from fresh weights."""
    phase, model = labeled_phase(name, data, config, streams), new_model(data, config)
    state = run_phase(phase, model, folder / name.replace(" ", "-"), progress)
    report: dict[str, Any] = {"name": name, "epochs": state.epoch, "best_epoch": state.best_epoch}
    report["val_" + config.training.select_by] = state.best_score
    return Trained(model, state, report)


def _pseudo_label(teacher: Trained, unlabeled: _Unlabeled, config: Config) -> PseudoLabels:
    logits = predict_logits(
        teacher.model,
        unlabeled.dataset,
        pick_device(config.training),
        workers=config.training.workers,
    )
    return weigh_pseudo_labels(softmax(logits), config.self_training)


def _stream(pseudo: PseudoLabels, unlabeled: _Unlabeled, settings: SelfTrainingSettings) -> Stream:
    counted = np.flatnonzero(pseudo.weights)  # what no weight is put on need not be computed
    source = unlabeled.dataset
    assert source.comment_rows is not None
    dataset = replace(
        source,
        rows=source.rows[counted],
        comment_rows=source.comment_rows[counted],
        targets=pseudo.probs[counted],
        weights=pseudo.weights[counted],
    )
    terms = {"distillation": distillation_term(settings.weight)}
    return Stream(dataset, terms, drop_comments(settings.comment_dropout))


def _best(candidates: list[Trained], metric: MetricName) -> Trained:
    """The best on val, the earliest of equals."""
    choose = max if HIGHER_IS_BETTER[metric] else min
    return choose(candidates, key=lambda candidate: candidate.state.best_score or 0.0)
