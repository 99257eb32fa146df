"""Settings and rows → what comes of them, stage by stage: never the settings themselves."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from postsense.config import Config
from postsense.data.loading import load_posts
from postsense.data.reading import reading_of
from postsense.data.splitting import Splits
from postsense.inputs.preparation import PreparedPosts
from postsense.posts import Posts
from postsense.runs.folder import fingerprint_splits
from postsense.runs.training import _measure
from postsense.training.fitted import Fitted
from postsense.training.fitting import (
    fit_classifier,
    prepare_splits,
    required_columns,
    split_for_method,
)
from postsense.training.labeled import TrainingData, new_model

Rows = Sequence[Mapping[str, Any]]
PREPARED, BUILT, TRAINED = range(3)
FIRST_STAGE = {"fusion": BUILT, "losses": BUILT, "self_training": TRAINED, "training": TRAINED}
"""The first stage that a section can change; an earlier one is then that of other settings."""
EARLIER = ("fusion.name", "self_training.neighbors", "training.start_from")  # all stages may change


@dataclass(frozen=True)
class Outcome:
    """What comes of settings. before: whose earlier stages are the same, up to first.

    without_val: the rows again, of which none is of val.
    """

    config: Config
    rows: Rows
    without_val: Rows
    folder: Path
    before: "Outcome | None" = None
    first: int = PREPARED

    def stages(self) -> Iterator[str]:
        """A digest of each stage, computed when it is asked for."""
        stages: tuple[Callable[[], Any], ...] = (self._posts, self._model, self._training)
        for number, stage in enumerate(stages):
            if number >= self.first:
                yield digest(stage())
            else:
                assert self.before is not None
                yield self.before.digests[number]

    @cached_property
    def digests(self) -> list[str]:
        """Those of all stages."""
        return list(self.stages())

    @cached_property
    def splits(self) -> Splits:
        return split_for_method(self._load(self.rows), None, self.config)

    @cached_property
    def prepared(self) -> PreparedPosts:
        if self.before is not None and self.first > PREPARED:
            return self.before.prepared
        return prepare_splits(self.splits, self.config)

    def _load(self, rows: Rows) -> Posts:
        config = self.config
        reads = config.columns_read("label", "split")
        reading = reading_of(config)
        require = required_columns(config)
        columns = config.data.columns
        return load_posts(list(rows), columns, require, reads=reads, reading=reading)

    def _posts(self) -> Any:
        """Splits, bad rows and what a model is given of every usable post."""
        carved = split_for_method(self._load(self.without_val), None, self.config)
        data, prepared = self._data(), self.prepared
        everything = prepared.dataset(prepared.usable)
        borrowed = prepared.borrowed
        return (
            [_parts(splits) for splits in (self.splits, carved)],
            fingerprint_splits(self.splits, self.config),
            prepared.bad,
            everything[np.arange(len(prepared.usable))],
            len(data.train),
            None if borrowed is None else (borrowed.alpha, borrowed.hints),
        )

    def _data(self) -> TrainingData:
        prepared, classes = self.prepared, self.splits.classes
        train = np.intersect1d(self.splits.train, prepared.usable)
        labeled = classes if self.config.declared_method.learns_from_labels else None
        aligns = self.config.losses.compares
        dataset = prepared.dataset(train, labeled, aligns=aligns)
        return TrainingData(dataset, dataset, classes)

    def _model(self) -> Any:
        """The weights it starts with, what it consists of, and what it says with dropout on."""
        data = self._data()
        model = new_model(data, self.config)
        trains = [weight.requires_grad for weight in model.parameters()]
        weights = dict(model.state_dict())
        started = {name: value.clone() for name, value in weights.items()}
        torch.manual_seed(0)
        with torch.no_grad():
            output = model.train()(data.train[np.arange(len(data.train))])
        return started, trains, _modules(model), output

    def _training(self) -> Any:
        """Every epoch, the final weights, what the method says, and metrics on val and test."""
        fitted: Fitted = fit_classifier(self.splits, self.prepared, self.config, self.folder)
        model, trained = fitted.classifier.model, fitted.trained
        measured = _measure(fitted.classifier, self.splits, self.prepared)
        report = trained.report
        rounds = [[*one.values()][1:] for one in report.get("rounds", ())]  # all but its name
        said = [report.get(name) for name in ("kept", "second_steps", "mapping")]
        state = (trained.state.history, trained.state.best_epoch, trained.state.best_score)
        return (
            dict(model.state_dict()),
            state,
            rounds,
            said,
            trained.pseudo_labels,
            measured.metrics,
        )


def _parts(splits: Splits) -> Any:
    return splits.posts.column("id"), splits.train, splits.val, splits.test, splits.classes


def _modules(model: nn.Module) -> str:
    return repr(model)


def digest(value: Any) -> str:
    """A hash of arrays, tables and plain values, nested in any way."""
    found = hashlib.blake2b(digest_size=16)
    for part in _bytes(value):
        found.update(part)
    return found.hexdigest()


def _bytes(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield from _bytes(value.detach().cpu().numpy())
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, pa.Table):
        yield repr(value.to_pylist()).encode()
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield repr(key).encode()
            yield from _bytes(value[key])
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield field.name.encode()
            yield from _bytes(getattr(value, field.name))
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"[{len(value)}".encode()
        for part in value:
            yield from _bytes(part)
    else:
        yield repr(value).encode()
