import faiss
import numpy as np
import pytest
from made_vectors import MadeSource, make_queries, make_source

from postsense.errors import CorpusError
from postsense.progress import silent
from postsense.retrieval.codes import build_codes
from postsense.retrieval.compressed import CompressedIndex, trials, tune
from postsense.retrieval.exact import ExactIndex
from postsense.retrieval.ranking import Hits, check_queries
from postsense.retrieval.recall import (
    make_recall_test,
    other_scores,
    shares_found,
    wilson_interval,
)

COUNT = 3000


@pytest.fixture(scope="module")
def source() -> MadeSource:
    return make_source(COUNT)


@pytest.fixture(scope="module")
def index(source) -> CompressedIndex:
    return compress(source, depth=300)


def compress(source, depth, seed=0, probed=1.0):
    codes = build_codes(source, seed, silent)
    highest = int(source.numbers[-1])
    return CompressedIndex(source, codes, probed=probed, depth=depth, highest=highest)


def test_most_exact_hits_are_found_and_their_scores_are_exact_to_the_bit(source, index):
    queries = make_queries(50)
    found, exact = index.search(*queries, 5), ExactIndex(source).search(*queries, 5)
    same = found.numbers == exact.numbers
    assert same.mean() > 0.95
    assert found.scores[same].tobytes() == exact.scores[same].tobytes()


@pytest.mark.parametrize("weight", [0, 0.3, 0.5, 0.7, 1])
def test_any_weight_of_the_picture_is_answered(source, index, weight):
    image, text, _ = make_queries(50)
    alpha = np.full(50, weight)
    found = index.search(image, text, alpha, 5).numbers
    exact = ExactIndex(source).search(image, text, alpha, 5).numbers
    assert (found == exact).mean() > 0.9


def test_probing_fewer_cells_finds_less_but_never_fewer_hits(source, index):
    queries = make_queries(50)
    exact = ExactIndex(source).search(*queries, 5).numbers
    some = compress(source, depth=20, probed=1 / 8).search(*queries, 5).numbers
    all_ = compress(source, depth=20).search(*queries, 5).numbers
    assert (some >= 0).all()
    assert 0.3 < (some == exact).mean() < (all_ == exact).mean()


def test_ranking_all_candidates_is_exact_search(source):
    index, queries = compress(source, depth=COUNT), make_queries(20)
    found, exact = index.search(*queries, 5), ExactIndex(source).search(*queries, 5)
    assert found.numbers.tobytes() == exact.numbers.tobytes()
    assert found.scores.tobytes() == exact.scores.tobytes()


def test_no_bit_depends_on_the_other_queries_or_the_number_of_threads(index):
    image, text, alpha = make_queries(70)
    together = index.search(image, text, alpha, 5)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    for row in range(70):
        alone = index.search(image[[row]], text[[row]], alpha[[row]], 5)
        assert together.scores[row].tobytes() == alone.scores.tobytes()
        assert together.numbers[row].tobytes() == alone.numbers.tobytes()
    faiss.omp_set_num_threads(threads)


def test_a_seed_gives_the_same_codes_with_any_number_of_threads(source):
    def codes(threads, seed):
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(threads)
        index = build_codes(source, seed, silent)
        faiss.omp_set_num_threads(before)
        return faiss.serialize_index(index).tobytes()

    assert codes(1, 0) == codes(3, 0)
    assert codes(1, 0) != codes(1, 1)


def test_memory_of_a_build_is_bounded_by_the_posts_read_at_a_time(source):
    source.read.clear()
    build_codes(source, 0, silent)
    assert max(source.read) <= COUNT


def test_projected_queries_keep_inner_products_of_vectors_that_are_narrow(source, index):
    queries = check_queries(source, *make_queries(5))
    image, text = source.vectors(np.arange(9))
    inner = index.axes.project_queries(queries) @ index.axes.project(image, text).T
    expected = queries.weighted_image @ image.T + queries.weighted_text @ text.T
    np.testing.assert_allclose(inner, expected, atol=1e-3)


def test_posts_of_one_modality_only_are_compressed_too(source):
    words = MadeSource(np.zeros_like(source.image), source.text, source.numbers)
    found = compress(words, depth=500).search(*make_queries(20), 3)
    exact = ExactIndex(words).search(*make_queries(20), 3)
    there = make_queries(20)[1].any(axis=1)
    assert (found.numbers == exact.numbers)[there].mean() > 0.9


def test_a_modality_that_few_posts_have_is_searched_well(monkeypatch, source):
    monkeypatch.setattr("postsense.retrieval.codes.TRAINING_POSTS", 1000)
    image = np.where(source.numbers[:, None] % 50 == 7, source.image, 0)
    rare = MadeSource(image, source.text, source.numbers)
    queries = (*make_queries(20)[:2], np.ones(20))
    found, exact = (
        compress(rare, depth=300).search(*queries, 3),
        ExactIndex(rare).search(*queries, 3),
    )
    assert (found.numbers == exact.numbers).mean() > 0.9


