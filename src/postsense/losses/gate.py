"""How well words and pictures of a batch are matched already → whether to contrast them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from postsense.config import LossSettings
from postsense.config.encoders import Fidelity
from postsense.inputs.batches import PostBatch
from postsense.model.outputs import PostOutput

CLOSE = 1e-9  # cosines that differ by less are equal but for rounding


@dataclass(frozen=True)
class Consistency:
    """below: pairs of a text and a picture less alike than a post's own are on average.

    of: the number of pairs it is set against.
    """

    below: int
    of: int

    @property
    def score(self) -> float:
        """below / of, higher is better; 1 if there is no pair."""
        return self.below / self.of if self.of else 1.0


def needs_second_step(
    text: Tensor,
    image: Tensor,
    labels: Tensor,
    threshold: float,
    fidelity: Fidelity = "corrected",
) -> bool:
    """Whether words and pictures of a batch are matched too badly to leave out the second step.

    Source: Wu & Li 2026, arXiv 2602.20767, algorithm 1; released code:
        skip if count >= floor(threshold * M), see `released_consistency`
    Deviation: see `consistency`; skip if the score >= threshold. With "released" none.

    Args:
        text, image: (B, P) float, row i of one post. labels: (B,) int64.
        threshold: in [0, 1]; 0: never a second step.
    """
    if fidelity == "released":
        counted = released_consistency(text, image, labels)
        return counted.below < math.floor(threshold * counted.of)
    return consistency(text, image, labels).score < threshold


def consistency(text: Tensor, image: Tensor, labels: Tensor) -> Consistency:
    """Of the pairs of different labels, how many are less alike than a post's own pair.

    Source: ours, after Wu & Li 2026, arXiv 2602.20767.
        G_ij = cos(t_i, v_j),  d = mean_i G_ii
        below = |{(i, j): y_i != y_j, G_ij < d}|,  of = |{(i, j): y_i != y_j}|
    Deviation: the released score counts pairs of any labels against the number of pairs of the
    same label, so that vectors of chance are above 2/3 at once, and its sigmoid is 1.0 for most
    vectors, which leaves the decision to rounding. This one is in [0, 1]: about 0.5 at chance, 1
    where labels are wholly apart, 0 where all vectors are the same.

    text, image: (B, P) float, any norm. labels: (B,) int64. No gradient.
    """
    different = labels[:, None] != labels[None, :]  # (B, B)
    directions = [F.normalize(side.detach().double(), dim=1) for side in (text, image)]
    cosine = directions[0] @ directions[1].T  # autocast leaves double precision as it is
    below = (cosine < cosine.diagonal().mean() - CLOSE) & different
    return Consistency(int(below.sum()), int(different.sum()))


def released_consistency(text: Tensor, image: Tensor, labels: Tensor) -> Consistency:
    """The count of the released code and the number M of pairs that it is set against.

    Source: Wu & Li 2026, arXiv 2602.20767, released code.
        G_ij = sigmoid(t_i . v_j),  d = mean_i G_ii
        below = |{(i, j): G_ij < d}|,  of = M = |{(i, j): y_i = y_j}|
    Deviation: none; the score can exceed 1.

    text, image: (B, P) float, as they are. labels: (B,) int64. No gradient.
    """
    with torch.autocast(text.device.type, enabled=False):
        alike = torch.sigmoid(text.detach().float() @ image.detach().float().T)
    same = labels[:, None] == labels[None, :]
    return Consistency(int((alike < alike.diagonal().mean()).sum()), int(same.sum()))


def second_step_needed(output: PostOutput, batch: PostBatch, settings: LossSettings) -> bool:
    """Whether words and pictures of the batch are matched too badly to leave out inter_modal."""
    aligned, rows = output.aligned, batch.has_both
    assert aligned is not None and batch.labels is not None
    threshold, fidelity = settings.gate_threshold, settings.fidelity
    text, image, labels = aligned.text[rows], aligned.image[rows], batch.labels[rows]
    return needs_second_step(text, image, labels, threshold, fidelity)
