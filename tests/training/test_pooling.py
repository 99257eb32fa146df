"""How members are weighed, and what becomes of their mean."""

import numpy as np
import pytest

from postsense.prediction.ensemble import Pool
from postsense.training.ensemble.pooling import (
    choose_pool,
    choose_weights,
    equal_weights,
    greedy_selection,
    knows_nothing,
    post_losses,
    stacking,
)

LABELS = np.arange(600) % 3


def member(sureness: float, seed: int, labels: np.ndarray = LABELS) -> np.ndarray:
    """Probabilities of one that is right more often the surer it is."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(len(labels), 3)) + sureness * np.eye(3)[labels]
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True)


def test_the_pool_is_its_equation() -> None:
    answers = np.array([[[0.6, 0.4]], [[0.2, 0.8]]])
    pool = Pool((0.25, 0.75), (0.9, 0.1), prior_shift=0.5, temperature=2.0, trust=0.8)
    expected = []
    for k, prior in enumerate(pool.prior):
        mean = 0.25 * answers[0, 0, k] + 0.75 * answers[1, 0, k]
        mixed = 0.8 * mean + 0.2 * prior
        expected.append((mixed * prior**-0.5) ** (1 / 2.0))
    whole = sum(expected)
    assert pool.join(answers)[0].tolist() == pytest.approx([one / whole for one in expected])


def test_without_trust_every_post_gets_the_shares_of_the_classes() -> None:
    pool = Pool((1.0,), (0.7, 0.2, 0.1), trust=0.0)
    assert pool.join(member(3.0, 0)[None])[0].tolist() == pytest.approx([0.7, 0.2, 0.1])


def test_greedy_selection_adds_whoever_helps_most_each_time() -> None:
    answers = np.stack([member(1.0, 0), member(0.5, 1), member(0.0, 2)])
    chosen: list[int] = []
    history = []
    for _ in range(50):
        losses = [
            post_losses(answers[[*chosen, each]].mean(axis=0), LABELS).mean() for each in range(3)
        ]
        chosen.append(int(np.argmin(losses)))
        history.append(min(losses))
    kept = chosen[: int(np.argmin(history)) + 1]
    expected = np.bincount(kept, minlength=3) / len(kept)
    assert greedy_selection(answers, LABELS).tolist() == pytest.approx(expected.tolist())


def test_no_weights_have_less_loss_than_those_of_stacking() -> None:
    answers = np.stack([member(1.0, 0), member(1.0, 1), member(0.2, 2)])
    best = post_losses(np.tensordot(stacking(answers, LABELS), answers, axes=1), LABELS).mean()
    for weights in np.random.default_rng(0).dirichlet(np.ones(3), size=200):
        other = post_losses(np.tensordot(weights, answers, axes=1), LABELS).mean()
        assert other > best - 1e-4


def test_equal_weights_stay_unless_others_are_clearly_better() -> None:
    fold = np.arange(600) % 5
    alike = np.stack([member(1.0, seed) for seed in range(3)])
    everything = {"equal": np.ones(3, dtype=bool)}
    assert choose_weights(alike, LABELS, fold, everything, "auto").how == "equal"
    spoiled = np.stack([member(3.0, 0), member(-2.0, 1), member(-2.0, 2)])
    chosen = choose_weights(spoiled, LABELS, fold, everything, "auto")
    assert chosen.how != "equal" and chosen.weights[0] == pytest.approx(1, abs=0.1)


def test_a_modality_that_hurts_is_left_out() -> None:
    fold = np.arange(600) % 5
    answers = np.stack([member(2.0, 0), member(-1.0, 1), member(2.0, 2)])
    words = np.array([True, False, True])
    subsets = {"equal": np.ones(3, dtype=bool), "words alone": words}
    losses = choose_weights(answers, LABELS, fold, subsets, "auto").losses
    assert losses["words alone"] < losses["equal"]
    fixed = choose_weights(answers[[0, 1]], LABELS, fold, {"equal": np.ones(2, bool)}, "equal")
    assert fixed.weights.tolist() == [0.5, 0.5] and equal_weights(words).tolist() == [0.5, 0, 0.5]


def test_chance_is_told_from_knowledge() -> None:
    prior = np.ones(3) / 3
    assert knows_nothing(member(0.0, 0), LABELS, prior)
    assert not knows_nothing(member(1.0, 0), LABELS, prior)
    assert choose_pool(member(0.0, 0)[None], LABELS, np.ones(1), prior, None).trust == 0


def test_rare_classes_are_raised_as_far_as_no_accuracy_is_lost() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random(2000) < 0.1).astype(int)
    logits = generator.normal(size=(2000, 2)) + np.eye(2)[labels] + np.log([0.9, 0.1])
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    prior = np.array([0.9, 0.1])
    pool = choose_pool(probs[None], labels, np.ones(1), prior, None)
    plain = probs.argmax(axis=1) == labels
    shifted = pool.join(probs[None]).argmax(axis=1) == labels
    lost = plain.astype(float) - shifted
    assert lost.mean() <= 0.5 * lost.std() / np.sqrt(2000) and pool.prior_shift < 0.4
    assert choose_pool(probs[None], labels, np.ones(1), prior, 0.4).prior_shift == 0.4


def test_the_temperature_mends_answers_that_are_too_sure() -> None:
    calm = member(1.0, 0)
    sure = calm**3 / (calm**3).sum(axis=1, keepdims=True)
    pool = choose_pool(sure[None], LABELS, np.ones(1), np.ones(3) / 3, 0.0)
    assert pool.temperature > 1.5
    assert post_losses(pool.join(sure[None]), LABELS).mean() < post_losses(sure, LABELS).mean()
