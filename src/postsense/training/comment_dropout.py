"""A batch with hint comments → the batch as a student sees it, with some of them missing."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from postsense.inputs.batches import Comments, PostBatch, TokenIds


def drop_comments(probability: float) -> Callable[[PostBatch, torch.Generator], PostBatch]:
    """A view of batches in which each comment is dropped with this probability, then refilled.

    Source: Xu & Li 2022, Comment-Aware Self-Training, section 3.3, comment dropping; released code.
    If all are dropped, the last stays; the places of the dropped are filled by cycling through the
    survivors from the first, so that a post keeps as many comments as it had.
    Deviation: none where a post has all N comments; a post with fewer keeps its number of them.
    """

    def view(batch: PostBatch, generator: torch.Generator) -> PostBatch:
        if batch.comments is None or probability == 0:
            return batch
        present = batch.comments.present.cpu()
        dropped = torch.rand(present.shape, generator=generator) < probability
        places = survivors_cycled(present, dropped)
        return replace(batch, comments=_rearranged(batch.comments, places))

    return view


def survivors_cycled(present: Tensor, dropped: Tensor) -> Tensor:
    """For each of (B, C) places the place whose comment is shown there; both masks are (B, C) bool.

    Places without a comment show their own.
    """
    count = present.sum(dim=1, keepdim=True)  # comments come first, the empty places after them
    place = torch.arange(present.shape[1]).expand(present.shape)
    survives = present & ~dropped
    none_left = ~survives.any(dim=1, keepdim=True)
    survives = survives | (none_left & (place == count - 1))
    order = torch.argsort((~survives).int(), dim=1, stable=True)  # survivors first, in their order
    left = survives.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(present, order.gather(1, place % left), place)


def _rearranged(comments: Comments, places: Tensor) -> Comments:
    batch, width = places.shape
    rows = (torch.arange(batch)[:, None] * width + places).flatten()
    texts = comments.texts
    if isinstance(texts, TokenIds):
        return Comments(TokenIds(texts.ids[rows], texts.mask[rows]), comments.present)
    moved = replace(texts, pooled=texts.pooled[rows], present=texts.present[rows])
    return Comments(moved, comments.present)
