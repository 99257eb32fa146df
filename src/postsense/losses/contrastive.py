"""How far posts of one label lie together, and from those of others, as a loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

from postsense.config import LossSettings
from postsense.config.encoders import Fidelity
from postsense.inputs.batches import PostBatch
from postsense.losses.total import Weighted
from postsense.model.outputs import PostOutput


def supervised_contrastive_loss(
    anchors: Tensor,
    others: Tensor,
    labels: Tensor,
    temperature: float,
    *,
    same_view: bool,
    fidelity: Fidelity = "corrected",
) -> Tensor:
    """Mean cross-entropy of finding the posts of an anchor's label in the batch.

    Source: Wu & Li 2026, arXiv 2602.20767, eq. 4-6, after Khosla et al. 2020, eq. 2.
        s_ij = cos(a_i, o_j) / temperature
        L = -1/|A| sum_{i in A} 1/|P(i)| sum_{p in P(i)} log( e^s_ip / sum_{j in C(i)} e^s_ij )
        one view (eq. 4, 5):  P(i) = {p != i: y_p = y_i},  C(i) = {j != i}
        two views (eq. 6):    P(i) = {p: y_p = y_i},       C(i) = all posts, i among them
        A = {i: P(i) is not empty}
    Deviation: with "corrected" none; the text of the paper does not say what a lone anchor counts.
    The released code, here "released", sets s_ii to 0 in one view, which adds 1 to the sum over
    C(i), and divides by B, so that anchors without a positive count as 0. In two views there is no
    such anchor and no difference.

    Args:
        anchors, others: (B, P) float, row i of one post; any norm, normalised inside.
        labels: (B,) int64. temperature: t > 0, no unit.
        same_view: whether anchors and others are the same vectors, so that i must not find itself.
    Returns: scalar, nats, >= 0; lower is better; 0 if no anchor has a positive.
    """
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive = labels[:, None] == labels[None, :]  # (B, B)
    positive = positive & ~own if same_view else positive
    has_positive = positive.any(dim=1)
    if not has_positive.any():
        return (anchors.sum() + others.sum()) * 0.0  # zero that still has a gradient
    with torch.autocast(anchors.device.type, enabled=False):  # half precision would round s to 0.1
        similarity = _directions(anchors) @ _directions(others).T / temperature  # (B, B)
    released, compared = fidelity == "released", similarity
    if same_view:
        compared = similarity.masked_fill(own, 0.0 if released else -torch.inf)
    log_prob = similarity - compared.logsumexp(dim=1, keepdim=True)
    per_anchor = -(log_prob * positive).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return per_anchor.mean() if released else per_anchor[has_positive].mean()


def _directions(vectors: Tensor) -> Tensor:
    """(B, P) of norm 1; a zero vector has no direction and is sent no gradient."""
    vectors = vectors.float()
    zero = (vectors == 0).all(dim=1, keepdim=True)
    return F.normalize(vectors.masked_fill(zero, 0.0), dim=1)


def intra_text_term(settings: LossSettings, class_weights: Tensor | None = None) -> Weighted:
    """Supervised contrast among the texts of the batch (L_clt)."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert output.aligned is not None
        texts, rows = output.aligned.text, batch.present("text")
        return _contrast(texts, texts, batch, rows, settings)

    return Weighted(settings.intra_text, term)


def intra_image_term(settings: LossSettings, class_weights: Tensor | None = None) -> Weighted:
    """Supervised contrast among the pictures of the batch (L_cli)."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert output.aligned is not None
        pictures, rows = output.aligned.image, batch.present("image")
        return _contrast(pictures, pictures, batch, rows, settings)

    return Weighted(settings.intra_image, term)


def inter_modal_term(settings: LossSettings, class_weights: Tensor | None = None) -> Weighted:
    """Supervised contrast of pictures with the texts of posts that have both (L_clm)."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        aligned = output.aligned
        assert aligned is not None
        return _contrast(aligned.image, aligned.text, batch, batch.has_both, settings)

    return Weighted(settings.inter_modal, term)


def _contrast(
    anchors: Tensor, others: Tensor, batch: PostBatch, rows: Tensor, settings: LossSettings
) -> Tensor:
    """Vectors given twice are one view. rows: (B,) bool, the posts to compare."""
    assert batch.labels is not None
    return supervised_contrastive_loss(
        anchors[rows],
        others[rows],
        batch.labels[rows],
        settings.contrast_temperature,
        same_view=anchors is others,
        fidelity=settings.fidelity,
    )
