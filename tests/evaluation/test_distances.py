"""Distances between posts are the means of their definition, pair by pair."""

import json
import math
from typing import Any

import numpy as np
import pytest

from postsense.evaluation import distances
from postsense.evaluation.distances import Distances, class_distances, mean_over_seeds

Array = np.ndarray[Any, Any]
KINDS = ("image_image", "text_text", "image_text")


def draw(posts: int, seed: int = 0) -> tuple[Array, Array, Array, Array, Array]:
    """Texts, pictures, labels and who has them; the first label lies apart from the others."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, posts)
    text, image = generator.normal(size=(2, posts, 4)).astype(np.float32)
    text[labels == 0] += 2
    has_text, has_image = generator.random((2, posts)) < 0.7
    return text, image, labels, has_text, has_image


def naive(one: Array, other: Array, labels: Array, pairs: Any, *, same: bool) -> float:
    """Mean distance one pair at a time."""
    found = []
    for i, j in pairs:
        if (labels[i] == labels[j]) == same:
            apart = one[i] / np.linalg.norm(one[i]) - other[j] / np.linalg.norm(other[j])
            found.append(math.sqrt(sum(float(x) ** 2 for x in apart)))
    return sum(found) / len(found)


@pytest.mark.parametrize("chunk", [3, 500])
@pytest.mark.parametrize("same", [True, False])
def test_distances_equal_their_double_loop(
    same: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distances, "_CHUNK", chunk)
    text, image, labels, has_text, has_image = draw(20)
    texts, images = np.flatnonzero(has_text), np.flatnonzero(has_image)
    pairs = {
        "image_image": (image, image, [(i, j) for i in images for j in images if i != j]),
        "text_text": (text, text, [(i, j) for i in texts for j in texts if i != j]),
        "image_text": (image, text, [(i, j) for i in images for j in texts]),
    }

    found = class_distances(text, image, labels, has_text, has_image)

    for kind, (one, other, chosen) in pairs.items():
        expected = naive(one, other, labels, chosen, same=same)
        assert found[kind]["same_label" if same else "different_label"] == pytest.approx(expected)


def test_three_posts_have_the_distances_worked_out_by_hand() -> None:
    text = np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    image = np.array([[1.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    everyone, root = np.ones(3, dtype=bool), math.sqrt(2)

    found = class_distances(text, image, np.array([0, 0, 1]), everyone, everyone)

    assert list(found) == list(KINDS)
    expected = {"same_label": 0.0, "different_label": root}
    assert found["image_image"] == pytest.approx(expected)
    expected = {"same_label": root, "different_label": (2 + root) / 2}
    assert found["text_text"] == pytest.approx(expected)
    expected = {"same_label": 3 * root / 5, "different_label": (2 + 2 + root + 0) / 4}
    assert found["image_text"] == pytest.approx(expected)


def test_neither_norm_nor_order_of_the_posts_matters() -> None:
    given = draw(30)
    order = np.random.default_rng(1).permutation(30)
    lengths = np.linspace(0.1, 9, 30)[:, None]
    found = class_distances(*given)

    other = class_distances(*(part[order] for part in given))
    longer = class_distances(given[0] * lengths, given[1] * lengths, *given[2:])

    for kind in KINDS:
        assert other[kind] == pytest.approx(found[kind])
        assert longer[kind] == pytest.approx(found[kind], rel=1e-6)


def test_pairs_that_are_not_there_have_no_distance() -> None:
    text, image, _, everyone, _ = draw(3)
    everyone[:] = True
    nobody = np.zeros(3, dtype=bool)

    alone = class_distances(text, image, np.arange(3), everyone, nobody)
    alike = class_distances(text, image, np.zeros(3), everyone, everyone)

    nothing = {"same_label": None, "different_label": None}
    assert alone["image_image"] == alone["image_text"] == nothing
    assert alone["text_text"]["same_label"] is None
    assert alone["text_text"]["different_label"] is not None
    assert [alike[kind]["different_label"] for kind in KINDS] == [None] * 3


def test_no_posts_have_no_distances() -> None:
    found = class_distances(*draw(0))

    assert {value for pairs in found.values() for value in pairs.values()} == {None}


def test_a_vector_of_zeros_is_at_distance_one_from_all_others() -> None:
    text, labels, everyone = np.array([[0.0, 0.0], [0.0, 7.0]]), np.zeros(2), np.ones(2, dtype=bool)

    found = class_distances(text, text, labels, everyone, everyone)

    assert found["text_text"]["same_label"] == 1.0
    assert found["image_text"]["same_label"] == 0.5  # own pairs are at 0


def test_of_many_posts_evenly_spaced_ones_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    given = draw(31)
    expected = class_distances(*(part[::3] for part in given))
    whole = class_distances(*given)

    monkeypatch.setattr(distances, "MAX_POSTS", 11)

    assert class_distances(*given) == expected != whole


def test_half_precision_vectors_are_measured_exactly() -> None:
    text, image, *others = draw(25)
    halves = text.astype(np.float16), image.astype(np.float16)

    found = class_distances(*halves, *others)

    exact = class_distances(*(half.astype(np.float64) for half in halves), *others)
    assert found == exact


def test_distances_are_plain_json() -> None:
    found = class_distances(*draw(9))

    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_mean_over_seeds_is_that_of_every_number() -> None:
    def seed(same: float) -> Distances:
        return {"text_text": {"same_label": same, "different_label": None}}

    mean = mean_over_seeds([seed(0.5), seed(1.0), seed(1.2)])

    assert mean == {
        "text_text": {"same_label": pytest.approx(0.9), "different_label": None},
    }
