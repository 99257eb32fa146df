"""Batches hold what their posts hold, padded and masked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from postsense.batches import (
    PixelColumn,
    PostBatch,
    PostColumns,
    PostDataset,
    TokenColumn,
    TokenIds,
)
from postsense.data.images import PicturePolicy, decode_picture, normalize_pixels

POLICY = PicturePolicy(resize_px=10, crop_px=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
COLUMN = TokenColumn([[2, 7, 3], [], [2, 8, 9, 3], [2, 3]], pad_id=5)


def test_texts_are_padded_to_the_longest_of_their_batch() -> None:
    batch = COLUMN.batch(np.array([3, 0]))

    assert batch.ids.tolist() == [[2, 3, 5], [2, 7, 3]]
    assert batch.mask.tolist() == [[True, True, False], [True, True, True]]


def test_an_empty_text_is_all_padding() -> None:
    batch = COLUMN.batch(np.array([1, 3]))

    assert batch.ids.tolist() == [[5, 5], [2, 3]]
    assert batch.mask.tolist() == [[False, False], [True, True]]


def test_a_batch_of_empty_texts_keeps_one_masked_token() -> None:
    batch = COLUMN.batch(np.array([1, 1]))

    assert batch.ids.tolist() == [[5], [5]]
    assert not batch.mask.any()


def test_pictures_are_decoded_under_the_policy(draw_picture: Callable[[str, int], str]) -> None:
    path = draw_picture("a.png", 1)
    column = PixelColumn([None, path], POLICY)

    batch = column.batch(np.array([1]))

    decoded = decode_picture(Path(path).read_bytes(), path, POLICY)
    assert np.array_equal(batch.pixels[0].numpy(), normalize_pixels(decoded, POLICY))
    assert batch.present.tolist() == [True]


def test_a_post_without_a_picture_gets_zeros(draw_picture: Callable[[str, int], str]) -> None:
    column = PixelColumn([None, draw_picture("a.png", 1)], POLICY)

    batch = column.batch(np.array([1, 0]))

    assert batch.present.tolist() == [True, False]
    assert not batch.pixels[1].any()
    assert batch.pixels[0].any()


@pytest.fixture
def dataset() -> PostDataset:
    """The posts at rows 3, 0 and 2 of the column."""
    return PostDataset(PostColumns(COLUMN), rows=np.array([3, 0, 2]), labels=np.array([1, 0, 1]))


def test_labels_follow_their_posts(dataset: PostDataset) -> None:
    batch = dataset[np.array([2, 0])]

    assert isinstance(batch.text, TokenIds)
    assert batch.text.ids.tolist() == [[2, 8, 9, 3], [2, 3, 5, 5]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 1]
    assert batch.image is None


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_gives_the_batches_in_their_order(dataset: PostDataset, workers: int) -> None:
    batches = [np.array([1]), np.array([2, 0])]

    loaded = list(dataset.loader(batches, workers))

    assert [batch.labels.tolist() for batch in loaded if batch.labels is not None] == [[0], [1, 1]]
    assert [batch.text.ids.tolist() for batch in loaded if isinstance(batch.text, TokenIds)] == [
        [[2, 7, 3]],
        [[2, 8, 9, 3], [2, 3, 5, 5]],
    ]


def test_a_dataset_without_labels_gives_none() -> None:
    assert PostDataset(PostColumns(COLUMN), np.array([0]))[np.array([0])].labels is None


def test_moving_a_batch_moves_all_that_it_has() -> None:
    text = TokenIds(torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool))
    batch = PostBatch(text, None, torch.tensor([0, 1])).to("meta")

    assert isinstance(batch.text, TokenIds) and batch.labels is not None
    assert {batch.text.ids.device.type, batch.text.mask.device.type} == {"meta"}
    assert batch.labels.device.type == "meta"
    assert batch.image is None
