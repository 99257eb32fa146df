"""A model and a dataset → logits and the attention paid to hint comments."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from postsense.batches import PostDataset
from postsense.data.batching import ordered_batches
from postsense.model import PostModel
from postsense.progress import Progress, silent

Array = np.ndarray[Any, Any]
BATCH_SIZE = 256
PIXEL_BATCH_SIZE = 32


@dataclass(frozen=True)
class Outputs:
    """logits: (N, K) float32. comment_weights: (N, C) float32, None if none are read."""

    logits: Array
    comment_weights: Array | None


@torch.inference_mode()
def predict_outputs(
    model: PostModel,
    dataset: PostDataset,
    device: torch.device | str = "cpu",
    *,
    workers: int = 0,
    progress: Progress = silent,
) -> Outputs:
    """What the model says of all posts, in their order; the model is left in eval mode.

    Texts of similar length share a batch where they are encoded here, so that little is padded.
    """
    model.eval().to(device)
    size = PIXEL_BATCH_SIZE if model.trains_encoder else BATCH_SIZE
    order = np.arange(len(dataset))
    if dataset.lengths is not None:
        order = np.argsort(-dataset.lengths, kind="stable")
    batches = [order[places] for places in ordered_batches(len(dataset), size)]
    logits, weights, done = [], [], 0
    for batch in dataset.loader(batches, workers):
        output = model(batch.to(device))
        logits.append(output.logits.float().cpu().numpy())
        if output.comment_weights is not None:
            weights.append(output.comment_weights.float().cpu().numpy())
        done += len(logits[-1])
        progress("predict", done, len(dataset))
    return Outputs(_put_back(logits, order), _put_back(weights, order) if weights else None)


def predict_logits(
    model: PostModel,
    dataset: PostDataset,
    device: torch.device | str = "cpu",
    *,
    workers: int = 0,
    progress: Progress = silent,
) -> Array:
    """Logits (N, K) float32 of all posts, in their order; the model is left in eval mode."""
    return predict_outputs(model, dataset, device, workers=workers, progress=progress).logits


def _put_back(parts: list[Array], order: Array) -> Array:
    """What was computed in some order, (N, ...), in that of the posts."""
    values = np.concatenate(parts)
    back = np.empty_like(values)
    back[order] = values
    return back


def softmax(logits: Array) -> Array:
    """Probabilities (N, K) of logits (N, K)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
