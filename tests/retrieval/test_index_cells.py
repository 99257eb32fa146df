import faiss
import numpy as np
import pytest
from made_vectors import make_source

from postsense.progress import silent
from postsense.retrieval.cells import best_cells, centroids_of, learn_cells
from postsense.retrieval.codes import axes_of, build_codes


def slow_cell(vector, centroids):
    """The nearest center of each half, as one number: text cell times K plus picture cell."""
    half, cells = len(vector) // 2, []
    for part, centers in zip((vector[:half], vector[half:]), centroids):
        cells.append(min(range(len(centers)), key=lambda c: ((part - centers[c]) ** 2).sum()))
    return cells[1] * len(centroids[0]) + cells[0]


@pytest.fixture(scope="module")
def built():
    source = make_source(9000)
    index = build_codes(source, 0, silent)
    return source, index, faiss.downcast_index(index.index)


def test_a_post_lies_in_the_cell_of_its_nearest_picture_and_text_centers(built):
    source, index, codes = built
    vectors = axes_of(index, source.image_dim).project(*source.vectors(np.arange(200)))
    lists = [
        set(faiss.rev_swig_ptr(codes.invlists.get_ids(cell), codes.invlists.list_size(cell)))
        for cell in range(codes.nlist)
    ]
    same = [n in lists[slow_cell(vectors[n], centroids_of(codes))] for n in range(200)]
    assert np.mean(same) > 0.99  # but for rounding


def test_the_best_cells_are_those_of_largest_weighted_inner_product(built):
    centroids = centroids_of(built[2])
    queries = np.random.default_rng(0).standard_normal((7, 2 * centroids.shape[2]))
    queries = queries.astype(np.float32)
    cells = best_cells(queries, centroids, 5)
    half, width = centroids.shape[2], len(centroids[0])
    for query, found in zip(queries, cells):
        scores = [
            query[:half] @ centroids[0][cell % width] + query[half:] @ centroids[1][cell // width]
            for cell in range(width**2)
        ]
        assert set(found.tolist()) == set(np.argsort(scores)[-5:].tolist())


def test_posts_that_lack_a_modality_have_cells_of_their_own(built):
    source, _, codes = built
    width = len(centroids_of(codes)[0])
    assert not centroids_of(codes)[:, -1].any()
    cells = range(width - 1, width**2, width)
    sizes = [codes.invlists.list_size(cell) for cell in cells]
    assert sum(sizes) >= (~source.image.any(axis=1)).sum()


def test_all_cells_may_be_asked_for(built):
    centroids = centroids_of(built[2])
    queries = np.ones((2, 2 * centroids.shape[2]), dtype=np.float32)
    count = len(centroids[0]) ** 2
    assert best_cells(queries, centroids, count).tolist() == [list(range(count))] * 2


@pytest.mark.parametrize(("posts", "cells"), [(1_000, 4), (50_000, 256), (1_000_000, 4096)])
def test_cells_hold_about_250_posts(posts, cells):
    vectors = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    assert learn_cells(vectors, vectors, posts, 0).ntotal == cells


def test_fewer_vectors_than_cells_are_enough():
    vectors = np.zeros((1, 4), dtype=np.float32)
    assert learn_cells(vectors, vectors, 50_000, 0).ntotal == 256
