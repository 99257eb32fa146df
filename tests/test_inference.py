"""Predictions depend on the post, not on how posts are gathered."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from postsense.config.loading import parse_config
from postsense.encoders.backbone import TextEncoder, load_text_backbone
from postsense.encoders.features import Encoded, FeatureColumn, FeatureStore
from postsense.inputs.batches import PostColumns, PostDataset, TokenColumn, TokenIds
from postsense.model.build import InnerEncoders, build_model
from postsense.model.post_model import PostModel
from postsense.prediction import inference
from postsense.prediction.inference import predict_logits, predict_outputs, softmax
from tolerances import rounding

Array = np.ndarray[Any, Any]
POSTS = 23
EVEN = rounding(32, scale=0.5, steps=3)  # of logits whose terms are added up in other batches


def column(folder: Path, dim: int, seed: int) -> FeatureColumn:
    """Random features with 1 to 5 tokens; every fifth post lacks the modality."""
    generator = np.random.default_rng(seed)
    keys = generator.integers(0, 2**63, (POSTS, 2)).astype(np.uint64)
    items = [
        Encoded(generator.normal(size=dim), generator.normal(size=(1 + number % 5, dim)))
        for number in range(POSTS)
    ]
    store = FeatureStore(folder / str(seed), with_tokens=True)
    store.append(keys, items)
    rows = np.where((np.arange(POSTS) + seed) % 5 == 0, -1, np.arange(POSTS))
    return FeatureColumn(store, rows)


@pytest.fixture
def dataset(tmp_path: Path) -> PostDataset:
    columns = PostColumns({"text": column(tmp_path, 6, 1), "image": column(tmp_path, 4, 2)})
    return PostDataset(columns, np.arange(POSTS)[::-1].copy())


def make_model(fusion: str) -> PostModel:
    torch.manual_seed(0)
    config = parse_config({"fusion": {"name": fusion, "hidden": 8}})
    model = build_model(config, InnerEncoders(None, None, 6, 4), classes=3)
    assert model.text is not None and model.image is not None
    torch.nn.init.normal_(model.text.missing)
    torch.nn.init.normal_(model.image.missing)
    return model


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_logits_do_not_depend_on_the_batch_size(
    dataset: PostDataset, monkeypatch: pytest.MonkeyPatch, fusion: str
) -> None:
    model, whole = make_model(fusion), predict_logits(make_model(fusion), dataset)

    for size in (1, 4, 22):
        monkeypatch.setattr(inference, "BATCH_SIZE", size)
        assert np.allclose(predict_logits(model, dataset), whole, rtol=0, atol=EVEN)
    assert np.ptp(whole, axis=0).min() > 0.1


def test_logits_come_in_the_order_of_the_posts(
    dataset: PostDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "BATCH_SIZE", 5)
    model = make_model("concat")
    order = np.random.default_rng(0).permutation(POSTS)
    shuffled = PostDataset(dataset.columns, dataset.rows[order])

    logits = predict_logits(model, dataset)

    assert np.allclose(predict_logits(model, shuffled), logits[order], rtol=0, atol=EVEN)


def test_dropout_does_not_act_and_no_gradient_is_kept(dataset: PostDataset) -> None:
    model = make_model("concat").train()

    first, again = predict_logits(model, dataset), predict_logits(model, dataset)

    assert np.array_equal(first, again)
    assert not model.training
    assert all(weight.grad is None for weight in model.parameters())


def test_worker_processes_change_nothing(dataset: PostDataset) -> None:
    model = make_model("cross_attention")

    assert np.array_equal(predict_logits(model, dataset, workers=1), predict_logits(model, dataset))


def test_progress_counts_posts(dataset: PostDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BATCH_SIZE", 10)
    told = list[tuple[Any, ...]]()

    predict_logits(make_model("concat"), dataset, progress=lambda *step: told.append(step))

    assert told == [("predict", 10, 23), ("predict", 20, 23), ("predict", 23, 23)]


@pytest.fixture
def trained(tiny_bert: Path) -> PostModel:
    torch.manual_seed(0)
    encoder = TextEncoder(load_text_backbone(tiny_bert, None), "mean")
    config = parse_config({"fusion": {"name": "text_only", "hidden": 8}})
    return build_model(config, InnerEncoders(encoder, None, 16, None), classes=2)


def test_trained_encoders_do_not_depend_on_the_batch_size(
    trained: PostModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = TokenColumn([[2, *[4] * length, 3] if length else [] for length in range(9)], pad_id=0)
    dataset = PostDataset(PostColumns({"text": texts}), np.arange(9))

    whole = predict_logits(trained, dataset)

    for size in (1, 4):
        monkeypatch.setattr(inference, "PIXEL_BATCH_SIZE", size)
        assert np.allclose(predict_logits(trained, dataset), whole, rtol=0, atol=EVEN)


WORDS = TokenColumn([[2, *[4] * (number * 5 % 9), 3] for number in range(9)], pad_id=0)


@pytest.mark.parametrize("size", [2, 4])
def test_posts_encoded_in_order_of_length_come_back_in_their_own(
    trained: PostModel, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(inference, "PIXEL_BATCH_SIZE", size)
    rows = np.array([3, 8, 0, 0, 5, 7, 1])

    logits = predict_logits(trained, PostDataset(PostColumns({"text": WORDS}), rows))

    one_by_one = [
        predict_logits(trained, PostDataset(PostColumns({"text": WORDS}), rows[[n]]))
        for n in range(7)
    ]
    assert np.allclose(logits, np.concatenate(one_by_one), rtol=0, atol=EVEN)
    assert np.ptp(logits, axis=0).min() > 1e-4


def test_texts_of_similar_length_are_encoded_together(
    trained: PostModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "PIXEL_BATCH_SIZE", 3)
    seen, batch_of = list[list[int]](), TokenColumn.batch

    def watch(column: TokenColumn, posts: Array) -> TokenIds:
        seen.append(column.lengths[posts].tolist())
        return batch_of(column, posts)

    monkeypatch.setattr(TokenColumn, "batch", watch)
    predict_logits(trained, PostDataset(PostColumns({"text": WORDS}), np.arange(9)))

    assert seen == [[10, 9, 8], [7, 6, 5], [4, 3, 2]]


def test_posts_whose_words_are_kept_are_read_in_their_order(
    trained: PostModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a released model says depends on who is in the batch: on the user's order alone."""
    monkeypatch.setattr(PostDataset, "encodes_words", False)
    monkeypatch.setattr(inference, "PIXEL_BATCH_SIZE", 3)
    seen, batch_of = list[list[int]](), TokenColumn.batch
    monkeypatch.setattr(
        TokenColumn, "batch", lambda self, at: seen.append(at.tolist()) or batch_of(self, at)
    )

    predict_logits(trained, PostDataset(PostColumns({"text": WORDS}), np.array([3, 8, 0, 7])))

    assert seen == [[3, 8, 0], [7]]


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_no_posts_give_no_logits(dataset: PostDataset, fusion: str) -> None:
    nothing = PostDataset(dataset.columns, np.zeros(0, dtype=np.int64))

    assert predict_logits(make_model(fusion), nothing).shape == (0, 3)