def test_odd_numbers_of_code_parts_work(source):
    narrow = MadeSource(source.image[:, :6], source.text[:, :3], source.numbers)
    image, text, alpha = make_queries(9)
    queries = image[:, :6], text[:, :3], alpha
    found = compress(narrow, depth=COUNT).search(*queries, 3)
    assert found.numbers.tolist() == ExactIndex(narrow).search(*queries, 3).numbers.tolist()


def test_numbers_with_gaps_come_back_as_they_are(source):
    gaps = MadeSource(source.image, source.text, source.numbers * 3 + 5)
    found = compress(gaps, depth=COUNT).search(*make_queries(20), 5)
    exact = ExactIndex(gaps).search(*make_queries(20), 5)
    assert found.numbers.tolist() == exact.numbers.tolist()


def test_more_hits_than_posts_are_padded(index):
    hits = index.search(*make_queries(3), COUNT + 2)
    assert (hits.numbers[:, COUNT:] == -1).all() and (hits.scores[:, COUNT:] == -np.inf).all()
    assert sorted(hits.numbers[0, :COUNT].tolist()) == list(range(COUNT))


def test_a_query_without_picture_and_text_has_no_hits(index):
    image, text, alpha = make_queries(3)
    image[2], text[2] = 0, 0
    hits = index.search(image, text, alpha, 4)
    assert (hits.numbers[2] == -1).all() and (hits.numbers[:2] >= 0).all()


def test_no_queries_have_no_hits(index):
    assert index.search(*(part[:0] for part in make_queries(2)), 3).numbers.shape == (0, 3)


def test_queries_that_are_not_finite_are_refused(index):
    image, text, alpha = make_queries(3)
    text[2, 3] = np.nan
    with pytest.raises(CorpusError, match="query 2: expected finite text values"):
        index.search(image, text, alpha, 3)


def test_tuning_takes_the_first_trial_that_suffices(monkeypatch, source):
    monkeypatch.setattr("postsense.retrieval.compressed.DEPTHS", (20, 40, 1000, COUNT))
    index, test = compress(source, depth=0), make_recall_test(source, 0)
    recall = tune(index, test, 0.9)
    chosen = trials(COUNT).index((index.probed, index.depth))
    assert recall.worst >= 0.9 and chosen > 0
    index.probed, index.depth = trials(COUNT)[chosen - 1]
    assert test.measure(index.search_checked).worst < 0.9


def test_few_posts_are_all_scanned_before_more_candidates_are_ranked():
    assert trials(10_000)[4] == (1, 50) and trials(10_000)[-1] == (1, 3200)
    assert trials(30_000_000)[1][1] > 50  # of many posts, rather more candidates are


def test_an_index_that_stays_below_the_recall_is_refused(monkeypatch, source):
    monkeypatch.setattr("postsense.retrieval.compressed.DEPTHS", (24,))
    with pytest.raises(CorpusError, match=r"at least 1 .* found 0\.\d+ with 24 candidates .*exact"):
        tune(compress(source, depth=0), make_recall_test(source, 0), 1.0)


def test_the_recall_test_asks_with_posts_and_never_counts_them(source):
    test = make_recall_test(source, 0)
    exact = ExactIndex(source)
    recall = test.measure(lambda queries, k: exact.search(*_parts(queries), k))
    assert recall.mean == recall.worst == 1
    assert sorted(recall.by_alpha) == ["0", "0.3", "0.5", "0.7", "1"]
    assert len(set(test.own.tolist())) == len(test.own) == 500


def _parts(queries):
    return queries.image, queries.text, queries.alpha


def test_finding_nothing_is_a_recall_of_zero(source):
    def nothing(queries, k):
        shape = (len(queries), k)
        return Hits(np.full(shape, -1), np.full(shape, -np.inf, dtype=np.float32))

    assert make_recall_test(source, 0).measure(nothing).mean == 0


def test_the_own_post_is_left_out_wherever_it_is():
    numbers, scores = np.array([[4, 7, 9], [7, 4, 9], [1, 2, 3]]), np.array([[3.0, 2.0, 1.0]] * 3)
    others = other_scores(Hits(numbers, scores), np.array([4, 4, 4]))
    assert others.tolist() == [[2, 1], [3, 1], [3, 2]]


def test_copies_of_a_post_stand_for_each_other_in_recall():
    exact = np.array([[0.9, 0.8, 0.8], [0.9, 0.5, -np.inf], [-np.inf] * 3])
    found = np.array([[0.8, 0.8, 0.7], [0.9, 0.4, 0.3], [-np.inf] * 3])
    np.testing.assert_allclose(shares_found(found, exact), [2 / 3, 1 / 2, 1])


def test_wilson_interval_of_a_known_share():
    low, high = wilson_interval(0.8, 10)  # worked by hand from the formula
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson_interval(1.0, 300)[1] == 1 and wilson_interval(0.0, 300)[0] == pytest.approx(0)
