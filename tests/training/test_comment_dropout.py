"""A student misses some comments; their places are taken by those it still has."""

from itertools import product

import numpy as np
import pytest
import torch

from postsense.encoders.embeddings import Embeddings
from postsense.inputs.batches import Comments, PostBatch, TokenIds
from postsense.training.comment_dropout import drop_comments, survivors_cycled


@pytest.mark.parametrize("dropped", list(product([False, True], repeat=4)))
def test_survivors_are_cycled_as_the_paper_says(dropped: tuple[bool, ...]) -> None:
    present = torch.ones(1, 4, dtype=torch.bool)
    survivors = [place for place in range(4) if not dropped[place]] or [3]
    expected = [survivors[place % len(survivors)] for place in range(4)]
    assert survivors_cycled(present, torch.tensor([dropped])).tolist() == [expected]


def test_a_post_with_fewer_comments_keeps_its_number_of_them() -> None:
    present = torch.tensor([[True, True, False], [False, False, False]])
    dropped = torch.tensor([[True, False, False], [True, True, True]])
    assert survivors_cycled(present, dropped).tolist() == [[1, 1, 2], [0, 1, 2]]


def test_if_all_are_dropped_the_last_stays() -> None:
    present = torch.tensor([[True, True, True, False]])
    assert survivors_cycled(present, torch.ones(1, 4, dtype=torch.bool)).tolist() == [[2, 2, 2, 3]]


def batch_of(posts: int = 400, comments: int = 5) -> PostBatch:
    pooled = torch.arange(posts * comments, dtype=torch.float32)[:, None]
    texts = Embeddings(pooled, torch.ones(posts * comments, dtype=torch.bool))
    present = torch.ones(posts, comments, dtype=torch.bool)
    return PostBatch({}, comments=Comments(texts, present))


def shown(batch: PostBatch) -> np.ndarray:
    assert batch.comments is not None and isinstance(batch.comments.texts, Embeddings)
    return batch.comments.texts.pooled.view(batch.comments.present.shape).numpy()


def test_half_of_the_comments_are_missed_on_average() -> None:
    seen = shown(drop_comments(0.5)(batch_of(), torch.Generator().manual_seed(0)))
    kept = np.mean([len(set(row)) for row in seen])
    assert kept == pytest.approx(2.5 + 0.5**5, abs=0.1)
    assert (seen // 5 == np.arange(400)[:, None]).all()  # no post sees another's comments


def test_the_generator_decides_what_is_dropped() -> None:
    def draw(seed: int) -> np.ndarray:
        return shown(drop_comments(0.5)(batch_of(), torch.Generator().manual_seed(seed)))

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def test_without_dropout_or_comments_a_batch_stays_as_it_is() -> None:
    batch, bare = batch_of(), PostBatch({})
    generator = torch.Generator().manual_seed(0)
    assert drop_comments(0.0)(batch, generator) is batch
    assert drop_comments(0.5)(bare, generator) is bare


def test_token_ids_move_as_features_do() -> None:
    ids = torch.arange(10)[:, None]
    comments = Comments(TokenIds(ids, torch.ones_like(ids, dtype=torch.bool)), torch.ones(2, 5) > 0)
    one = drop_comments(0.5)(PostBatch({}, comments=comments), torch.Generator().manual_seed(3))
    two = drop_comments(0.5)(batch_of(posts=2), torch.Generator().manual_seed(3))
    assert one.comments is not None and isinstance(one.comments.texts, TokenIds)
    assert one.comments.texts.ids.view(2, 5).tolist() == shown(two).astype(int).tolist()


def shifted(probability: float, comments: Comments) -> Comments:
    """What a student is shown of comments, by the generator of seed 3."""
    batch = PostBatch({}, comments=comments)
    seen = drop_comments(probability)(batch, torch.Generator().manual_seed(3)).comments
    assert seen is not None
    return seen


def test_which_token_ids_are_words_moves_along_with_them() -> None:
    ids = torch.arange(10)[:, None] * torch.ones(1, 4, dtype=torch.int64)
    mask = torch.arange(4) < 1 + torch.arange(10)[:, None] % 4  # a comment of n has 1 + n % 4 words
    seen = shifted(0.5, Comments(TokenIds(ids, mask), torch.ones(2, 5) > 0)).texts
    assert isinstance(seen, TokenIds)
    assert not torch.equal(seen.ids, ids)
    assert seen.mask.sum(dim=1).tolist() == (1 + seen.ids[:, 0] % 4).tolist()


def test_a_comment_without_words_stays_one_wherever_it_is_shown() -> None:
    pooled = torch.arange(10.0)[:, None]
    there = torch.arange(10) % 2 == 0
    seen = shifted(0.5, Comments(Embeddings(pooled, there), torch.ones(2, 5) > 0)).texts
    assert isinstance(seen, Embeddings)
    assert not torch.equal(seen.pooled, pooled)
    assert seen.present.tolist() == (seen.pooled[:, 0] % 2 == 0).tolist()
