"""What pseudo-labels say, how far they are trusted and where they come from."""

import math

import numpy as np
import pytest

from postsense.config import SelfTrainingSettings
from postsense.posts import posts_of_texts
from postsense.retrieval.borrowing import Pairs
from postsense.training.pseudo_labels import provenance, weigh_pseudo_labels

PROBS = np.array([[0.9, 0.05, 0.05], [0.4, 0.3, 0.3], [0.2, 0.5, 0.3]], dtype=np.float32)


def weights(**settings: object) -> np.ndarray:
    return weigh_pseudo_labels(PROBS, SelfTrainingSettings.model_validate(settings)).weights


def test_without_weighting_all_count_alike() -> None:
    assert weights(weighting="none").tolist() == [1.0, 1.0, 1.0]


def test_confidence_is_one_minus_the_normalised_entropy() -> None:
    expected = [1 + sum(p * math.log(p) for p in row) / math.log(3) for row in PROBS.tolist()]
    assert weights(weighting="confidence").tolist() == pytest.approx(expected, abs=1e-6)


def test_a_sure_teacher_counts_fully_and_one_that_knows_nothing_not_at_all() -> None:
    probs = np.array([[1.0, 0.0], [0.5, 0.5]], dtype=np.float32)
    found = weigh_pseudo_labels(probs, SelfTrainingSettings(weighting="confidence")).weights
    assert found.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_adaptive_thresholds_are_lower_for_classes_that_are_learned_less() -> None:
    mean = PROBS.mean(axis=0)
    thresholds = [0.8 * m / mean.max() for m in mean]  # FreeMatch: tau * mean_k / max mean
    expected = [float(row.max() >= thresholds[row.argmax()]) for row in PROBS]
    assert expected == [1.0, 0.0, 1.0]
    assert weights(weighting="adaptive", threshold=0.8).tolist() == expected


def test_every_pseudo_label_says_who_asked_and_what_was_found() -> None:
    pairs = Pairs(
        posts_of_texts(["x", "y"], "corpus"),
        queries=np.array([0, 0, 1]),
        rows=np.array([2, 3, 2]),
        ranks=np.array([0, 1, 0]),
        scores=np.array([0.9, 0.5, 0.7], dtype=np.float32),
    )
    labels = weigh_pseudo_labels(PROBS, SelfTrainingSettings(weighting="none"))
    table = provenance(labels, pairs, ["p0", "p1", "c0", "c1"], ("a", "b", "c"), round_=2)
    rows = table.to_pylist()
    assert [(row["query"], row["retrieved"]) for row in rows] == [
        ("p0", "c0"),
        ("p0", "c1"),
        ("p1", "c0"),
    ]
    assert [row["label"] for row in rows] == ["a", "a", "b"]
    assert {row["round"] for row in rows} == {2}
    assert [row["rank"] for row in rows] == [0, 1, 0]
    assert rows[0]["confidence"] == pytest.approx(0.9)
    assert rows[1]["score"] == pytest.approx(0.5)


def test_pairs_are_kept_for_posts_that_train_and_can_be_read() -> None:
    pairs = Pairs(
        posts_of_texts(["x", "y"], "corpus"),
        queries=np.array([0, 0, 1]),
        rows=np.array([2, 3, 2]),
        ranks=np.array([0, 1, 0]),
        scores=np.zeros(3, dtype=np.float32),
    )
    kept = pairs.among(np.array([0]), usable=np.array([0, 1, 2]))
    assert (kept.queries.tolist(), kept.rows.tolist()) == ([0], [2])
