import numpy as np
import pytest
from made_vectors import make_queries, make_source

from postsense.retrieval.exact import ExactIndex
from postsense.retrieval.weights import balance, estimate_alpha


def slow_balance(image, text):
    """Xu & Li 2022, eqs. 2-4, one term at a time."""
    means = []
    for distances in (image, text):
        total, count = 0.0, 0
        for query in distances:
            for distance in query:
                total, count = total + distance, count + 1
        means.append(total / count)
    return means[1] / (means[0] + means[1])


def test_balance_is_that_of_the_equations_written_slowly():
    generator = np.random.default_rng(0)
    image, text = generator.random((7, 10)), 3 * generator.random((7, 10))
    assert balance(image, text) == pytest.approx(slow_balance(image, text))


def test_balance_of_known_distances():
    assert balance(np.array([[1.0, 3.0]]), np.array([[6.0, 6.0]])) == 0.75


def test_the_modality_with_larger_distances_weighs_less():
    far, near = np.full((2, 3), 1.5), np.full((2, 3), 0.5)
    assert balance(far, near) == 0.25
    assert balance(near, far) == 0.75


def test_weighted_mean_distances_are_equal():
    generator = np.random.default_rng(0)
    image, text = generator.random((7, 10)), 3 * generator.random((7, 10))
    alpha = balance(image, text)
    assert alpha * image.mean() == pytest.approx((1 - alpha) * text.mean())


def test_missing_hits_do_not_count():
    assert balance(np.array([[1.0, np.nan]]), np.array([[3.0, np.nan]])) == 0.75


def test_balance_of_nothing_is_even():
    assert balance(np.zeros((2, 3)), np.zeros((2, 3))) == 0.5
    assert balance(np.zeros((0, 3)), np.zeros((0, 3))) == 0.5


def test_alpha_is_estimated_from_the_nearest_posts_of_queries_that_have_both():
    source, (image, text, _) = make_source(60, missing=0), make_queries(9)
    means = []
    for posts, queries in ((source.image, image[2:]), (source.text, text[2:])):
        differences = posts.astype(float)[None] - queries[:, None]
        means.append(np.sort((differences**2).sum(axis=2), axis=1)[:, :10].mean())
    expected = means[1] / (means[0] + means[1])
    assert estimate_alpha(ExactIndex(source), image, text) == pytest.approx(expected, abs=1e-3)


def test_alpha_is_even_if_no_query_has_both():
    image, text, _ = make_queries(2)
    assert estimate_alpha(ExactIndex(make_source(20)), image, text) == 0.5


def test_fewer_posts_than_ranks_still_give_an_alpha():
    image, text, _ = make_queries(4)
    assert 0 < estimate_alpha(ExactIndex(make_source(3, missing=0)), image, text) < 1
