"""What members said of posts they had not seen → their weights, and what is done to the mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from postsense.arrays import Array
from postsense.prediction.ensemble import Pool
from postsense.prediction.inference import softmax

SHIFTS = (0.4, 0.3, 0.2, 0.1)  # tau, the first that costs no accuracy is taken
ERRORS_OF_LEARNED = 2  # standard errors by which learned weights must win
FEW_POSTS = 400  # below which nothing is chosen by what folds showed
_LEAST = 1e-4  # probability whose logarithm is the worst that a post can cost
_ROUNDS = 50  # of greedy selection
_STEPS = 200  # of stacking
Fit = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Chosen:
    """weights: (M,) of the members. how: "equal", "selection", "stacking", or what is left out.

    losses, accuracies: by how, the mean loss on folds, in nats, once the mean is neither too sure
    nor too unsure, and the share of posts that are answered right.
    """

    weights: Array
    how: str
    losses: Mapping[str, float] = field(default_factory=dict)
    accuracies: Mapping[str, float] = field(default_factory=dict)


def post_losses(probs: Array, labels: Array) -> Array:
    """Cross-entropy (N,), in nats, of probabilities (N, K)."""
    losses: Array = -np.log(np.clip(probs[np.arange(len(labels)), labels], _LEAST, 1))
    return losses


def equal_weights(members: Array) -> Array:
    """Weights (M,) that are the same for all members of a mask (M,)."""
    weights: Array = members / members.sum()
    return weights


def greedy_selection(answers: Array, labels: Array) -> Array:
    """Weights (M,) of members that are added one by one, each as often as it helps most.

    Source: Caruana et al. 2004, Ensemble selection from libraries of models, section 2.
    Deviation: the loss is minimised rather than a chosen metric, and the best prefix is kept.

    answers: (M, N, K) probabilities of posts that the members had not seen.
    """
    total, counts = np.zeros(answers.shape[1:]), np.zeros(len(answers))
    best, kept = np.inf, counts
    for taken in range(1, _ROUNDS + 1):
        losses = [post_losses((total + one) / taken, labels).mean() for one in answers]
        added = int(np.argmin(losses))
        total, counts = total + answers[added], counts + np.eye(len(answers))[added]
        if losses[added] < best:
            best, kept = losses[added], counts
    weights: Array = kept / kept.sum()
    return weights


def stacking(answers: Array, labels: Array) -> Array:
    """Weights (M,) >= 0, which sum to 1, of the mean with the least loss.

    Source: Yao et al. 2018, Using stacking to average Bayesian predictive distributions, eq. 4,
    maximised by expectation maximisation of a mixture whose parts are fixed.
    """
    right = np.clip(answers[:, np.arange(len(labels)), labels], _LEAST, 1)  # (M, N)
    weights = np.full(len(answers), 1 / len(answers))
    for _ in range(_STEPS):
        weights = (weights[:, None] * right / (weights @ right)).mean(axis=1)
    return weights


def choose_weights(
    answers: Array,
    labels: Array,
    fold: Array,
    subsets: Mapping[str, Array],
    pooling: str,
    prior: Array,
) -> Chosen:
    """Weights of the simplest way that no later one beats in accuracy by one standard error.

    Learned weights have to win by two, with weights of the other folds wherever ways are compared.
    Losses do not decide: means that agree in nearly every label differ in them beyond any error,
    and the way of the least loss lost accuracy and F1 on other folds. Of fewer than FEW_POSTS
    answers nothing is chosen.

    answers: (M, N, K) of posts that the members had not seen. fold: (N,). subsets: by name, members
        (M,) bool that may have equal weights, the first of which is the default. pooling: as
        `EnsembleSettings` has it. prior: (K,) shares of the classes in training, by which each way
        is shifted before it is compared: the mean of cautious members gains most by that.
    """
    fits: dict[str, Fit] = {"selection": greedy_selection, "stacking": stacking}
    fixed = {name: equal_weights(mask) for name, mask in subsets.items()}
    if pooling == "equal" or not len(labels) or (pooling == "auto" and len(labels) < FEW_POSTS):
        return Chosen(next(iter(fixed.values())), "equal")
    means = {name: np.tensordot(weights, answers, axes=1) for name, weights in fixed.items()}
    for name, fit in fits.items():
        means[name] = _crossed(fit, answers, labels, fold)
    right = {name: _shifted_right(mean, labels, prior) for name, mean in means.items()}
    asked = list(means) if pooling == "auto" else [pooling]
    best = asked[0]
    for name in asked[1:]:
        gained = right[name].astype(float) - right[best]
        errors = ERRORS_OF_LEARNED if name in fits else 1
        if gained.mean() > errors * gained.std() / np.sqrt(len(gained)):
            best = name
    weights = fixed[best] if best in fixed else fits[best](answers, labels)
    losses = {name: float(_losses(mean, labels).mean()) for name, mean in means.items()}
    accuracies = {name: float(each.mean()) for name, each in right.items()}
    return Chosen(weights, best, losses, accuracies)


def _shifted_right(mean: Array, labels: Array, prior: Array) -> Array:
    """Which posts (N,) a mean answers right, once rare classes are raised as it is best for it."""
    alone = Pool((1.0,), tuple(prior.tolist()))
    shifted = replace(alone, prior_shift=_shift(alone, mean[None], labels))
    right: Array = shifted.join(mean[None]).argmax(axis=1) == labels
    return right


def _losses(mean: Array, labels: Array) -> Array:
    """The loss of each post by a mean (N, K), once it is neither too sure nor too unsure."""
    return post_losses(_tempered(mean, _temperature(mean, labels)), labels)


def _crossed(fit: Fit, answers: Array, labels: Array, fold: Array) -> Array:
    """The mean (N, K) of each post by weights that were learned without its fold."""
    mean = np.zeros(answers.shape[1:])
    for each in np.unique(fold):
        held = fold == each
        weights = np.full(len(answers), 1 / len(answers))
        if not held.all():
            weights = fit(answers[:, ~held], labels[~held])
        mean[held] = np.tensordot(weights, answers[:, held], axes=1)
    return mean


def choose_pool(
    answers: Array, labels: Array, weights: Array, prior: Array, shift: float | None
) -> Pool:
    """The pool of these weights: trusted if it knows more than chance, shifted, and tempered.

    shift: tau of the settings; None: the first of SHIFTS whose accuracy is not below that without
        by more than half a standard error of the difference.
    Of fewer than FEW_POSTS answers nothing is chosen: tau is the first of SHIFTS.
    """
    plain = Pool(tuple(weights.tolist()), tuple(prior.tolist()))
    if len(labels) < FEW_POSTS:
        return Pool(plain.weights, plain.prior, SHIFTS[0] if shift is None else shift)
    mean = plain.join(answers)
    if knows_nothing(_tempered(mean, _temperature(mean, labels)), labels, prior):
        return Pool(plain.weights, plain.prior, trust=0.0)
    tau = _shift(plain, answers, labels) if shift is None else shift
    shifted = Pool(plain.weights, plain.prior, tau)
    return Pool(plain.weights, plain.prior, tau, _temperature(shifted.join(answers), labels))


def knows_nothing(probs: Array, labels: Array, prior: Array) -> bool:
    """Whether the shares of the classes alone tell labels better, by more than a standard error."""
    gained = post_losses(np.broadcast_to(prior, probs.shape), labels) - post_losses(probs, labels)
    return bool(gained.mean() < -gained.std() / np.sqrt(len(gained)))


def _shift(plain: Pool, answers: Array, labels: Array) -> float:
    right = plain.join(answers).argmax(axis=1) == labels
    for tau in SHIFTS:
        shifted = Pool(plain.weights, plain.prior, tau).join(answers).argmax(axis=1) == labels
        lost = right.astype(float) - shifted
        if lost.mean() <= 0.5 * lost.std() / np.sqrt(len(lost)):
            return tau
    return 0.0


def _tempered(probs: Array, temperature: float) -> Array:
    """Probabilities^(1/T), which sum to 1 again."""
    return softmax(np.log(np.clip(probs, 1e-12, None)) / temperature)


def _temperature(probs: Array, labels: Array) -> float:
    """T in [1/4, 4] of the least loss of probabilities^(1/T)."""

    def loss(log_temperature: float) -> float:
        return float(post_losses(_tempered(probs, np.exp(log_temperature)), labels).mean())

    how: Any = {"bounds": (-np.log(4), np.log(4)), "method": "bounded"}
    return float(np.exp(minimize_scalar(loss, **how).x))
