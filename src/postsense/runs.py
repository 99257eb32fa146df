"""A run folder: settings, models, metrics and predictions of one training, seed by seed.

config.json            the resolved settings
run.json               what was trained on: fingerprint, counts, classes, seeds
bad_rows.jsonl         posts that could not be used, and why
seed-N/model/          the classifier
seed-N/metrics.json    metrics on val and test, epochs, what was kept
seed-N/predictions.parquet   split, id, true label, predicted label, probabilities, hints
seed-N/pseudo_labels.parquet what a self-trained one learned from, and where that came from
seed-N/checkpoints/    only while the seed is unfinished
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from postsense.atomic import replacing, write_json
from postsense.classifier import Classifier, predict_rows, predictions_from
from postsense.config import Config
from postsense.data.splitting import Splits
from postsense.errors import RunError
from postsense.evaluation.evaluate import distances_of, metrics_of
from postsense.inputs import BadRow, PreparedPosts, pick_device
from postsense.model_folder import load_model, save_model
from postsense.posts import Posts
from postsense.processes import is_main, main_first, together, wait_for_all
from postsense.progress import Progress, silent
from postsense.run_folder import claim_run, read_json, sweep
from postsense.tables import write_bad_rows
from postsense.training.methods import (
    Fitted,
    fit_classifier,
    prepare_splits,
    split_for_method,
)


@dataclass(frozen=True)
class RunSummary:
    """What a run did. metrics: by seed, then by split. train_fraction: of labels that were kept."""

    folder: Path
    splits: Splits
    train_fraction: float
    bad: tuple[BadRow, ...]
    metrics: dict[int, dict[str, Any]]


def train_run(
    posts: Posts,
    config: Config,
    folder: Path,
    *,
    seeds: int = 1,
    validation: Posts | None = None,
    progress: Progress = silent,
) -> RunSummary:
    """Train config.seed and the seeds - 1 numbers after it; finished seeds are not trained again.

    A run that was killed goes on where it stopped when called again with the same arguments. Of
    several processes the main one alone writes to the folder.

    Raises: RunError: the folder holds a run with other settings or other posts.
    """
    if config.retrieval.corpus is not None:
        known = {"corpus": config.retrieval.corpus.resolve()}
        retrieval = config.retrieval.model_copy(update=known)
        config = config.model_copy(update={"retrieval": retrieval})
    splits = split_for_method(posts, validation, config)
    with together(cpu=pick_device(config.training).type == "cpu"):
        prepared = _prepare(folder, config, splits, progress)
        metrics = {}
        for seed in range(config.seed, config.seed + seeds):
            seeded = config.model_copy(update={"seed": seed})
            metrics[seed] = _train_seed(splits, prepared, seeded, folder / f"seed-{seed}", progress)
        wait_for_all()  # until all is written
    return RunSummary(folder, splits, config.data.train_fraction, prepared.bad, metrics)


def load_run(folder: Path, corpus: Path | None = None) -> list[Classifier]:
    """The classifiers of all finished seeds; a model folder counts as a run of one.

    corpus: where the corpus is now; None: where it was in training.
    Raises: RunError: not a run, or none of its seeds is finished. ModelError: a damaged model.
    """
    alone = (folder / "model.json").is_file()
    folders = [folder] if alone else [seed / "model" for seed in finished_seeds(folder)]
    return [load_model(model).with_corpus(corpus) for model in folders]


def finished_seeds(folder: Path) -> list[Path]:
    """The folders of a run's finished seeds, by seed. Raises: RunError: there are none."""
    seeds = [file.parent for file in folder.glob("seed-*/metrics.json")]
    if not seeds:
        found = "no such folder" if not folder.is_dir() else "no finished seed in it"
        raise RunError(
            folder, "a run folder", found, "Train it with 'postsense train TABLE --out RUN'."
        )
    return sorted(seeds, key=lambda seed: int(seed.name.removeprefix("seed-")))


def _prepare(folder: Path, config: Config, splits: Splits, progress: Progress) -> PreparedPosts:
    """Claim the folder and encode the posts; processes beside the main one read what it wrote."""
    with main_first():
        claim_run(folder, config, splits)
        if is_main():
            sweep(folder)
        prepared = prepare_splits(splits, config, progress)
        if is_main():
            write_bad_rows(prepared.bad, folder / "bad_rows.jsonl")
    return prepared


def _train_seed(
    splits: Splits, prepared: PreparedPosts, config: Config, folder: Path, progress: Progress
) -> dict[str, Any]:
    finished = folder / "metrics.json"
    if is_main():
        sweep(folder)
    report = dict(read_json(finished)) if finished.is_file() else None
    wait_for_all()  # the main process writes nothing before all have looked
    if report is None:
        fitted = fit_classifier(splits, prepared, config, folder / "checkpoints", progress)
        measured = _measure(fitted.classifier, splits, prepared)
        report = {**_training_report(fitted, config), **measured.metrics}
        if is_main():
            _write_seed(folder, fitted, measured.predictions, report)
    if is_main():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return report


def _write_seed(
    folder: Path, fitted: Fitted, predictions: pa.Table | None, report: dict[str, Any]
) -> None:
    """Write what a seed is, its metrics last: they mark it as finished."""
    save_model(fitted.classifier, folder / "model")
    tables = {"pseudo_labels": fitted.trained.pseudo_labels, "predictions": predictions}
    for name, table in tables.items():
        if table is not None:
            with replacing(folder / f"{name}.parquet") as temporary:
                pq.write_table(table, temporary)
    write_json(folder / "metrics.json", report)


@dataclass(frozen=True)
class _Measured:
    """Metrics by split, and the predictions they come from, None without any."""

    metrics: dict[str, Any]
    predictions: pa.Table | None


def _measure(classifier: Classifier, splits: Splits, prepared: PreparedPosts) -> _Measured:
    """What the classifier says of val and test."""
    metrics: dict[str, Any] = {}
    tables = []
    names = np.array(splits.posts.column("label"), dtype=object)
    for split, rows in (("val", splits.val), ("test", splits.test)):
        rows = np.intersect1d(rows, prepared.usable)
        if not len(rows):
            continue
        outputs = predict_rows(classifier, prepared, rows, with_aligned=True)
        predictions = predictions_from([outputs], [classifier], prepared, rows)
        labels = np.searchsorted(np.array(classifier.classes, dtype=object), names[rows])
        metrics[split] = metrics_of(predictions, labels)
        distances = distances_of(outputs, prepared, rows, labels)
        if distances is not None:
            metrics[split]["distances"] = distances
        table = predictions.to_table()
        table = table.rename_columns({"label": "predicted"})
        table = table.add_column(0, "split", pa.array([split] * len(rows)))
        tables.append(table.add_column(2, "label", pa.array(names[rows].tolist())))
    return _Measured(metrics, pa.concat_tables(tables) if tables else None)


def _training_report(fitted: Fitted, config: Config) -> dict[str, Any]:
    state = fitted.trained.state
    return {
        "seed": config.seed,
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "selected_by": config.training.select_by,
        "history": state.history,
        **fitted.trained.report,
    }
