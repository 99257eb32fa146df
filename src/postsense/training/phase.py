"""What a method asks of the loop: posts and objectives, what follows a step, precedes an epoch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from postsense.config import TrainingSettings
from postsense.data.batching import POOL
from postsense.inputs.batches import PostBatch, PostDataset
from postsense.losses.total import Weighted
from postsense.model.outputs import PostOutput
from postsense.model.post_model import PostModel

View = Callable[[PostBatch, torch.Generator], PostBatch]


def unchanged(batch: PostBatch, generator: torch.Generator) -> PostBatch:
    """The view that changes nothing."""
    return batch


@dataclass(frozen=True)
class Stream:
    """More posts to learn from, with an objective of their own.

    view: what becomes of a batch before the model sees it, by the generator of the step.
    """

    dataset: PostDataset
    terms: Mapping[str, Weighted]
    view: View


@dataclass(frozen=True)
class SecondStep:
    """An update of its own after that of a step, on the same posts, where it is needed.

    needed: asks the outputs of a fresh pass, after the first update, whether it is.
    reads: "aligned" where needed and terms read nothing of the outputs but aligned.
    """

    terms: Mapping[str, Weighted]
    needed: Callable[[PostOutput, PostBatch], bool]
    reads: Literal["everything", "aligned"] = "everything"


@dataclass(frozen=True)
class Renewal:
    """What an epoch is trained on. fresh: modules that begin anew. record: for the history."""

    train: PostDataset
    fresh: tuple[nn.Module, ...] = ()
    record: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """One stretch of training: what to minimise on which posts, and what to keep.

    Every step takes a batch of train and, from each extra stream, as many posts as it takes to
    see the stream once an epoch; the losses are added.

    val: without posts there is nothing to select by, and the last epoch is kept. view: as in
    Stream, of the batches of train. second: what follows each step. before_epoch: asked before
    each epoch, by its number, for the posts that it trains on in place of train. small: the
    fusion's products are too small for more than one thread.
    """

    name: str
    terms: Mapping[str, Weighted]
    train: PostDataset
    val: PostDataset
    settings: TrainingSettings
    seed: int
    extra_streams: tuple[Stream, ...] = ()
    view: View = unchanged
    second: SecondStep | None = None
    small: bool = False
    before_epoch: Callable[[PostModel, int], Renewal] | None = None

    @property
    def length_pool(self) -> int:
        """How many batches are sorted together by the length of their texts."""
        if self.settings.length_pool is not None:
            return self.settings.length_pool
        return POOL if self.train.encodes_words else 0

    def lengths_of(self, posts: PostDataset) -> NDArray[np.int64] | None:
        """Tokens of each post's text, (n,); None where nothing is sorted by them."""
        return posts.lengths if self.length_pool else None
