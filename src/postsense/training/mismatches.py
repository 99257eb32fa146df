"""A batch as the image-text matching loss wants it: some pictures with the words of others."""

from collections.abc import Callable
from dataclasses import replace

import torch

from postsense.inputs.batches import PostBatch
from postsense.losses.image_text import draw_swaps


def show_mismatches(probability: float) -> Callable[[PostBatch, torch.Generator], PostBatch]:
    """A view of batches in which a picture is also shown with other words, with this probability.

    The batch keeps its words; `swaps` names the post whose words are shown besides.
    """

    def view(batch: PostBatch, generator: torch.Generator) -> PostBatch:
        assert batch.contents is not None
        swaps = draw_swaps(batch.contents, batch.has_both, probability, generator)
        return replace(batch, swaps=swaps)

    return view
