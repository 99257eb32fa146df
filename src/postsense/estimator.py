"""PostClassifier: fit, predict, evaluate, save and load, as scikit-learn's users expect."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from postsense.config import UNREAD_IN_PREDICT, Config
from postsense.config.loading import load_config, refuse_unknown_settings
from postsense.config.local import load_local
from postsense.data.given_posts import given_posts, labeled_posts
from postsense.data.label_kinds import in_order, known_label, typed_array
from postsense.errors import ConfigError, ModelError
from postsense.evaluation.groups import columns_of
from postsense.evaluation.looking_back import told
from postsense.parallel.processes import is_main
from postsense.posts import Posts
from postsense.prediction.classifier import AnyClassifier, Predictions
from postsense.predictor import Predictor
from postsense.progress import Progress, silent
from postsense.runs.fitting import started
from postsense.runs.training import load_run, named_runs
from postsense.saving.folder import save_model
from postsense.saving.places import from_root
from postsense.training.ensemble.resolving import resolve_ensemble
from postsense.training.fitting import (
    fit_classifier,
    prepare_splits,
    required_columns,
    split_for_method,
)

logger = logging.getLogger(__name__)
_KEPT = {  # what the classifier is made with, by the attribute that has it
    "method": "method",
    "preset": "preset",
    "corpus": "corpus",
    "config": "given_config",
    "posts": "posts",
    "progress": "progress",
}


class UntrainedError(ModelError, NotFittedError):  # type: ignore[misc]
    """A classifier was asked before it was trained; scikit-learn knows the error too."""


class PostClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifies posts of a picture and a few words.

    >>> classifier = PostClassifier(preset="concat", **{"training.epochs": 5})
    >>> classifier.fit("posts.jsonl").predict("new.parquet")

    Posts are a path (Parquet, JSONL, JSON, CSV, imagefolder, or a pattern for several files), a
    pandas or pyarrow table, a datasets.Dataset, or a list of dicts, with the columns id, text,
    image, label and split; `data.columns.*` renames them. A list of texts is posts without
    pictures. With PostClassifier(posts=TABLE) they are also numbers of the table's rows, which is
    what scikit-learn can cut up: cross_val_score(classifier, np.arange(len(y)), y).
    """

    def __init__(
        self,
        method: str | None = None,
        *,
        preset: str | None = None,
        corpus: str | Path | None = None,
        config: Config | None = None,
        posts: Any = None,
        progress: Progress = silent,
        **settings: Any,
    ) -> None:
        """corpus: folder of the corpus that lends comments, as `postsense corpus build` made it.

        posts: the table that numbers of rows are of. settings: any setting by its dotted name, such
        as **{"training.epochs": 5}.
        """
        self.method, self.preset, self.given_config = method, preset, config
        self.corpus, self.posts = corpus, posts
        self.settings, self.progress = settings, progress
        self._refuse_both()
        self.classifiers: tuple[AnyClassifier, ...] = ()  # the mean of several seeds answers
        self._predictor: Predictor | None = None  # of the classifiers that were asked last

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What the classifier was made with; settings stand under their dotted names."""
        return {**{name: getattr(self, kept) for name, kept in _KEPT.items()}, **self.settings}

    def set_params(self, **params: Any) -> "PostClassifier":
        """Change what the classifier was made with, from the next fit on; returns self.

        Raises: ConfigError: an unknown setting, or a config beside single settings.
        """
        refuse_unknown_settings([name for name in params if name not in _KEPT])
        for name, value in params.items():
            if name in _KEPT:
                setattr(self, _KEPT[name], value)
            else:
                self.settings = {**self.settings, name: value}
        self._refuse_both()
        return self

    def _refuse_both(self) -> None:
        single = (self.method, self.preset, self.corpus, self.settings)
        if self.given_config is not None and single != (None, None, None, {}):
            found = "both, one of which would not count"
            raise ConfigError("PostClassifier", "a config or single settings", found, "Merge them.")

    @property
    def config(self) -> Config:
        """All settings, resolved. Raises: ConfigError: an unknown key or a bad value."""
        return self.classifiers[0].config if self.classifiers else self._asked()

    def _asked(self) -> Config:
        """The settings to fit with, which what a fit found out does not change."""
        if self.given_config is not None:
            return self.given_config
        given = {"method": self.method, "retrieval.corpus": self.corpus}
        values = {key: value for key, value in given.items() if value is not None}
        return load_config(
            preset=self.preset, values={**values, **self.settings}, default_method="ensemble"
        )

    @property
    def classes_(self) -> np.ndarray[Any, Any]:
        """The K classes, of the kind of the labels, in the order of `predict_proba`'s columns."""
        fitted = self._fitted()[0]
        order = in_order(fitted.classes, fitted.label_kind)
        return typed_array([fitted.classes[number] for number in order], fitted.label_kind)

    def fit(self, posts: Any, y: Any = None, validation: Any = None) -> "PostClassifier":
        """Train on the labelled posts of split train (or without a split); returns self.

        y: a label for each post; with it all posts are trained on, whatever labels and splits the
        table has.

        Method "cluster_pseudo_labels" trains on all posts of train and needs no labels but a few
        to name its clusters by: those of validation, of val rows, or a tenth of train's.
        validation: posts to select the best epoch by; without it, the val rows of posts, or a
        tenth of train. In a script that `accelerate launch` runs, all processes fit together.
        """
        self.close()
        config = from_root(self._asked())
        table = self._training_posts(posts, y, config)
        held_out = None
        if validation is not None:
            how: Any = {"reads": config.columns_read("label", "split")}
            required: Any = {"require": ("label",), "optional": ("split",)}
            held_out = given_posts(validation, self.posts, config, **required, **how)
        splits = split_for_method(table, held_out, config)
        runs = named_runs(config)
        config = resolve_ensemble(config, splits, runs)
        progress = self.progress if is_main() else silent
        with started(config, lambda: prepare_splits(splits, config, progress, runs)) as start:
            fitted = fit_classifier(splits, start.prepared, config, start.folder, progress, runs)
        self.classifiers = (fitted.classifier,)
        return self

    def _training_posts(self, posts: Any, y: Any, config: Config) -> Posts:
        if y is not None:
            return labeled_posts(posts, y, self.posts, config)
        reads = config.columns_read("label", "split")
        return given_posts(posts, self.posts, config, require=required_columns(config), reads=reads)

    def predict(self, posts: Any) -> np.ndarray[Any, Any]:
        """The label of each post, (N,) of the labels' kind; None for a post that cannot be read."""
        predictions = self.predictions(posts)
        return typed_array(predictions.names, predictions.label_kind)

    def predict_proba(self, posts: Any) -> np.ndarray[Any, Any]:
        """Probabilities (N, K), columns as in classes_; NaN for a post that cannot be read."""
        predictions = self.predictions(posts)
        return predictions.probs[:, in_order(predictions.classes, predictions.label_kind)]

    def predictions(self, posts: Any) -> Predictions:
        """Labels, probabilities, ids and unreadable rows together."""
        config = self._fitted()[0].config
        options: Any = {"reads": config.columns_read(), "optional": UNREAD_IN_PREDICT}
        table = given_posts(posts, self.posts, config, **options)
        return self._open().predict(table, self.progress)

    def score(self, posts: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The accuracy: the share of labelled posts that get their label, in [0, 1].

        y: a label for each post; None: the table's. A post that cannot be read counts as wrong.
        """
        fitted = self._fitted()[0]
        if y is None:
            reads = fitted.config.columns_read("label")
            table = given_posts(posts, self.posts, fitted.config, require=("label",), reads=reads)
        else:
            table = labeled_posts(posts, y, self.posts, fitted.config)
        labels, kind = table.column("label"), fitted.label_kind
        rows = [row for row, label in enumerate(labels) if label is not None]
        found = self._open().predict(table.take(rows), self.progress).names
        asked = (known_label(labels[row], fitted.classes, kind) for row in rows)
        right = [a is not None and a == b for a, b in zip(asked, found, strict=True)]
        weights = None if sample_weight is None else np.asarray(sample_weight)[rows]
        return float(np.average(right, weights=weights))

    def evaluate(
        self, posts: Any, split: str | None = None, by: str | None = None
    ) -> dict[str, Any]:
        """Metrics on the labelled posts, of one split if named, as `evaluate_classifiers` has them.

        Posts that were trained on are measured too, with a warning.

        by: a column of the table, such as "labels.text", or two as "labels.text==labels.image":
            the metrics for each of its values too.
        Raises: DataError: no labelled post, a label that was not trained, or no such column.
        """
        config = self._fitted()[0].config
        optional = set(UNREAD_IN_PREDICT) - {"label"} - ({"split"} if split else set())
        options: Any = {"optional": optional, "extra": columns_of(by), "require": ("label",)}
        reads = config.columns_read("label", "split")
        table = given_posts(posts, self.posts, config, reads=reads, **options)
        report = self._open().evaluate(table, split or "all", self.progress, by)
        if "seen" in report:
            logger.warning("%s: %s", table.name, told(report["seen"]))
        return report

    def save(self, folder: str | Path) -> None:
        """Write the trained classifier to a folder that is new, empty or a model's.

        Raises: ModelError: there is something else in it, or these are several seeds of a run.
        """
        fitted = self._fitted()
        if len(fitted) > 1:
            fix = "Copy the run's folder, or load one of its seeds: RUN/seed-N/model."
            raise ModelError(folder, "one model to save", f"{len(fitted)} seeds of a run", fix)
        save_model(fitted[0], Path(folder))

    @classmethod
    def load(
        cls,
        folder: str | Path,
        corpus: str | Path | None = None,
        *,
        config: str | Path | None = None,
        **settings: Any,
    ) -> "PostClassifier":
        """Read a saved classifier, or those of a run, whose probabilities are averaged over seeds.

        The network is asked only with **{"encoders.allow_download": True}.
        corpus: where the corpus is now; None: where it was in training.
        config: a TOML file of settings. settings: by dotted name, those that may change once a
            model is trained, such as **{"data.columns.text": "tweet"} or "encoders.text.name".
        """
        loaded = cls()
        values = settings if corpus is None else {"retrieval.corpus": Path(corpus), **settings}
        local = load_local(None if config is None else Path(config), (), values)
        loaded.classifiers = tuple(load_run(Path(folder), local))
        loaded.given_config = loaded.classifiers[0].config
        return loaded

    def close(self) -> None:
        """Let go of encoders and corpus, which stay open from call to call until the next fit.

        A call after that opens them again.
        """
        if self._predictor is not None:
            self._predictor.close()
            self._predictor = None

    def _open(self) -> Predictor:
        """The predictor of what is trained, kept from the first call on."""
        fitted = self._fitted()
        if self._predictor is None or self._predictor.classifiers is not fitted:
            self.close()
            self._predictor = Predictor(fitted)
        return self._predictor

    def _fitted(self) -> tuple[AnyClassifier, ...]:
        if not self.classifiers:
            raise UntrainedError(
                "PostClassifier", "a trained classifier", "an untrained one", "Call fit first."
            )
        return self.classifiers

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a trained classifier."""
        return bool(self.classifiers)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may ask of the classifier: posts are no matrix of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.target_tags.required = False
        return tags
