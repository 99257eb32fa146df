"""A model and a dataset → logits, the attention paid to hint comments, and vectors of posts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from postsense.arrays import Array
from postsense.data.batching import ordered_batches
from postsense.inputs.batches import PostDataset
from postsense.model.outputs import PostOutput
from postsense.model.post_model import PostModel
from postsense.progress import Progress, silent

BATCH_SIZE = 256
PIXEL_BATCH_SIZE = 32


@dataclass(frozen=True)
class Outputs:
    """logits: (N, K) float32. comment_weights: (N, C) float32, None if none are read.

    aligned_text, aligned_image: (N, P) float32, what the losses on pairs compare; None if the
    dataset has no contents or the model no such losses. vectors: (N, D_t + D_v) float32, what the
    fusion reads of words and picture; None if not asked for, or if the model has none. members:
    (N, M, K) float32, probabilities of each member of an ensemble; None if it is none.
    """

    logits: Array
    comment_weights: Array | None
    aligned_text: Array | None = None
    aligned_image: Array | None = None
    vectors: Array | None = None
    members: Array | None = None


@torch.inference_mode()
def predict_outputs(
    model: PostModel,
    dataset: PostDataset,
    device: torch.device | str = "cpu",
    *,
    workers: int = 0,
    progress: Progress = silent,
    with_vectors: bool = False,
) -> Outputs:
    """What the model says of all posts, in their order; the model is left in eval mode.

    Texts of similar length share a batch where they are encoded here, so that little is padded.
    with_vectors: whether to keep what the fusion reads of each post.
    """
    model.eval().to(device)
    size = PIXEL_BATCH_SIZE if model.encodes else BATCH_SIZE
    order = np.arange(len(dataset))
    if dataset.encodes_words and (lengths := dataset.lengths) is not None:
        order = np.argsort(-lengths, kind="stable")
    batches = [order[places] for places in ordered_batches(len(dataset), size)]
    parts, done = list[Outputs](), 0
    for batch in dataset.loader(batches, workers):
        parts.append(_outputs_of(model(batch.to(device)), with_vectors=with_vectors))
        done += len(parts[-1].logits)
        progress("predict", done, len(dataset))
    return _joined(parts, order)


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


def _outputs_of(output: PostOutput, *, with_vectors: bool) -> Outputs:
    read = [output.read[name].pooled for name in ("text", "image") if name in output.read]
    return Outputs(
        logits=_array(output.logits),
        comment_weights=None if output.comment_weights is None else _array(output.comment_weights),
        aligned_text=None if output.aligned is None else _array(output.aligned.text),
        aligned_image=None if output.aligned is None else _array(output.aligned.image),
        vectors=_array(torch.cat(read, dim=1)) if with_vectors and read else None,
    )


def _array(values: Tensor) -> Array:
    array: Array = values.float().cpu().numpy()
    return array


def _joined(parts: Sequence[Outputs], order: Array) -> Outputs:
    """What was computed batch by batch in some order, in that of the posts."""
    optional: dict[str, Array | None] = {}
    for name in vars(parts[0]).keys() - {"logits"}:
        values = [value for part in parts if (value := getattr(part, name)) is not None]
        optional[name] = _put_back(values, order) if values else None
    return Outputs(_put_back([part.logits for part in parts], order), **optional)


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
