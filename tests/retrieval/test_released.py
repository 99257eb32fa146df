from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from made_vectors import MadeSource, make_queries, make_source

from postsense.errors import CorpusError
from postsense.retrieval import released
from postsense.retrieval.released import ReleasedIndex, build_released, open_released_index

COUNT = 2000


@pytest.fixture(scope="module")
def source() -> MadeSource:
    return make_source(COUNT)


@pytest.fixture(scope="module")
def index(source) -> ReleasedIndex:
    return build_released(source)


@dataclass
class MadeCorpus(MadeSource):
    """A source with what a corpus adds."""

    folder: object = None
    manifest: object = None

    def __len__(self):
        return len(self.numbers)


def make_corpus(folder, count, identity="one") -> MadeCorpus:
    made = make_source(count)
    manifest = SimpleNamespace(id=identity)
    return MadeCorpus(made.image, made.text, made.numbers, [], folder, manifest)


def lists_of(index, image, text):
    """Number to distance in each modality's list of one query, from the indexes themselves."""
    out = []
    for part, vector in ((index.image, image), (index.text, text)):
        padded = np.pad(vector, (0, part.d - len(vector)))[None]
        distances, numbers = part.search(padded, index.nearest)
        near = 100 * (distances[0] / 100).astype(np.float16).astype(float)
        out.append({number: d for number, d in zip(numbers[0].tolist(), near) if number >= 0})
    return out


def test_hits_are_the_intersection_of_both_lists_by_weighted_distance(index):
    image, text, alpha = make_queries(30)
    hits, compared = index.search(image, text, alpha, 5), 0
    for row in range(2, 30):
        by_image, by_text = lists_of(index, image[row], text[row])
        both = by_image.keys() & by_text.keys()
        weight = float(alpha[row])
        scores = {n: weight * by_image[n] + (1 - weight) * by_text[n] for n in both}
        expected = sorted(scores.values())[:5]
        compared += len(both) > 0
        if both:
            found = hits.scores[row][: len(expected)]
            np.testing.assert_allclose(-found, expected, rtol=1e-5)
            assert set(hits.numbers[row][hits.numbers[row] >= 0].tolist()) <= both
    assert compared > 10


def test_a_list_holds_a_tenth_of_the_corpus(index):
    assert index.nearest == COUNT // 10
    by_image, by_text = lists_of(index, *(part[5] for part in make_queries(6)[:2]))
    assert len(by_image) == len(by_text) == index.nearest


def test_codes_have_eight_bytes_and_cells_are_scaled_to_the_corpus(index):
    assert index.image.code_size == index.text.code_size == 8
    assert index.image.nlist == COUNT // 103
    assert index.image.nprobe == 19  # ten times R posts, as published: all cells


def test_a_post_without_a_modality_is_not_in_its_list(index, source):
    assert index.image.ntotal == source.image.any(axis=1).sum()
    assert index.text.ntotal == source.text.any(axis=1).sum()


def test_a_query_without_picture_gets_its_text_list(index):
    image, text, alpha = make_queries(1)
    hits = index.search(image, text, alpha, 4)
    expected = sorted(lists_of(index, text=text[0], image=image[0])[1].values())[:4]
    np.testing.assert_allclose(-hits.scores[0], expected, rtol=1e-6)


def test_a_query_without_text_gets_its_picture_list(index):
    image, text, alpha = (part[1:] for part in make_queries(2))
    hits = index.search(image, text, alpha, 4)
    expected = sorted(lists_of(index, text=text[0], image=image[0])[0].values())[:4]
    np.testing.assert_allclose(-hits.scores[0], expected, rtol=1e-6)


def test_an_empty_intersection_is_answered_by_the_text_list(source):
    halves = MadeSource(source.image.copy(), source.text.copy(), source.numbers)
    halves.image[: COUNT // 2], halves.text[COUNT // 2 :] = 0, 0
    image, text, alpha = (part[2:] for part in make_queries(5))
    hits = build_released(halves).search(image, text, alpha, 3)
    assert (hits.numbers >= 0).all() and (hits.numbers < COUNT // 2).all()


def test_a_query_without_both_has_no_hits(index):
    image, text, alpha = make_queries(3)
    image[2], text[2] = 0, 0
    assert index.search(image, text, alpha, 2).numbers[2].tolist() == [-1, -1]


def test_padding_of_short_lists_never_comes_back(index):
    probed = index.image.nprobe
    index.image.nprobe = index.text.nprobe = 1
    hits = index.search(*make_queries(20), 50)
    index.image.nprobe = index.text.nprobe = probed
    assert ((hits.numbers >= 0) == np.isfinite(hits.scores)).all()
    assert (hits.scores[:, 1:] <= hits.scores[:, :-1]).all() and (hits.numbers < 0).any()


def test_no_bit_depends_on_the_other_queries(index):
    image, text, alpha = make_queries(40)
    together = index.search(image, text, alpha, 5)
    for row in range(40):
        alone = index.search(image[[row]], text[[row]], alpha[[row]], 5)
        assert together.numbers[row].tobytes() == alone.numbers.tobytes()
        assert together.scores[row].tobytes() == alone.scores.tobytes()


def test_the_same_seed_gives_the_same_hits(source, index):
    again = build_released(source).search(*make_queries(9), 5)
    assert again.scores.tobytes() == index.search(*make_queries(9), 5).scores.tobytes()


@pytest.mark.parametrize("count", [1, 5, 99])
def test_a_small_corpus_is_searched_too(count):
    index = build_released(make_source(count, missing=0))
    assert index.nearest == count
    hits = index.search(*make_queries(3), 2)
    assert (hits.numbers[:, 0] >= 0).all()


def test_cells_may_be_fewer():
    assert build_released(make_source(600), posts_per_cell=200).image.nlist == 3


def test_a_corpus_without_pictures_is_searched_by_words():
    source = make_source(300)
    source.image[:] = 0
    index = build_released(source)
    assert index.image is None
    assert (index.search(*(part[2:] for part in make_queries(5)), 3).numbers >= 0).all()


def test_queries_that_are_not_finite_are_refused(index):
    image, text, alpha = make_queries(3)
    image[2, 0] = np.nan
    with pytest.raises(CorpusError, match="query 2"):
        index.search(image, text, alpha, 3)


def test_the_index_of_a_corpus_is_built_once_and_kept(monkeypatch, tmp_path):
    corpus = make_corpus(tmp_path, 120)
    once = open_released_index(corpus).search(*make_queries(9), 5)
    monkeypatch.setattr(released, "build_released", None)
    again = open_released_index(corpus).search(*make_queries(9), 5)
    assert once.scores.tobytes() == again.scores.tobytes()


@pytest.mark.parametrize("change", ["more posts", "other corpus", "damaged"])
def test_the_index_is_built_again_when_it_does_not_fit(change, monkeypatch, tmp_path):
    built = open_released_index(make_corpus(tmp_path, 120))
    count = 130 if change == "more posts" else 120
    corpus = make_corpus(tmp_path, count, "two" if change == "other corpus" else "one")
    if change == "damaged":
        (tmp_path / "released" / "text.faiss").write_bytes(b"half")
    builds = []
    monkeypatch.setattr(released, "build_released", lambda *_, **__: builds.append(1) or built)
    open_released_index(corpus)
    open_released_index(corpus)  # this time it fits
    assert len(builds) == 1
