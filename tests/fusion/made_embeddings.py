"""Random embeddings with garbage beyond their ends, and one post of them alone."""

import torch

from postsense.encoders.embeddings import Embeddings


def sequence(lengths: tuple[int, ...], dim: int, seed: int) -> Embeddings:
    """Random tokens; what lies beyond a sequence's end is garbage that must not be read."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
    tokens = torch.randn(len(lengths), max(lengths), dim, generator=generator)
    pooled = torch.randn(len(lengths), dim, generator=generator)
    tokens = torch.where(mask[..., None], tokens, 1e3)
    return Embeddings(pooled, torch.ones(len(lengths), dtype=torch.bool), tokens, mask)


def cut(modality: Embeddings, post: int, length: int) -> Embeddings:
    """One post of a batch, without padding."""
    assert modality.tokens is not None and modality.mask is not None
    return Embeddings(
        modality.pooled[post : post + 1],
        modality.present[post : post + 1],
        modality.tokens[post : post + 1, :length],
        modality.mask[post : post + 1, :length],
    )
