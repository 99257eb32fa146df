"""What simple models say of the posts of a run: measured beside it, and kept in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postsense.arrays import Array
from postsense.config import Config
from postsense.data.label_kinds import arrow_labels
from postsense.data.splitting import Splits, thin_train
from postsense.evaluation.compare import RunPredictions, seed_scores
from postsense.inputs.preparation import PreparedPosts
from postsense.progress import Progress, silent
from postsense.training.floor.answers import Questions, SimpleAnswer, answer_simply
from postsense.training.floor.features import simple_features
from postsense.training.floor.remark import Measured, remark_on_floor
from postsense.training.folds import folds_of
from postsense.training.unseen import Unseen

BASELINES = dict[str, dict[str, dict[str, float]]]  # in metrics.json: by name, by part, by metric
FILE = "baselines.parquet"


@dataclass(frozen=True)
class Floor:
    """Simple answers of a seed. rows: (P + Q,) positions of posts, learned (P,) first.

    Those of val that are learned from are asked no more. labels: (P + Q,) class numbers.
    """

    splits: Splits
    rows: Array
    labels: Array
    learned: int
    answers: Mapping[str, SimpleAnswer]

    def probs(self, name: str, rows: Array) -> Array:
        """What a simple model says (N, K) of posts that it had not seen, at positions (N,)."""
        answer = self.answers[name]
        everything = np.concatenate([answer.learned, answer.others])
        return np.asarray(everything[self._places(rows)])

    def labels_of(self, rows: Array) -> Array:
        """The class numbers (N,) of posts."""
        return np.asarray(self.labels[self._places(rows)])

    def rows_of(self, split: str) -> Array:
        """Positions, in their order, of the posts of val or test that are not learned from."""
        return np.intersect1d(getattr(self.splits, split), self.rows[self.learned :])

    def _places(self, rows: Array) -> Array:
        order = np.argsort(self.rows)
        return np.asarray(order[np.searchsorted(self.rows, rows, sorter=order)])


def fit_floor(
    splits: Splits, prepared: PreparedPosts, config: Config, progress: Progress = silent
) -> Floor:
    """Fit simple models to what the run learns from, on folds and on all of it."""
    splits = thin_train(splits, config.data.train_fraction, config.seed)
    train = splits.train
    if config.declared_method.combines and config.ensemble.learn_from_val:
        train = np.union1d(train, splits.val)
    learned = np.intersect1d(train, prepared.usable)
    held_out = np.concatenate([splits.val, splits.test])
    others = np.setdiff1d(np.intersect1d(held_out, prepared.usable), learned)
    rows = np.concatenate([learned, others])
    labels = prepared.dataset(rows, splits.classes).labels
    assert labels is not None
    known = labels[: len(learned)]
    fold = folds_of(known, prepared.contents[learned], config.ensemble.folds, config.seed)
    texts = prepared.posts.column("text")
    features = simple_features(prepared, config, rows, len(learned), progress)
    progress("simple answers", 0, 1)
    questions = Questions(
        known, fold, len(splits.classes), [texts[row] for row in rows.tolist()], features
    )
    answers = answer_simply(questions)
    progress("simple answers", 1, 1)
    return Floor(splits, rows, labels, len(learned), answers)


def floor_report(
    floor: Floor,
    config: Config,
    report: Mapping[str, Any],
    predictions: pa.Table | None,
    unseen: Unseen | None,
) -> dict[str, Any]:
    """What metrics.json says of simple answers: their scores, and a remark if there is one.

    Folds are those of the posts that the result answers unseen, where it does.

    report: of the seed. predictions: of the seed, on val and test.
    """
    parts = {split: floor.rows_of(split) for split in ("val", "test")}
    asked = floor.rows[: floor.learned] if unseen is None else unseen.rows
    parts = {name: rows for name, rows in {"folds": asked, **parts}.items() if len(rows)}
    baselines = {
        name: {
            part: scores for part, rows in parts.items() if (scores := _scores(floor, name, rows))
        }
        for name in floor.answers
    }
    remark = remark_on_floor(
        _measured(floor, parts, predictions, unseen),
        twin=_twin(config),
        is_random=report.get("pool", {}).get("trust") == 0,
    )
    return {"baselines": baselines, **({} if remark is None else {"remark": remark})}


def floor_table(floor: Floor) -> pa.Table | None:
    """baseline, split, id, label, predicted, prob_<class> of val and test; None: no posts there."""
    tables = []
    ids, names = floor.splits.posts.table["id"], floor.splits.posts.column("label")
    kind, classes = floor.splits.posts.label_kind, floor.splits.classes
    for baseline in floor.answers:
        for split in ("val", "test"):
            rows = floor.rows_of(split)
            probs = floor.probs(baseline, rows)
            predicted = [classes[number] for number in probs.argmax(axis=1)]
            columns = {
                "baseline": pa.array([baseline] * len(rows), pa.string()),
                "split": pa.array([split] * len(rows), pa.string()),
                "id": ids.take(rows),
                "label": arrow_labels([names[row] for row in rows.tolist()], kind),
                "predicted": arrow_labels(predicted, kind),
            }
            for number, name in enumerate(classes):
                columns[f"prob_{name}"] = pa.array(probs[:, number].astype(np.float32))
            tables.append(pa.table(columns))
    table = pa.concat_tables(tables)
    return table if len(table) else None


def _scores(floor: Floor, name: str, rows: Array) -> dict[str, float] | None:
    """Headline metrics; None where there were no folds to answer."""
    probs = floor.probs(name, rows)
    if not np.isfinite(probs).all():
        return None
    predicted = probs.argmax(axis=1)[None]
    run = RunPredictions(name, (), (0,), floor.labels_of(rows), predicted, probs.shape[1])
    return {metric: float(score) for metric, [score] in seed_scores(run).items()}


def _measured(
    floor: Floor,
    parts: Mapping[str, Array],
    predictions: pa.Table | None,
    unseen: Unseen | None,
) -> list[Measured]:
    """The result beside simple answers on the same posts: those of folds, then of val and test."""
    results = {} if unseen is None else {"folds": unseen.probs}
    if predictions is not None:
        results |= {split: _probs_of(predictions, split, floor) for split in ("val", "test")}
    where = {"folds": "that it had not seen", "val": "of val", "test": "of test"}
    measured = []
    for part in [part for part in where if part in parts]:
        said = {name: floor.probs(name, parts[part]) for name in floor.answers}
        simple = {name: probs for name, probs in said.items() if np.isfinite(probs).all()}
        labels, result = floor.labels_of(parts[part]), results.get(part)
        measured.append(Measured(labels, simple, where[part], result))
    return measured


def _probs_of(predictions: pa.Table, split: str, floor: Floor) -> Array:
    """What the result says (N, K) of the posts of a split, in their order."""
    chosen = predictions.filter(pc.equal(predictions["split"], split))
    columns = [chosen[f"prob_{name}"].to_numpy() for name in floor.splits.classes]
    return np.stack(columns, axis=1)


def _twin(config: Config) -> str | None:
    """The simple answer that a method is itself which fits a head to vectors; None for others."""
    if config.declared_method.learner is None:
        return None
    read = {"text", "image"} & set(config.inputs)
    return next(iter(read)) if len(read) == 1 else ("regression" if read else "tfidf")
