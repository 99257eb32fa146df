"""Words and picture of a post, each on its own, as vectors of one space."""

import math

import torch
from torch import Tensor, nn

from postsense.model.outputs import Aligned

MAX_SCALE = 100.0


class Alignment(nn.Module):
    """t = W_t text, v = W_v image, and the learned scale of their cosine.

    Source: Sanchez Villegas et al. 2024, arXiv 2309.07794, released code; Radford et al. 2021,
    CLIP, whose scale starts at 1 / 0.07 and is kept at or below 100.
    Deviation: the released code projects what the checkpoints' poolers give, a trained layer and a
    tanh over the class token, and does not bound the scale; here W is over the vector that the
    fusion reads, since frozen checkpoints often come without a pooler.
    """

    def __init__(
        self, text_dim: int, image_dim: int, width: int | None, temperature: float
    ) -> None:
        """width: P; None: the vectors share a space already and are taken as they are."""
        super().__init__()
        self.text, self.image = _projection(text_dim, width), _projection(image_dim, width)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, text: Tensor, image: Tensor) -> Aligned:
        """text (B, D_t), image (B, D_v) → both as (B, P)."""
        with torch.no_grad():  # the parameter, not what comes of it: that would have no gradient
            self.log_scale.clamp_(max=math.log(MAX_SCALE))
        return Aligned(self.text(text), self.image(image), self.log_scale.exp())


def _projection(dim: int, width: int | None) -> nn.Module:
    return nn.Identity() if width is None else nn.Linear(dim, width, bias=False)
