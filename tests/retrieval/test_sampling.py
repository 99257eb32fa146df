import numpy as np
from made_vectors import MadeSource, make_source

from postsense.retrieval import sampling
from postsense.retrieval.sampling import draw_vectors, present_vectors


def test_posts_without_the_modality_are_never_drawn():
    source = make_source(500, missing=0.3)
    drawn = draw_vectors(source, "image", 10_000, seed=0)
    assert len(drawn) == source.image.any(axis=1).sum() and drawn.any(axis=1).all()


def test_a_draw_is_as_large_as_asked_and_decided_by_its_seed():
    source = make_source(3000, missing=0)
    first, same, other = (draw_vectors(source, "text", 1200, seed) for seed in (0, 0, 1))
    assert len(first) == 1200
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_rare_vectors_are_looked_for_among_all_posts(monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 256)
    source = make_source(3000, missing=0)
    rare = np.where(source.numbers[:, None] % 100 == 3, source.image, 0)
    drawn = draw_vectors(MadeSource(rare, source.text, source.numbers), "image", 60, seed=0)
    assert len(drawn) == 30


def test_present_vectors_are_all_in_order(monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 64)
    source = make_source(200, missing=0.3)
    numbers, vectors = zip(*present_vectors(source, "text"))
    there = source.text.any(axis=1)
    assert np.array_equal(np.concatenate(numbers), source.numbers[there])
    assert np.array_equal(np.concatenate(vectors), source.text[there])
