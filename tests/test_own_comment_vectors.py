"""A post's own comments as vectors, and how training shows posts without them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from postsense.encoders.features import Encoded, FeatureColumn, FeatureStore
from postsense.inputs.batches import CommentColumn, PostColumns, PostDataset
from postsense.inputs.own_comments import mean_vectors
from postsense.inputs.vectors import VectorColumn
from postsense.retrieval.comments import Hint, own_first
from postsense.training.comment_dropout import hide_comments, with_fresh_twins

VECTORS = VectorColumn(np.array([[1, 2], [3, 4]], dtype=np.float16), np.array([0, -1, 1]))


@pytest.fixture
def texts(tmp_path: Path) -> FeatureColumn:
    """Four texts, the third of which nobody can read."""
    store = FeatureStore(tmp_path, with_tokens=False)
    vectors = [Encoded(np.array([x, 1.0], dtype=np.float32)) for x in (2.0, 4.0, 9.0)]
    store.append(np.arange(6, dtype=np.uint64).reshape(3, 2), vectors)
    return FeatureColumn(store, np.array([0, 1, -1, 2]))


def test_a_post_is_the_mean_of_its_readable_comments(texts: FeatureColumn) -> None:
    column = mean_vectors(texts, [[0, 1], [], [2], [3, 2]])
    batch = column.batch(np.array([0, 1, 2, 3]))
    assert batch.pooled.tolist() == [[3.0, 1.0], [0, 0], [0, 0], [9.0, 1.0]]
    assert batch.present.tolist() == [True, False, False, True]


def test_own_comments_are_first_and_said_once() -> None:
    lent = [Hint("b", "other", 0.9), Hint("c", "other", 0.8), Hint("d", "other", 0.7)]
    hints = own_first(["x", "y"], [["a", "b"], None], [lent, lent], 3)
    assert [(hint.text, hint.is_own) for hint in hints.given[0]] == [
        ("a", True),
        ("b", True),
        ("c", False),
    ]
    assert hints.given[1] == tuple(lent)
    assert hints.fresh == (tuple(lent), tuple(lent))


@pytest.fixture
def dataset(texts: FeatureColumn) -> PostDataset:
    """Three posts, of which the second has no comments; a corpus lent each of them the text 3."""
    given, lent = np.array([[0, 1], [3, -1], [1, 3]]), np.array([[3, -1]] * 3)
    columns = PostColumns(
        {"comments": VECTORS},
        CommentColumn(texts, given, blank=2, fresh_rows=lent),
        np.array([True, False, True]),
    )
    return PostDataset(columns, np.array([2, 1, 0]), labels=np.array([0, 1, 2]))


def test_a_fresh_post_is_shown_with_what_it_would_be_lent(dataset: PostDataset) -> None:
    batch = replace(dataset, fresh=np.array([True, False, False]))[np.array([0, 2])]
    assert batch["comments"].pooled.tolist() == [[0, 0], [1, 2]]
    assert batch["comments"].present.tolist() == [False, True]
    assert batch.comments is not None
    assert batch.comments.present.tolist() == [[True, False], [True, True]]
    pooled = batch.comments.texts.pooled.view(2, 2, 2)[..., 0]  # type: ignore[union-attr]
    assert pooled[batch.comments.present].tolist() == [9.0, 2.0, 4.0]


def test_posts_are_hidden_as_often_as_asked_for_others_each_time(dataset: PostDataset) -> None:
    many = replace(dataset, rows=np.zeros(4000, dtype=np.int64), labels=None)
    first, again, other = (hide_comments(many, 0.3, [0, epoch]).fresh for epoch in (0, 0, 1))
    assert first is not None and other is not None
    np.testing.assert_array_equal(first, again)
    assert first.mean() == pytest.approx(0.3, abs=0.03)
    assert (first & other).mean() == pytest.approx(0.09, abs=0.02)


def test_a_post_with_comments_has_a_twin_without_that_counts_less(dataset: PostDataset) -> None:
    twins = with_fresh_twins(dataset, 0.25)
    assert twins.rows.tolist() == [2, 1, 0, 2, 0] and twins.weights is not None
    assert twins.labels is not None and twins.labels.tolist() == [0, 1, 2, 0, 2]
    assert twins.weights.tolist() == [1.0, 1.0, 1.0, 0.25, 0.25]
    batch = twins[np.arange(5)]
    assert batch["comments"].present.tolist() == [True, False, True, False, False]
    assert with_fresh_twins(dataset, 0.0) is dataset
