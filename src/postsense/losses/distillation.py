"""How far a student is from its teacher's soft labels."""

from torch import Tensor
from torch.nn import functional as F

from postsense.inputs.batches import PostBatch
from postsense.losses.total import Weighted
from postsense.model.outputs import PostOutput


def distillation_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean divergence of the student from the teacher, each post by its weight.

    Source: Xu & Li 2022, Comment-Aware Self-Training, eq. 8, second term; released code.
        L = 1/B sum_i w_i sum_k t_ik (log t_ik - log s_ik),  s = softmax(logits)
    Deviation: the weights w_i, ours; with ones it is the released code's.

    Args:
        logits: (B, K) float, of the student. targets: (B, K) float, probabilities of the teacher.
        weights: (B,) float in [0, 1], how far each target is trusted.
    Returns: scalar, nats, >= 0; 0 if the student says what the teacher says.
    """
    log_student = F.log_softmax(logits, dim=1)
    per_post = F.kl_div(log_student, targets, reduction="none").sum(dim=1)
    return (weights * per_post).mean()


def distillation_term(weight: float) -> Weighted:
    """Divergence from the soft labels of the batch, each by its weight."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        assert batch.targets is not None and batch.weights is not None
        return distillation_loss(output.logits, batch.targets, batch.weights)

    return Weighted(weight, term)
