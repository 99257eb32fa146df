"""Labelled posts → what simple models say of them: the floor that a trained model stands on."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from postsense.arrays import Array
from postsense.parallel.processes import available_cores
from postsense.training.floor.counted import count_words, merged
from postsense.training.learners.learner import Fold, Lesson, folds_in
from postsense.training.learners.regression import fit_lines, paths_of_lines
from postsense.training.methods.on_vectors import mean_loss

PENALTIES = (1.0, 0.3, 0.1, 0.03)  # of regressions on features, on the mean loss
WORDS_PENALTY = 0.1  # of that on counted words, over the number of posts learned from
SIMPLEST_FIRST = ("majority", "tfidf", "text", "image", "regression")


@dataclass(frozen=True)
class Questions:
    """What simple models learn from, and what they are asked.

    labels: (P,) class numbers, of K, of the posts that are learned from. fold: (P,) of each.
    texts: (P + Q,) of those posts and of Q others; None for a post without. features: by modality,
    (P + Q, D) standardised, 0 for a post that lacks it.
    """

    labels: Array
    fold: Array
    classes: int
    texts: list[str | None]
    features: Mapping[str, Array]


@dataclass(frozen=True)
class SimpleAnswer:
    """What a simple model says. learned: (P, K) of each post by what had not learned from its fold.

    others: (Q, K) by what learned from all P. With one fold alone, learned is NaN, but of
    `majority`, which looks at no post. penalty: that of the regression.
    """

    learned: Array
    others: Array
    penalty: float | None = None


def answer_simply(questions: Questions) -> dict[str, SimpleAnswer]:
    """The answers of SIMPLEST_FIRST that the posts have something for.

    majority: the shares of the classes. tfidf: regression on words and pairs of words, counted.
    text, image, regression: on features of the words, of the picture, of both side by side.
    """
    found = {"majority": _majority(questions)}
    with threadpool_limits(1, user_api="blas"):  # jobs take turns on the cores
        if any(questions.texts[: len(questions.labels)]):
            found["tfidf"] = _regress_on_words(questions)
        parts = _side_by_side(questions.features)
        answers = _each(partial(_regress, questions), list(parts.values()))
    found |= dict(zip(parts, answers, strict=True))
    return {name: found[name] for name in SIMPLEST_FIRST if name in found}


def _side_by_side(features: Mapping[str, Array]) -> dict[str, Array]:
    """The largest first: both modalities in one block of memory, of which each is a part."""
    if len(features) < 2:
        return dict(features)
    both, words = np.hstack([features["text"], features["image"]]), features["text"].shape[1]
    return {"regression": both, "image": both[:, words:], "text": both[:, :words]}


def _each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """The function of each item, on all cores."""
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(function, items))


def _majority(questions: Questions) -> SimpleAnswer:
    posts = len(questions.labels)
    shares = np.bincount(questions.labels, minlength=questions.classes) / posts
    rows = np.broadcast_to(shares, (len(questions.texts), questions.classes))
    return SimpleAnswer(rows[:posts], rows[posts:])


def _regress(questions: Questions, vectors: Array) -> SimpleAnswer:
    """From the firmest penalty on, as long as the loss on folds gets smaller."""
    posts, folds = len(questions.labels), folds_in(questions.fold)
    lesson = _lesson(vectors[:posts], questions)
    weights = np.ones((posts, 1 + len(folds)))  # the first learns from all
    for number, fold in enumerate(folds, start=1):
        weights[fold.answered, number] = 0
    best, least = None, np.inf
    for penalty, lines in paths_of_lines(lesson, weights, PENALTIES):
        found = _unknown(questions)
        for fold, line in zip(folds, lines[1:], strict=True):
            found[fold.answered] = _probs(line.logits(vectors[fold.answered]))
        loss = mean_loss(found, lesson) if folds else 0.0
        if loss >= least:
            break
        least = loss
        best = SimpleAnswer(found, _probs(lines[0].logits(vectors[posts:])), penalty)
    assert best is not None
    return best


def _regress_on_words(questions: Questions) -> SimpleAnswer:
    posts = len(questions.labels)
    counted = count_words([text or "" for text in questions.texts], posts)
    if counted is None:  # no word in any of them
        return _majority(questions)

    def answers(fold: Fold) -> Array:
        vectors = merged(counted.weighed(fold.learned), fold.learned)
        lesson = _lesson(vectors[fold.learned], questions, fold.learned)
        penalty = WORDS_PENALTY / len(fold.learned)
        return _probs(fit_lines(lesson, [penalty])[penalty].logits(vectors[fold.answered]))

    whole = Fold(np.arange(posts), np.arange(posts, len(questions.texts)))
    folds = [whole, *folds_in(questions.fold)]
    others, *parts = _each(answers, folds)
    found = _unknown(questions)
    for fold, probs in zip(folds[1:], parts, strict=True):
        found[fold.answered] = probs
    return SimpleAnswer(found, others, WORDS_PENALTY / posts)


def _lesson(vectors: Array, questions: Questions, rows: Array | slice = slice(None)) -> Lesson:
    labels = questions.labels[rows]
    return Lesson(vectors, labels, np.ones(len(labels)), questions.classes)


def _unknown(questions: Questions) -> Array:
    return np.full((len(questions.labels), questions.classes), np.nan)


def _probs(logits: Array) -> Array:
    probs: Array = softmax(logits, axis=1)
    return probs
