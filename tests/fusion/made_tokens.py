"""Token ids of texts, padded, for fusions that read words themselves."""

from collections.abc import Sequence

import torch

from postsense.batches import TokenIds


def token_ids(texts: Sequence[list[int]], length: int = 0) -> TokenIds:
    """The texts padded to the longest of them, or to length."""
    length = max(length, 1, *(len(text) for text in texts))
    ids = torch.tensor([text + [0] * (length - len(text)) for text in texts])
    return TokenIds(ids, torch.arange(length) < torch.tensor([[len(t)] for t in texts]))
