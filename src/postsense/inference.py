"""A model and a dataset → class probabilities."""

from typing import Any

import numpy as np
import torch

from postsense.batches import PostDataset
from postsense.data.batching import ordered_batches
from postsense.model import PostModel
from postsense.progress import Progress, silent

BATCH_SIZE = 256
PIXEL_BATCH_SIZE = 32


@torch.inference_mode()
def predict_logits(
    model: PostModel,
    dataset: PostDataset,
    device: torch.device | str = "cpu",
    *,
    workers: int = 0,
    progress: Progress = silent,
) -> np.ndarray[Any, Any]:
    """Logits (N, K) float32 of all posts, in their order; the model is left in eval mode."""
    model.eval().to(device)
    trained = any(branch is not None and branch.encoder for branch in (model.text, model.image))
    batches = ordered_batches(len(dataset), PIXEL_BATCH_SIZE if trained else BATCH_SIZE)
    parts, done = [], 0
    for batch in dataset.loader(batches, workers):
        parts.append(model(batch.to(device)).logits.float().cpu().numpy())
        done += len(parts[-1])
        progress("predict", done, len(dataset))
    return np.concatenate(parts)


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Probabilities (N, K) of logits (N, K)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray[Any, Any] = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
