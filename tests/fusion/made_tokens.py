"""Token ids of texts, and what is asked of every fusion that reads words itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from postsense.encoders.embeddings import Embeddings
from postsense.fusion.bitransformer import EarlyComments
from postsense.inputs.batches import Comments, Pixels, TokenIds


def token_ids(texts: Sequence[list[int]], length: int = 0) -> TokenIds:
    """The texts padded to the longest of them, or to length."""
    length = max(length, 1, *(len(text) for text in texts))
    ids = torch.tensor([text + [0] * (length - len(text)) for text in texts])
    return TokenIds(ids, torch.arange(length) < torch.tensor([[len(t)] for t in texts]))


def assert_each_teaches_its_own(vectors: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    """The gradient of each vector reaches its own weights and no other's."""
    for vector, own, other in zip(vectors, weights, reversed(weights)):
        loss = vector.pow(3).sum()  # the squares of a normed vector always sum to its width
        own_grad, other_grad = torch.autograd.grad(
            loss, [own, other], retain_graph=True, allow_unused=True
        )
        assert own_grad.isfinite().all() and own_grad.abs().sum() > 0
        assert other_grad is None or not other_grad.any()


def assert_comments_meet_the_picture(
    fusion: nn.Module, texts: TokenIds, image: Pixels | Embeddings, comment: list[int]
) -> None:
    """A post's one comment is read with its picture, and joins the post."""
    early, posts = EarlyComments(fusion, 4).eval(), len(texts.ids)
    given = Comments(token_ids([comment] * posts), torch.ones(posts, 1, dtype=torch.bool))

    fused = early(texts, image, given).fused

    parts = [fusion(given.texts, image).fused, fusion(texts, image).fused]
    expected = early.project(torch.cat(parts, dim=1))
    torch.testing.assert_close(fused, expected, atol=1e-5, rtol=1e-5)
