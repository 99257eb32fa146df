"""A run folder: settings, models, metrics and predictions of one training, seed by seed.

config.json            the resolved settings
run.json               what was trained on: fingerprint, counts, classes, seeds
bad_rows.jsonl         posts that could not be used, and why
seed-N/model/          the classifier
seed-N/metrics.json    metrics on val and test, epochs, what was kept, and simple answers beside it
seed-N/predictions.parquet   split, id, true label, predicted label, probabilities, hints
seed-N/baselines.parquet     what simple models say of the same posts
seed-N/pseudo_labels.parquet what a self-trained one learned from, and where that came from
seed-N/checkpoints/    only while the seed is unfinished
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from postsense.config import Config
from postsense.config.local import NO_LOCAL_SETTINGS, LocalSettings
from postsense.config.members import is_run
from postsense.data.bad_rows import BadRow
from postsense.data.label_kinds import arrow_labels
from postsense.data.splitting import Splits
from postsense.errors import ConfigError, RunError
from postsense.evaluation.evaluate import distances_of, metrics_of
from postsense.evaluation.metrics import HEADLINE, positive_number
from postsense.inputs.preparation import PreparedPosts
from postsense.parallel.processes import is_main
from postsense.posts import Posts
from postsense.prediction.classifier import (
    AnyClassifier,
    Classifier,
    predict_rows,
    predictions_from,
)
from postsense.progress import Progress, silent
from postsense.runs.baselines import BASELINES, fit_floor, floor_report, floor_table
from postsense.runs.fitting import Claim, TrainedSeed, started, train_once
from postsense.runs.folder import as_started, describe_run, read_json
from postsense.saving.folder import load_model
from postsense.saving.places import from_root
from postsense.training.ensemble.resolving import Runs, resolve_ensemble
from postsense.training.fitted import Fitted
from postsense.training.fitting import (
    fit_classifier,
    prepare_splits,
    remarks_on,
    split_for_method,
)

logger = logging.getLogger(__name__)
SEED = re.compile(r"seed-[0-9]{1,19}")


@dataclass(frozen=True)
class RunSummary:
    """What a run did. metrics: by seed, then by split. train_fraction: of labels that were kept.

    remarks: what looks wrong in the posts.
    """

    folder: Path
    splits: Splits
    train_fraction: float
    bad: tuple[BadRow, ...]
    metrics: dict[int, dict[str, Any]]
    remarks: tuple[str, ...] = ()


def train_run(
    posts: Posts,
    config: Config,
    folder: Path,
    *,
    seeds: int = 1,
    validation: Posts | None = None,
    progress: Progress = silent,
    announce: Callable[[Config, int], None] | None = None,
) -> RunSummary:
    """Train config.seed and the seeds - 1 numbers after it; finished seeds are not trained again.

    A run that was killed goes on where it stopped when called again with the same arguments. Of
    several processes the main one alone writes to the folder.

    announce: is told the settings, with what was left to the posts, and how many posts there are
        to learn from, before any of them is encoded.
    Raises: RunError: the folder holds a run with other settings or other posts. BusyError: another
        command writes to it.
    """
    config = as_started(folder, from_root(config))
    splits, runs = split_for_method(posts, validation, config), named_runs(config)
    config = resolve_ensemble(config, splits, runs)
    if announce is not None:
        announce(config, len(splits.train))
    description = describe_run(config, splits)
    claim = Claim(folder, "train", config, description["fingerprint"], lambda _: description)
    metrics = {}
    with started(config, lambda: prepare_splits(splits, config, progress, runs), claim) as start:
        for seed in range(config.seed, config.seed + seeds):
            seeded = config.model_copy(update={"seed": seed})
            train = partial(_train_seed, splits, start.prepared, seeded, progress, runs)
            metrics[seed] = train_once(folder / f"seed-{seed}", train, _read_report)
    fraction, remarks = config.data.train_fraction, remarks_on(posts, splits)
    return RunSummary(folder, splits, fraction, start.prepared.bad, metrics, remarks)


def load_run(folder: Path, local: LocalSettings = NO_LOCAL_SETTINGS) -> list[AnyClassifier]:
    """The classifiers of all finished seeds; a model folder counts as a run of one.

    local: settings of whoever loads it.
    Raises: RunError: not a run, or none of its seeds is finished, or they are of different runs.
        ModelError: a damaged model. ConfigError: local settings that would change the models.
    """
    alone = (folder / "model.json").is_file()
    folders = [folder] if alone else [seed / "model" for seed in finished_seeds(folder)]
    _warn_of_unfinished(folder)
    classifiers: list[AnyClassifier] = [load_model(model, local) for model in folders]
    _refuse_different(folder, classifiers)
    return classifiers


def named_runs(config: Config) -> Runs:
    """The classifiers of members of an ensemble that are folders of runs, by the folder.

    Raises: RunError, ModelError: as `load_run`. ConfigError: a run of an ensemble.
    """
    runs = {}
    for name in config.ensemble.all_members if config.declared_method.combines else ():
        if is_run(name):
            loaded = load_run(Path(name).expanduser())
            models = tuple(one for one in loaded if isinstance(one, Classifier))
            if len(models) < len(loaded):
                found, fix = "an ensemble", "Name its members instead."
                raise ConfigError(f"ensemble.members, '{name}'", "a run of one model", found, fix)
            runs[name] = models
    return runs


def _warn_of_unfinished(folder: Path) -> None:
    """Say which seeds were begun and are not read."""
    begun = [seed for seed in folder.glob("seed-*") if SEED.fullmatch(seed.name) and seed.is_dir()]
    unfinished = sorted(seed.name for seed in begun if not (seed / "metrics.json").is_file())
    if unfinished:
        names = ", ".join(unfinished)
        logger.warning("%s: %s not finished, and not read; train it again to go on", folder, names)


def _refuse_different(folder: Path, classifiers: list[AnyClassifier]) -> None:
    """Refuse seeds whose answers cannot be averaged."""
    first, fix = classifiers[0], "Copy the folder again from its source."
    for other in classifiers[1:]:
        if other.classes != first.classes:
            expected, found = f"seeds of one run, of {first.classes}", f"one of {other.classes}"
            raise RunError(folder, expected, found, fix)
        if _but_for_seed(other.config) != _but_for_seed(first.config):
            expected = "seeds of one run, with equal settings"
            raise RunError(folder, expected, "others than those of its first seed", fix)


def _but_for_seed(config: Config) -> dict[str, Any]:
    """The settings but for the seed, and for the folders of encoders that each seed has itself."""
    settings = config.model_copy(update={"seed": 0}).model_dump()
    for part in ("text", "image"):
        if getattr(config.encoders, part).runs_inside:
            del settings["encoders"][part]["name"]
    return settings


def finished_seeds(folder: Path) -> list[Path]:
    """The folders of a run's finished seeds, by seed. Raises: RunError: there are none."""
    finished = [file.parent for file in folder.glob("seed-*/metrics.json")]
    seeds = [seed for seed in finished if SEED.fullmatch(seed.name)]
    if not seeds:
        found = "no such folder" if not folder.is_dir() else "no finished seed in it"
        raise RunError(
            folder, "a run folder", found, "Train it with 'postsense train TABLE --out RUN'."
        )
    return sorted(seeds, key=lambda seed: int(seed.name.removeprefix("seed-")))