def with_contents(dataset: PostDataset) -> PostDataset:
    contents = np.arange(2 * POSTS).reshape(POSTS, 2)
    return PostDataset(dataset.columns, dataset.rows, contents=contents, aligns=True)


def make_aligning_model() -> PostModel:
    torch.manual_seed(0)
    settings = {"fusion": {"hidden": 8}, "losses": {"itc": 0.1, "itc_width": 5}}
    return build_model(parse_config(settings), InnerEncoders(None, None, 6, 4), classes=3)


def test_aligned_vectors_are_what_the_model_compares_in_the_order_of_the_posts(
    dataset: PostDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "BATCH_SIZE", 5)
    model, posts = make_aligning_model(), with_contents(dataset)

    outputs = predict_outputs(model, posts)

    with torch.inference_mode():
        aligned = model(posts[np.arange(POSTS)]).aligned
    assert aligned is not None and outputs.aligned_text is not None
    assert outputs.aligned_text.shape == (POSTS, 5)
    assert np.allclose(outputs.aligned_text, aligned.text.numpy(), rtol=0, atol=EVEN)
    assert np.allclose(outputs.aligned_image, aligned.image.numpy(), rtol=0, atol=EVEN)


def test_without_contents_or_a_loss_that_compares_nothing_is_aligned(dataset: PostDataset) -> None:
    plain = predict_outputs(make_aligning_model(), dataset)
    other = predict_outputs(make_model("concat"), with_contents(dataset))

    for outputs in (plain, other):
        assert outputs.aligned_text is None and outputs.aligned_image is None
    assert np.array_equal(
        plain.logits, predict_logits(make_aligning_model(), with_contents(dataset))
    )


@pytest.mark.parametrize("size", [5, 256])
def test_vectors_are_what_the_fusion_reads_of_words_and_picture(
    dataset: PostDataset, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(inference, "BATCH_SIZE", size)
    model = make_model("concat")

    vectors = predict_outputs(model, dataset, with_vectors=True).vectors

    with torch.inference_mode():
        output = model(dataset[np.arange(POSTS)])
    assert set(output.read) == {"text", "image"}
    expected = torch.cat([part.pooled for part in output.read.values()], dim=1).numpy()
    assert vectors is not None and vectors.dtype == np.float32 and vectors.shape == (POSTS, 6 + 4)
    assert np.allclose(vectors, expected, rtol=0, atol=EVEN)


def test_vectors_of_a_model_that_reads_words_alone_are_those_of_the_words(
    trained: PostModel,
) -> None:
    posts = PostDataset(PostColumns({"text": WORDS}), np.arange(9))

    vectors = predict_outputs(trained, posts, with_vectors=True).vectors

    assert vectors is not None and vectors.shape == (9, 16)
    assert np.ptp(vectors, axis=0).min() > 1e-4


def test_vectors_are_kept_only_where_asked_for(dataset: PostDataset) -> None:
    assert predict_outputs(make_model("concat"), dataset).vectors is None


def test_softmax_equals_its_equation() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3))

    expected = [[np.exp(x) / sum(np.exp(y) for y in row) for x in row] for row in logits]

    assert softmax(logits) == pytest.approx(np.array(expected))


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1000.0, 0.0], [-1000.0, -1000.0]])).tolist() == [[1, 0], [0.5, 0.5]]
