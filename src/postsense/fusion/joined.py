"""What a fusion returns: the fused vector, and what hint comments are attended with."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Joined:
    """fused: (B, F). text, image: (B, Q), what looks for comments; None if not read.

    comment_weights: (B, C) attention paid to each comment, rows sum to 1, or to 0 without comments.
    without_comments: (B, F) fused before comments came in; None where there are none.
    """

    fused: Tensor
    text: Tensor | None
    image: Tensor | None
    comment_weights: Tensor | None = None
    without_comments: Tensor | None = None