def _train_seed(
    splits: Splits,
    prepared: PreparedPosts,
    config: Config,
    progress: Progress,
    runs: Runs,
    checkpoints: Path,
) -> TrainedSeed:
    """Train one seed and measure it on val and test."""
    fitted = fit_classifier(splits, prepared, config, checkpoints, progress, runs)
    if config.ensemble.learn_from_val:  # and so says nothing about what is new
        splits = replace(splits, val=splits.val[:0])
    measured = _measure(fitted.classifier, splits, prepared)
    report = {**_training_report(fitted, config), **measured.metrics}
    tables = {"pseudo_labels": fitted.pseudo_labels, "predictions": measured.predictions}
    if config.declared_method.learns_from_labels and is_main():
        floor = fit_floor(splits, prepared, config, progress)
        report |= floor_report(floor, config, report, measured.predictions, fitted.unseen)
        tables["baselines"] = floor_table(floor)
    return TrainedSeed(fitted.classifier, report, tables)


def _read_report(file: Path) -> dict[str, Any]:
    """What was measured of a finished seed. Raises: RunError: damaged."""
    report = read_json(file, seed=int, best_epoch=int)
    for key, kind in {"baselines": BASELINES, "remark": str}.items():
        if key in report:
            read_json(file, **{key: kind})
    for split in {"val", "test"} & report.keys():
        measured = report[split] if isinstance(report[split], dict) else {}
        lacking = [name for name in HEADLINE if not isinstance(measured.get(name), float | int)]
        if lacking:
            fix = "Remove the file: its seed is trained again."
            raise RunError(f"{file}, {split}", "numbers that were measured", f"no {lacking}", fix)
    return report


@dataclass(frozen=True)
class _Measured:
    """Metrics by split, and the predictions they come from, None without any."""

    metrics: dict[str, Any]
    predictions: pa.Table | None


def _measure(classifier: AnyClassifier, splits: Splits, prepared: PreparedPosts) -> _Measured:
    """What the classifier says of val and test."""
    metrics: dict[str, Any] = {}
    tables = []
    names = np.array(splits.posts.column("label"), dtype=object)
    called, kind = classifier.config.data.positive_class, classifier.label_kind
    positive = positive_number(classifier.classes, called, kind)
    for split, rows in (("val", splits.val), ("test", splits.test)):
        rows = np.intersect1d(rows, prepared.usable)
        if not len(rows):
            continue
        outputs = predict_rows(classifier, prepared, rows, with_aligned=True)
        predictions = predictions_from([outputs], [classifier], prepared, rows)
        labels = np.searchsorted(np.array(classifier.classes, dtype=object), names[rows])
        metrics[split] = metrics_of(predictions, labels, positive)
        distances = distances_of(outputs, prepared, rows, labels)
        if distances is not None:
            metrics[split]["distances"] = distances
        table = predictions.to_table()
        table = table.rename_columns({"label": "predicted"})
        table = table.add_column(0, "split", pa.array([split] * len(rows)))
        tables.append(table.add_column(2, "label", arrow_labels(names[rows].tolist(), kind)))
    return _Measured(metrics, pa.concat_tables(tables) if tables else None)


def _training_report(fitted: Fitted, config: Config) -> dict[str, Any]:
    selected = {"selected_by": config.training.select_by} if config.declared_method.iterates else {}
    return {"seed": config.seed, **selected, **fitted.report}
