"""A teacher's probabilities for unlabelled posts → soft labels, how far they are trusted, and why.

Source of `adaptive`: Wang et al. 2023, FreeMatch, section 4 (class-wise thresholds), with the mean
confidence of a class over all unlabelled posts in place of a running average.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from postsense.arrays import Array
from postsense.config import SelfTrainingSettings
from postsense.retrieval.borrowing import Pairs


@dataclass(frozen=True)
class PseudoLabels:
    """Soft labels of P (labelled post, retrieved post) pairs.

    probs: (P, K) float32, rows sum to 1. weights: (P,) float32 in [0, 1].
    """

    probs: Array
    weights: Array

    @property
    def confidences(self) -> Array:
        """(P,) probability of the likeliest class."""
        highest: Array = self.probs.max(axis=1)
        return highest


def weigh_pseudo_labels(probs: Array, settings: SelfTrainingSettings) -> PseudoLabels:
    """The teacher's probabilities (P, K) with the trust that settings.weighting puts in each."""
    weigh = {"none": _ones, "confidence": _certainties, "adaptive": _above_class_thresholds}
    weights = weigh[settings.weighting](probs, settings.threshold)
    return PseudoLabels(probs, weights.astype(np.float32))


def provenance(
    labels: PseudoLabels, pairs: Pairs, ids: list[str], classes: tuple[str, ...], round_: int
) -> pa.Table:
    """One row a pseudo-label: which post asked, which was retrieved, in which round, how sure.

    ids: of the posts that asked and of the retrieved ones, by their position.
    """
    return pa.table(
        {
            "round": pa.array([round_] * len(labels.weights), pa.int32()),
            "query": [ids[row] for row in pairs.queries],
            "retrieved": [ids[row] for row in pairs.rows],
            "rank": pa.array(pairs.ranks, pa.int32()),
            "score": pa.array(pairs.scores, pa.float32()),
            "label": [classes[number] for number in labels.probs.argmax(axis=1)],
            "confidence": pa.array(labels.confidences, pa.float32()),
            "weight": pa.array(labels.weights, pa.float32()),
        }
    )


def _ones(probs: Array, threshold: float) -> Array:
    return np.ones(len(probs))


def _certainties(probs: Array, threshold: float) -> Array:
    """1 - H(p) / log K: 1 where the teacher is sure, 0 where it knows nothing."""
    safe = np.clip(probs, 1e-12, 1.0)
    entropy = -(safe * np.log(safe)).sum(axis=1)
    certainties: Array = np.clip(1.0 - entropy / np.log(probs.shape[1]), 0.0, 1.0)
    return certainties


def _above_class_thresholds(probs: Array, threshold: float) -> Array:
    """1 where the likeliest class reaches its threshold; classes learned less have lower ones."""
    confidence, likeliest = probs.max(axis=1), probs.argmax(axis=1)
    mean = probs.mean(axis=0)
    thresholds = threshold * mean / mean.max()
    reached: Array = confidence >= thresholds[likeliest]
    return reached
