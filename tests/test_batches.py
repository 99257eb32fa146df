"""Batches hold what their posts hold, padded and masked."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from postsense.data.images import PicturePolicy, decode_picture, normalize_pixels
from postsense.data.loading import load_posts
from postsense.encoders.features import Encoded, FeatureColumn, FeatureStore
from postsense.encoders.pixels import decode_pictures
from postsense.inputs.batches import (
    PixelColumn,
    Pixels,
    PostBatch,
    PostColumns,
    PostDataset,
    TokenColumn,
    TokenIds,
)

Draw = Callable[[str, int], str]
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


def test_a_column_of_ids_tells_their_numbers() -> None:
    assert COLUMN.lengths.tolist() == [3, 0, 4, 2]


@pytest.fixture
def pictures(draw_picture: Draw, tmp_path: Path) -> list[str | None]:
    """Four posts: the first and third have pictures, the last a copy of the first."""
    first, other = draw_picture("a.png", 1), draw_picture("b.png", 2)
    return [first, None, other, str(shutil.copy(first, tmp_path / "copy.png"))]


def column_of(pictures: list[str | None], cache: Path) -> PixelColumn:
    posts = load_posts([{"text": "x", "image": path} for path in pictures])
    decoded = decode_pictures(posts, POLICY, cache, threads=1)
    return PixelColumn(decoded.store, decoded.rows, POLICY)


def test_pixels_equal_those_of_pictures_decoded_and_normalised_one_by_one(
    pictures: list[str | None], tmp_path: Path
) -> None:
    column, posts = column_of(pictures, tmp_path / "cache"), np.array([3, 1, 2, 0, 2])

    batch = column.batch(posts)

    assert batch.pixels.dtype == torch.float32
    assert batch.present.tolist() == [True, False, True, True, True]
    for number, post in enumerate(posts):
        path, expected = pictures[post], np.zeros((3, 8, 8), np.float32)
        if path is not None:
            decoded = decode_picture(Path(path).read_bytes(), path, POLICY)
            expected = normalize_pixels(decoded, POLICY)
        assert np.array_equal(batch.pixels[number].numpy(), expected)


def test_a_batch_without_any_picture_is_zero(pictures: list[str | None], tmp_path: Path) -> None:
    batch = column_of([None, None], tmp_path / "cache").batch(np.array([1, 0]))

    assert batch.pixels.shape == (2, 3, 8, 8)
    assert not batch.pixels.any() and not batch.present.any()


@pytest.mark.parametrize("workers", [0, 1])
def test_pixels_lie_the_same_way_whichever_process_loads_them(
    pictures: list[str | None], tmp_path: Path, workers: int
) -> None:
    dataset = PostDataset(
        PostColumns({"image": column_of(pictures, tmp_path / "cache")}), np.arange(4)
    )

    (batch,) = dataset.loader([np.array([0, 1, 2])], workers)

    assert isinstance(batch["image"], Pixels)
    assert batch["image"].pixels.is_contiguous(memory_format=torch.channels_last)


def test_equal_pictures_have_equal_rows(pictures: list[str | None], tmp_path: Path) -> None:
    rows = column_of(pictures, tmp_path / "cache").rows

    assert rows[0] == rows[3] != rows[2]
    assert rows[1] == -1


@pytest.fixture
def dataset() -> PostDataset:
    """The posts at rows 3, 0 and 2 of the column."""
    return PostDataset(
        PostColumns({"text": COLUMN}), rows=np.array([3, 0, 2]), labels=np.array([1, 0, 1])
    )


def test_a_dataset_tells_the_tokens_of_its_posts(dataset: PostDataset) -> None:
    assert dataset.lengths is not None
    assert dataset.lengths.tolist() == [2, 3, 4]


def test_a_dataset_tells_the_tokens_that_are_kept_of_its_posts(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, with_tokens=True)
    items = [Encoded(np.zeros(2), np.zeros((length, 3))) for length in (4, 2)]
    store.append(np.array([[0, 1], [0, 2]], dtype=np.uint64), items)
    features = FeatureColumn(FeatureStore(tmp_path, with_tokens=True), np.array([0, -1, 1]))

    lengths = PostDataset(PostColumns({"text": features}), np.array([2, 0, 1])).lengths

    assert lengths is not None
    assert lengths.tolist() == [2, 4, 0]


def test_a_dataset_tells_no_tokens_where_none_are_read(tmp_path: Path) -> None:
    features = FeatureColumn(FeatureStore(tmp_path, with_tokens=False), np.array([0, -1]))

    assert PostDataset(PostColumns({"text": features}), np.array([0, 1])).lengths is None
    assert PostDataset(PostColumns({}), np.array([0, 1])).lengths is None


def test_labels_follow_their_posts(dataset: PostDataset) -> None:
    batch = dataset[np.array([2, 0])]

    assert isinstance(batch["text"], TokenIds)
    assert batch["text"].ids.tolist() == [[2, 8, 9, 3], [2, 3, 5, 5]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 1]
    assert "image" not in batch.read


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_gives_the_batches_in_their_order(dataset: PostDataset, workers: int) -> None:
    batches = [np.array([1]), np.array([2, 0])]

    loaded = list(dataset.loader(batches, workers))

    assert [batch.labels.tolist() for batch in loaded if batch.labels is not None] == [[0], [1, 1]]
    assert [
        batch["text"].ids.tolist() for batch in loaded if isinstance(batch["text"], TokenIds)
    ] == [
        [[2, 7, 3]],
        [[2, 8, 9, 3], [2, 3, 5, 5]],
    ]


def test_a_dataset_without_labels_gives_none() -> None:
    assert PostDataset(PostColumns({"text": COLUMN}), np.array([0]))[np.array([0])].labels is None


def test_moving_a_batch_moves_all_that_it_has() -> None:
    text = TokenIds(torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool))
    batch = PostBatch({"text": text}, labels=torch.tensor([0, 1])).to("meta")

    assert isinstance(batch["text"], TokenIds) and batch.labels is not None
    assert {batch["text"].ids.device.type, batch["text"].mask.device.type} == {"meta"}
    assert batch.labels.device.type == "meta"
    assert "image" not in batch.read
