"""The view for image-text matching names other words and leaves the batch as it is."""

import torch

from postsense.encoders.embeddings import Embeddings
from postsense.inputs.batches import PostBatch
from postsense.training.mismatches import show_mismatches


def batch_of(posts: int) -> PostBatch:
    present = torch.ones(posts, dtype=torch.bool)
    text, image = Embeddings(torch.randn(posts, 2), present), Embeddings(torch.rand(2), present)
    return PostBatch(
        {"text": text, "image": image}, contents=torch.arange(posts).repeat(2, 1).T, aligns=True
    )


def test_some_posts_get_other_words_beside_their_own() -> None:
    batch = batch_of(40)

    shown = show_mismatches(0.5)(batch, torch.Generator().manual_seed(0))

    assert shown["text"] is batch["text"] and shown.contents is batch.contents
    assert shown.swaps is not None
    other = shown.swaps != torch.arange(40)
    assert 5 < int(other.sum()) < 35


def test_the_same_generator_shows_the_same_words() -> None:
    batch, view = batch_of(40), show_mismatches(0.5)

    first, second, third = (view(batch, torch.Generator().manual_seed(s)).swaps for s in (3, 3, 4))

    assert first is not None and second is not None and third is not None
    assert torch.equal(first, second) and not torch.equal(first, third)
