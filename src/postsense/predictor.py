"""A trained classifier that is opened once and answers many calls."""

from collections.abc import Sequence
from threading import Lock
from typing import Any, Self

import numpy as np

from postsense.evaluation.evaluate import evaluate_classifiers
from postsense.posts import Posts
from postsense.prediction.classifier import (
    AnyClassifier,
    Predictions,
    outputs_of,
    predictions_from,
    prepare_new,
)
from postsense.prediction.evidence import with_evidence
from postsense.progress import Progress, silent
from postsense.retrieval.opened import Opened


class Predictor:
    """The classifiers of one run, with all that their answers take: encoders and corpus.

    These are opened by the first call and stay open. Answers are those of a fresh opening, to the
    bit, whatever was asked before: a corpus that changes on disk is opened again; encoders are
    read once. Features of a handful of posts are held in memory and written to the folder of what
    is kept when there are enough of them, or by `close`. Threads take turns.

    >>> with Predictor(load_run(Path("run"))) as predictor:
    ...     predictor.predict(load_posts("new.jsonl")).labels
    """

    def __init__(self, classifiers: Sequence[AnyClassifier]) -> None:
        """classifiers: the seeds of one run, whose probabilities are averaged."""
        self.classifiers = tuple(classifiers)
        self._opened, self._turn = Opened(), Lock()

    def predict(self, posts: Posts, progress: Progress = silent) -> Predictions:
        """Classify N posts; labels are not looked at. Raises: as `average_predictions`.

        An ensemble also says what its members, and words, picture and comments, brought.
        """
        with self._turn:
            rows = np.arange(len(posts))
            prepared = prepare_new(posts, self.classifiers[0], progress, opened=self._opened)
            outputs = outputs_of(self.classifiers, prepared, rows, progress)
            predictions = predictions_from(outputs, self.classifiers, prepared, rows)
            return with_evidence(predictions, self.classifiers, outputs, prepared, rows)

    def evaluate(
        self,
        posts: Posts,
        split: str | None = None,
        progress: Progress = silent,
        by: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Metrics on labelled posts; options, and what is raised, are `evaluate_classifiers`'."""
        with self._turn:
            return evaluate_classifiers(
                self.classifiers, posts, split, progress, by, opened=self._opened, **options
            )

    def close(self) -> None:
        """Write what was computed and let go of every file; a call after that opens them again."""
        with self._turn:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[AnyClassifier, ...]]]:
        """A copy, also in another process, opens what it needs for itself."""
        return type(self), (self.classifiers,)
