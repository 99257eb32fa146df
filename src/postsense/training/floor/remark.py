"""A model's answers and simple ones → a sentence, where the model does not stand above them."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from postsense.arrays import Array
from postsense.training.floor.answers import SIMPLEST_FIRST

LEAST_POSTS = 50  # fewer tell nothing
CLEARLY = 2.0  # standard errors by which one model of several must know more than nothing
_ROUNDING = 1e-12
RESULT = "result"
RANDOM = "labels look random: no model beats guessing the most frequent class"


@dataclass(frozen=True)
class Measured:
    """Probabilities of the same posts. labels: (N,); simple by name, result: (N, K).

    where: what posts these are, such as "of val". result: None where it does not answer them.
    """

    labels: Array
    simple: Mapping[str, Array]
    where: str
    result: Array | None = None

    @property
    def answers(self) -> dict[str, Array]:
        """All of them by name."""
        return dict(self.simple) if self.result is None else {**self.simple, RESULT: self.result}

    def right(self, name: str) -> Array:
        """(N,) 1 where an answer is right, else 0."""
        hits: Array = (self.answers[name].argmax(axis=1) == self.labels).astype(np.float64)
        return hits

    def accuracy(self, name: str) -> float:
        """The share of right answers."""
        return float(self.right(name).mean())


def remark_on_floor(
    parts: Sequence[Measured], *, twin: str | None = None, is_random: bool = False
) -> str | None:
    """What a newcomer should know of a result that does no better than a simple answer, else None.

    Of simple answers that the best of all does not beat, nor the result, the simplest is named. To
    beat is to have an accuracy that is higher by more than the standard error of the difference,
    on the same posts.

    parts: where answers are measured, the best suited first; the first counts that has a result and
        posts enough. twin: the simple answer that the result itself is. is_random: folds have told
        that the labels are.
    """
    large = [part for part in parts if len(part.labels) >= LEAST_POSTS]
    measured = next((part for part in large if part.result is not None), None)
    if is_random:
        return RANDOM
    if measured is None:
        return None
    looked_at = {id(part): part for part in (large[0], measured)}.values()
    if not any(knows_something(part, name) for part in looked_at for name in part.answers):
        return RANDOM
    names = [name for name in SIMPLEST_FIRST if name in measured.simple and name != twin]
    best = max((RESULT, *names), key=measured.accuracy)
    for name in names:
        if not (beats(measured, best, name) or beats(measured, RESULT, name)):
            return _sentence(measured, name)
    return None


def beats(measured: Measured, name: str, other: str) -> bool:
    """Whether one answer is more accurate than another, by more than a standard error."""
    return _errors_above_0(measured.right(name) - measured.right(other)) > 1


def knows_something(measured: Measured, name: str) -> bool:
    """Whether an answer goes with the labels at all, however often it names which class.

    Source: ours, after Cohen 1960, A coefficient of agreement: what is agreed beyond chance.
        mean_n p_n(y_n) - sum_k share_k p_n(k), against its standard error
    """
    probs, labels = measured.answers[name], measured.labels
    shares = np.bincount(labels, minlength=probs.shape[1]) / len(labels)
    return _errors_above_0(probs[np.arange(len(labels)), labels] - probs @ shares) > CLEARLY


def _errors_above_0(differences: Array) -> float:
    """How many standard errors a mean of (N,) is above 0."""
    mean, error = float(differences.mean()), float(differences.std() / np.sqrt(len(differences)))
    if abs(mean) < _ROUNDING:
        return 0.0
    return mean / error if error > _ROUNDING else math.copysign(math.inf, mean)


def _sentence(measured: Measured, name: str) -> str:
    better = beats(measured, name, RESULT)
    claim = _claim(name, measured.simple.keys(), "does better" if better else "does as well")
    numbers = f"accuracy {measured.accuracy(name):.3f}, the result {measured.accuracy(RESULT):.3f}"
    told = "" if better else "too close to tell apart "
    return f"{claim} ({numbers}: {told}on {len(measured.labels)} posts {measured.where})"


def _claim(name: str, simple: Collection[str], verb: str) -> str:
    several = verb.replace("does", "do")
    if name == "text" and "image" in simple:
        return f"the pictures add nothing here: the words alone {several}"
    if name == "image" and "text" in simple:
        return f"the words add nothing here: the pictures alone {several}"
    claims = {
        "majority": f"guessing the most frequent class {verb} in accuracy: look at macro F1",
        "tfidf": f"a bag of words {verb}",
        "text": f"plain regression on the words {verb}",
        "image": f"plain regression on the pictures {verb}",
        "regression": f"plain regression on words and pictures {verb}",
    }
    return claims[name]
