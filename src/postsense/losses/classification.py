"""How wrong the predicted classes are."""

import torch
from torch import Tensor
from torch.nn import functional as F

from postsense.config import LossSettings
from postsense.inputs.batches import PostBatch
from postsense.losses.total import Weighted
from postsense.model.outputs import PostOutput


def cross_entropy_loss(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy of the labels under softmax(logits).

    Source: ours; the weighting follows Sanchez Villegas et al. 2024.
        L = -1/B sum_i w_{y_i} log p_{i, y_i}
    Deviation: divided by B, not by the sum of the weights as torch does, so that a batch of rare
    posts counts more than a batch of common ones.

    Args:
        logits: (B, K) float. labels: (B,) int64 in [0, K).
        class_weights: (K,) float > 0, None for ones.
        label_smoothing: mass in [0, 1) spread evenly over all K classes.
    Returns: scalar, nats, >= 0; lower is better.
    """
    per_post = F.cross_entropy(
        logits, labels, class_weights, label_smoothing=label_smoothing, reduction="none"
    )
    return per_post.mean()


def balanced_class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (K,) that give every class the same say: N / (K * posts of the class).

    labels: (N,) int64. A class without posts gets weight 0, as no label can ask for it.
    """
    counts = torch.bincount(labels, minlength=classes).float()
    return torch.where(counts > 0, len(labels) / (classes * counts.clamp(min=1)), 0.0)


def classification_term(settings: LossSettings, class_weights: Tensor | None) -> Weighted:
    """Cross-entropy on the labels of the batch, with the weight that ITC and ITM leave it.

    class_weights: (K,) or None.
    """

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert batch.labels is not None
        weights = None if class_weights is None else class_weights.to(output.logits.device)
        return cross_entropy_loss(output.logits, batch.labels, weights, settings.label_smoothing)

    left = 1 - settings.itc - settings.itm
    return Weighted(settings.classification * left, term)
