"""Posts with comments → the same as training shows them, with some or all of these missing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from postsense.arrays import Array
from postsense.inputs.batches import Comments, PostBatch, PostDataset, TokenIds


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


def hide_comments(dataset: PostDataset, probability: float, seed: Sequence[int]) -> PostDataset:
    """The posts, each with this probability shown as if nobody had commented on it yet.

    Source: ours, after Neverova et al. 2016, ModDrop: at prediction time a fresh post has no
        comments, so that a model which always sees them in training misreads it.
    seed: numbers that say which posts it is.
    """
    drawn = np.random.default_rng(list(seed)).random(len(dataset))
    return replace(dataset, fresh=drawn < probability)


def with_fresh_twins(dataset: PostDataset, probability: float) -> PostDataset:
    """The posts, and behind them each that has comments once more, as if nobody had commented.

    What `hide_comments` is to a method that goes through the posts again and again, for one that
    reads all of them at once:
        L = sum_i loss(post i) + p sum_{i with comments} loss(post i without them)
    The weights of the dataset say how much each counts. Deviation: a post keeps its whole weight
    rather than 1 - p of it, so that a penalty on the weights of a model means what it meant.
    """
    commented = dataset.columns.commented
    if commented is None or probability == 0:
        return dataset
    twins = np.flatnonzero(commented[dataset.rows])
    places = np.concatenate([np.arange(len(dataset)), twins])
    counted = np.ones(len(dataset)) if dataset.weights is None else dataset.weights
    weights = np.concatenate([counted, probability * counted[twins]]).astype(np.float32)
    given = ("rows", "labels", "comment_rows", "targets", "contents")
    taken: dict[str, Any] = {name: _taken(getattr(dataset, name), places) for name in given}
    fresh = np.arange(len(places)) >= len(dataset)
    return replace(dataset, **taken, weights=weights, fresh=fresh)


def _taken(values: Array | None, places: Array) -> Array | None:
    return None if values is None else values[places]
