"""What a user would try first, with scikit-learn: answers that a method has to beat.

`text`, `image` and `both`: LogisticRegression on standardised frozen features of the built-in
encoders, with the C in PENALTIES that is right most often in three folds of the posts it learns
from. `tf-idf`: words and pairs of words, C = 10. `majority`: the most frequent class,
where one is.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from postsense.arrays import Array
from postsense.inputs.preparation import PreparedPosts
from postsense.training.folds import folds_of

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
REFERENCE, MAJORITY = "regression, both", "majority"
PARTS = {
    "regression, text": ("text",),
    "regression, image": ("image",),
    REFERENCE: ("text", "image"),
}
SIMPLE = (MAJORITY, "tf-idf", *PARTS)


@dataclass(frozen=True)
class Lesson:
    """Posts to learn from. prepared: all posts; rows: (P,) those of the lesson.

    labels: (P,) class numbers. contents: (P, 3) numbers that duplicates share, -1: none.
    """

    prepared: PreparedPosts
    rows: Array
    labels: Array
    contents: Array


@dataclass(frozen=True)
class Answer:
    """Class numbers (N,) of the posts that were asked, what was chosen, and how long it took."""

    predicted: Array
    how: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def answer_simply(name: str, lesson: Lesson, asked: Array) -> Answer:
    """What the simple answer of this name says of some rows of the posts."""
    if name == MAJORITY:
        return Answer(np.full(len(asked), np.bincount(lesson.labels).argmax()))
    if name == "tf-idf":
        return _count_words(lesson, asked)
    scaler = StandardScaler().fit(_vectors(lesson.prepared, PARTS[name], lesson.rows))
    learned, unseen = (
        scaler.transform(_vectors(lesson.prepared, PARTS[name], rows))
        for rows in (lesson.rows, asked)
    )
    fold = folds_of(lesson.labels, lesson.contents, 3, seed=0)
    penalty = _best_penalty(learned, lesson.labels, fold)
    fit = LogisticRegression(C=penalty, max_iter=500)
    return Answer(_quietly(fit.fit, learned, lesson.labels).predict(unseen), {"C": penalty})


def _vectors(prepared: PreparedPosts, parts: Sequence[str], rows: Array) -> Array:
    columns = dict[str, Any](prepared.columns.read)
    return np.hstack([columns[part].batch(rows).pooled.numpy() for part in parts])


def _count_words(lesson: Lesson, asked: Array) -> Answer:
    texts = np.array([text or "" for text in lesson.prepared.posts.column("text")], dtype=object)
    counts = TfidfVectorizer(ngram_range=(1, 2))
    fit = LogisticRegression(C=10, max_iter=500)
    _quietly(fit.fit, counts.fit_transform(texts[lesson.rows]), lesson.labels)
    return Answer(fit.predict(counts.transform(texts[asked])))


def _best_penalty(x: Array, y: Array, fold: Array) -> float:
    """The C with the best accuracy on folds; of equals the smallest."""
    right = np.zeros(len(PENALTIES))
    for number in np.unique(fold):
        held = fold == number
        fit = LogisticRegression(max_iter=500, warm_start=True)  # each C begins at the one before
        for place, penalty in enumerate(PENALTIES):
            _quietly(fit.set_params(C=penalty).fit, x[~held], y[~held])
            right[place] += (fit.predict(x[held]) == y[held]).sum()
    return PENALTIES[int(right.argmax())]


def _quietly(fit: Callable[..., Any], x: Any, y: Array) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(x, y)
