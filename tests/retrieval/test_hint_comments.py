"""Which comments hint: those the others agree with, none that fits any post."""

import numpy as np
import pytest

from postsense.config import CommentSettings
from postsense.retrieval.comments import (
    PooledComment,
    choose_hints,
    consensus_scores,
    genericness,
)

GENERATOR = np.random.default_rng(0)


def units(count: int, dim: int = 6) -> np.ndarray:
    vectors = GENERATOR.normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def comment(text: str, vector: np.ndarray, generic: float = 0.0, post: str = "c") -> PooledComment:
    return PooledComment(text, post, vector, generic)


def naive_consensus(vectors: np.ndarray) -> list[float]:
    """Xu & Li 2022, eq. 5, one cosine at a time."""
    scores = []
    for one in vectors:
        cosines = [
            sum(a * b for a, b in zip(one, other)) / (np.linalg.norm(one) * np.linalg.norm(other))
            for other in vectors
        ]
        scores.append(sum(cosines) / len(vectors))
    return scores


def test_consensus_equals_the_equation() -> None:
    vectors = units(7)
    assert consensus_scores(vectors).tolist() == pytest.approx(naive_consensus(vectors), abs=1e-6)


def test_comments_that_all_say_the_same_agree_fully() -> None:
    same = np.repeat(units(1), 4, axis=0)
    assert consensus_scores(same).tolist() == pytest.approx([1.0] * 4, abs=1e-6)


def test_genericness_is_the_likeness_to_the_nearest_phrase() -> None:
    vectors, phrases = units(5), units(3)
    expected = [max(float(v @ p) for p in phrases) for v in vectors]
    assert genericness(vectors, phrases).tolist() == pytest.approx(expected, abs=1e-6)
    assert genericness(phrases[:1], phrases).tolist() == pytest.approx([1.0], abs=1e-6)


def test_the_comments_of_highest_consensus_are_chosen_best_first() -> None:
    vectors = units(6)
    pool = [comment(f"comment number {n}", vector) for n, vector in enumerate(vectors)]
    hints = choose_hints(pool, CommentSettings(count=3))
    order = np.argsort(naive_consensus(vectors))[::-1][:3]
    assert [hint.text for hint in hints] == [f"comment number {n}" for n in order]
    assert hints[0].consensus >= hints[1].consensus >= hints[2].consensus


def test_short_and_generic_comments_are_dropped_before_the_choice() -> None:
    same = units(1)[0]
    pool = [
        comment("thank you so much", same, generic=0.9),
        comment("too short", same),
        comment("you must be soaked", same, generic=0.2),
    ]
    assert [hint.text for hint in choose_hints(pool, CommentSettings())] == ["you must be soaked"]
    kept = choose_hints(pool, CommentSettings(max_generic=1.0))
    assert [hint.text for hint in kept] == ["thank you so much", "you must be soaked"]


def test_a_text_under_two_posts_counts_once_and_under_the_first() -> None:
    first, second = units(2)
    pool = [
        comment("the very same words", first, post="near"),
        comment("some other words here", second, post="far"),
        comment("the very same words", first, post="far"),
    ]
    hints = choose_hints(pool, CommentSettings())
    assert sorted((hint.text, hint.post) for hint in hints) == [
        ("some other words here", "far"),
        ("the very same words", "near"),
    ]


def test_nothing_fit_gives_no_hint() -> None:
    assert choose_hints([], CommentSettings()) == ()
    assert choose_hints([comment("thanks a lot", units(1)[0], 0.9)], CommentSettings()) == ()
