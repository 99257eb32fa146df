"""A model whose vectors do not change, and posts → what its head is fitted to."""

import numpy as np
import torch
from scipy.sparse import csr_array

from postsense.arrays import Array
from postsense.data.batching import ordered_batches
from postsense.inputs.batches import PostDataset
from postsense.model.post_model import PostModel
from postsense.training.learners.learner import Lesson, Vectors

_BATCH = 256
_SPARSE = 0.1  # share of numbers that are not zero below which zeros are not kept


@torch.inference_mode()
def vectors_of(model: PostModel, posts: PostDataset) -> Vectors:
    """What the head is given of each post, (N, F) float32; before a kernel, where there is one."""
    model.eval()
    parts: list[Vectors] = []
    for places in ordered_batches(len(posts), _BATCH):
        found: Array = model.vectors(posts[places]).numpy()
        few = np.count_nonzero(found) < _SPARSE * found.size
        parts.append(csr_array(found) if few else found)
    if all(isinstance(part, csr_array) for part in parts):
        from scipy.sparse import vstack

        return csr_array(vstack(parts))
    return np.concatenate(
        [part if isinstance(part, np.ndarray) else part.toarray() for part in parts]
    )


def lesson_of(model: PostModel, posts: PostDataset, classes: int) -> Lesson:
    """Vectors, labels and weights of labelled posts."""
    assert posts.labels is not None
    weights = np.ones(len(posts)) if posts.weights is None else posts.weights.astype(np.float64)
    return Lesson(vectors_of(model, posts), posts.labels, weights, classes)
