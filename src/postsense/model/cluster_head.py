"""Logits of clusters → logits of the classes that they were named after."""

import torch
from torch import Tensor, nn

UNNAMED = -1e4  # logit of a class without a cluster: finite, and never the largest


class ClusterNames(nn.Module):
    """What comes after the head of a model that was trained to tell clusters.

    The probability of a class is the sum of those of its clusters; logits are their logarithms.
    Source: ours. Sun et al. 2023, ITRp, section 3.5, rename the likeliest cluster; with one
    cluster a class that is the same label.
    """

    def __init__(self, belongs: Tensor, classes: int) -> None:
        """belongs: (k,) int64, the class number of each cluster. classes: K."""
        super().__init__()
        self.belongs: Tensor
        self.register_buffer("belongs", belongs)
        self.classes = classes

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (B, k) of clusters → log-probabilities (B, K) of classes, float32."""
        log_probs = logits.float().log_softmax(dim=1)
        numbers = torch.arange(self.classes, device=logits.device)
        member = self.belongs[None, :] == numbers[:, None]  # (K, k)
        each = log_probs[:, None, :].masked_fill(~member, -torch.inf)
        return each.logsumexp(dim=2).clamp(min=UNNAMED)
