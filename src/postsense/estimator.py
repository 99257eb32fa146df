"""PostClassifier: fit, predict, evaluate, save and load, as scikit-learn's users expect."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from postsense.classifier import Classifier, Predictions
from postsense.config import UNREAD_IN_PREDICT, Config
from postsense.config_loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import ConfigError, ModelError
from postsense.evaluation.evaluate import evaluate_classifiers
from postsense.evaluation.groups import columns_of
from postsense.inputs import pick_device
from postsense.model_folder import load_model, save_model
from postsense.processes import is_main, main_first, together
from postsense.progress import Progress, silent
from postsense.training.methods import (
    fit_classifier,
    prepare_splits,
    required_columns,
    split_for_method,
)


class PostClassifier:
    """Classifies posts of a picture and a few words.

    >>> classifier = PostClassifier(preset="concat", **{"training.epochs": 5})
    >>> classifier.fit("posts.jsonl").predict("new.parquet")

    Posts are a path (Parquet, JSONL, CSV, imagefolder), a pandas or pyarrow table, or a list of
    dicts, with the columns id, text, image, label and split; `data.columns.*` renames them.
    """

    def __init__(
        self,
        method: str | None = None,
        *,
        preset: str | None = None,
        corpus: str | Path | None = None,
        config: Config | None = None,
        progress: Progress = silent,
        **settings: Any,
    ) -> None:
        """corpus: folder of the corpus that lends comments, as `postsense corpus build` made it.

        settings: any setting by its dotted name, such as **{"training.epochs": 5}.
        """
        self.method, self.preset, self.given_config = method, preset, config
        self.corpus = corpus
        if config is not None and (method, preset, corpus, settings) != (None, None, None, {}):
            found = "both, one of which would not count"
            raise ConfigError("PostClassifier", "a config or single settings", found, "Merge them.")
        self.settings, self.progress = settings, progress
        self.classifier: Classifier | None = None

    @property
    def config(self) -> Config:
        """All settings, resolved. Raises: ConfigError: an unknown key or a bad value."""
        if self.classifier is not None:
            return self.classifier.config
        return self._asked()

    def _asked(self) -> Config:
        """The settings to fit with, which what a fit found out does not change."""
        if self.given_config is not None:
            return self.given_config
        given = {"method": self.method, "retrieval.corpus": self.corpus}
        values = {key: value for key, value in given.items() if value is not None}
        return load_config(preset=self.preset, values={**values, **self.settings})

    @property
    def classes_(self) -> np.ndarray[Any, Any]:
        """The K class names, in the order of the probabilities."""
        return np.array(self._fitted().classes, dtype=object)

    def fit(self, posts: Any, validation: Any = None) -> "PostClassifier":
        """Train on the labelled posts of split train (or without a split); returns self.

        Method "cluster_pseudo_labels" trains on all posts of train and needs no labels but a few
        to name its clusters by: those of validation, of val rows, or a tenth of train's.
        validation: posts to select the best epoch by; without it, the val rows of posts, or a
        tenth of train. In a script that `accelerate launch` runs, all processes fit together.
        """
        config = self._asked()
        columns = config.data.columns
        table = load_posts(posts, columns, require=required_columns(config))
        held_out = None
        if validation is not None:
            held_out = load_posts(validation, columns, require=("label",), optional=("split",))
        splits = split_for_method(table, held_out, config)
        progress = self.progress if is_main() else silent
        with (
            tempfile.TemporaryDirectory(prefix="postsense-") as folder,
            together(cpu=pick_device(config.training).type == "cpu"),
        ):
            with main_first():
                prepared = prepare_splits(splits, config, progress)
            fitted = fit_classifier(splits, prepared, config, Path(folder), progress)
        self.classifier = fitted.classifier
        return self

    def predict(self, posts: Any) -> np.ndarray[Any, Any]:
        """The label of each post, (N,) of str; None for a post that cannot be read."""
        return np.array(self.predictions(posts).labels, dtype=object)

    def predict_proba(self, posts: Any) -> np.ndarray[Any, Any]:
        """Probabilities (N, K), columns as in classes_; NaN for a post that cannot be read."""
        return self.predictions(posts).probs

    def predictions(self, posts: Any) -> Predictions:
        """Labels, probabilities, ids and unreadable rows together."""
        fitted = self._fitted()
        table = load_posts(posts, fitted.config.data.columns, optional=UNREAD_IN_PREDICT)
        return fitted.predict(table, self.progress)

    def evaluate(
        self, posts: Any, split: str | None = None, by: str | None = None
    ) -> dict[str, Any]:
        """Metrics on the labelled posts, of one split if named. Returns: see evaluate_classifiers.

        by: a column of the table, such as "labels.text", or two as "labels.text==labels.image":
            the metrics for each of its values too.
        Raises: DataError: no labelled post, a label that was not trained, or no such column.
        """
        fitted = self._fitted()
        optional = set(UNREAD_IN_PREDICT) - {"label"} - ({"split"} if split else set())
        columns = fitted.config.data.columns
        table = load_posts(posts, columns, ("label",), optional, extra=columns_of(by))
        return evaluate_classifiers([fitted], table, split or "all", self.progress, by)

    def save(self, folder: str | Path) -> None:
        """Write the trained classifier to a folder."""
        save_model(self._fitted(), Path(folder))

    @classmethod
    def load(cls, folder: str | Path, corpus: str | Path | None = None) -> "PostClassifier":
        """Read a saved classifier; a run's `seed-N/model` is one. Never asks the network.

        corpus: where the corpus is now; None: where it was in training.
        """
        loaded = cls()
        moved = None if corpus is None else Path(corpus)
        loaded.classifier = load_model(Path(folder)).with_corpus(moved)
        loaded.given_config = loaded.classifier.config
        return loaded

    def _fitted(self) -> Classifier:
        if self.classifier is None:
            raise ModelError(
                "PostClassifier", "a trained classifier", "an untrained one", "Call fit first."
            )
        return self.classifier
