"""Whether picture and words of a post belong together, as two losses beside the labels'."""

import torch
from torch import Tensor
from torch.nn import functional as F

from postsense.config import LossSettings
from postsense.inputs.batches import PostBatch
from postsense.losses.total import Weighted
from postsense.model.outputs import PostOutput


def image_text_contrastive_loss(
    text: Tensor, image: Tensor, scale: Tensor, same: Tensor | None = None
) -> Tensor:
    """Symmetric cross-entropy of finding each text's picture, and each picture's text, in a batch.

    Source: Sanchez Villegas et al. 2024, arXiv 2309.07794, image-text contrastive (ITC), after
    Radford et al. 2021, CLIP.
        S_ij = scale * cos(t_i, v_j)
        L = -1/2B sum_i [ log(e^S_ii / sum_j e^S_ij) + log(e^S_ii / sum_j e^S_ji) ]
    Deviation: a pair (i, j) of two posts with the same text or picture is left out of the sums,
    since t_i does describe v_j then.

    Args:
        text, image: (B, P) float, row i of one post; any norm, normalised inside.
        scale: scalar > 0, the inverse of a temperature.
        same: (B, B) bool, symmetric, pairs of equal text or picture; the diagonal does not count.
    Returns: scalar, nats, >= 0; lower is better; 0 if no post has another to be confused with.
    """
    if not len(text):
        return (text.sum() + image.sum()) * 0.0  # zero that still has a gradient
    with torch.autocast(text.device.type, enabled=False):  # half precision would round S to 0.1
        cosine = F.normalize(text.float(), dim=1) @ F.normalize(image.float(), dim=1).T
        similarity = scale * cosine  # (B, B)
    if same is not None:
        own = torch.eye(len(text), dtype=torch.bool, device=text.device)
        similarity = similarity.masked_fill(same & ~own, -torch.inf)
    target = torch.arange(len(text), device=text.device)
    per_side = F.cross_entropy(similarity, target), F.cross_entropy(similarity.T, target)
    return torch.stack(per_side).mean()


def image_text_matching_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Mean cross-entropy of telling whether a picture was shown with its own words.

    Source: Sanchez Villegas et al. 2024, arXiv 2309.07794, image-text matching (ITM).
        L = -1/B sum_i log softmax(logits_i)[m_i],  m_i = 1 if they match, else 0
    Deviation: none.

    Args:
        logits: (B, 2) float. matches: (B,) bool.
    Returns: scalar, nats, >= 0; lower is better; 0 for an empty batch.
    """
    if not len(logits):
        return logits.sum() * 0.0
    return F.cross_entropy(logits, matches.long())


def draw_swaps(
    contents: Tensor, has_both: Tensor, probability: float, generator: torch.Generator
) -> Tensor:
    """For each post the post whose words it is shown with: its own, or at random another's.

    Source: Sanchez Villegas et al. 2024, released code: with probability 1/2 another text of the
    batch.
    Deviation: never that of a post with the same text or the same picture, which would match after
    all; a post that has no other to swap with keeps its words, as does every post of a batch of
    one, and a post that lacks a modality.

    Args:
        contents: (B, 2) int64, numbers of the text and of the picture, equal where they are.
        has_both: (B,) bool, posts with words and picture. probability: of being swapped.
    Returns: (B,) int64, i itself where the words are its own; on the CPU.
    """
    contents, has_both = contents.cpu(), has_both.cpu()
    size = len(contents)
    chance = torch.rand((size, size + 1), generator=generator)
    allowed = ~same_content(contents) & has_both[None, :]  # (B, B)
    partner = chance[:, :size].masked_fill(~allowed, -1.0).argmax(dim=1)
    swapped = (chance[:, size] < probability) & allowed.any(dim=1) & has_both
    return torch.where(swapped, partner, torch.arange(size))


def same_content(contents: Tensor) -> Tensor:
    """(B, B) bool, which posts share their text or their picture. contents: (B, 2) int64."""
    return (contents[:, None] == contents[None, :]).any(dim=2)


def contrastive_term(settings: LossSettings, class_weights: Tensor | None = None) -> Weighted:
    """ITC over the posts of the batch that have words and a picture."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        aligned, rows = output.aligned, batch.has_both
        assert aligned is not None and batch.contents is not None
        return image_text_contrastive_loss(
            aligned.text[rows],
            aligned.image[rows],
            aligned.scale,
            same_content(batch.contents[rows]),
        )

    return Weighted(settings.itc, term)


def matching_term(settings: LossSettings, class_weights: Tensor | None = None) -> Weighted:
    """ITM over the posts of the batch that have words and a picture."""

    def term(output: PostOutput, batch: PostBatch) -> Tensor:
        logits, swaps, rows = output.match_logits, batch.swaps, batch.has_both
        assert logits is not None and swaps is not None
        matches = swaps == torch.arange(len(swaps), device=swaps.device)
        return image_text_matching_loss(logits[rows], matches[rows])

    return Weighted(settings.itm, term)
