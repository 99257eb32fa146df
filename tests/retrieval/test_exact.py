import numpy as np
import pytest
from made_vectors import IMAGE_DIM, TEXT_DIM, MadeSource, make_queries, make_source, slow_scores

from postsense.errors import CorpusError
from postsense.retrieval.exact import ExactIndex, exact_candidates
from postsense.retrieval.ranking import as_float32, check_queries, rank


def test_hits_are_those_of_scoring_every_pair_slowly():
    source, (image, text, alpha) = make_source(200), make_queries(12)
    hits = ExactIndex(source).search(image, text, alpha, 7)
    for row in range(12):
        scores = slow_scores(source, image[row], text[row], float(alpha[row]))
        assert hits.numbers[row].tolist() == np.argsort(-scores, kind="stable")[:7].tolist()
        np.testing.assert_allclose(hits.scores[row], np.sort(scores)[::-1][:7], atol=1e-6)


@pytest.mark.parametrize("post_block", [1, 7, 64, 1000])
def test_no_bit_depends_on_the_block_size(post_block):
    source, queries = make_source(300), make_queries(20)
    whole = ExactIndex(source).search(*queries, 9)
    blocked = ExactIndex(source, post_block).search(*queries, 9)
    assert whole.numbers.tobytes() == blocked.numbers.tobytes()
    assert whole.scores.tobytes() == blocked.scores.tobytes()


def test_no_bit_depends_on_the_other_queries_or_their_order():
    source, (image, text, alpha) = make_source(300), make_queries(70)
    together = ExactIndex(source).search(image, text, alpha, 5)
    order = np.random.default_rng(3).permutation(70)
    shuffled = ExactIndex(source).search(image[order], text[order], alpha[order], 5)
    assert together.scores[order].tobytes() == shuffled.scores.tobytes()
    for row in range(70):
        alone = ExactIndex(source).search(image[[row]], text[[row]], alpha[[row]], 5)
        assert together.scores[row].tobytes() == alone.scores.tobytes()
        assert together.numbers[row].tobytes() == alone.numbers.tobytes()


def test_no_bit_depends_on_the_number_of_threads():
    source, queries = make_source(300), check_queries(make_source(1), *make_queries(100))
    candidates = exact_candidates(source, source.numbers, queries, 5)
    one = rank(source, queries, candidates, 5, threads=1)
    many = rank(source, queries, candidates, 5, threads=4)
    assert one.numbers.tobytes() == many.numbers.tobytes()
    assert one.scores.tobytes() == many.scores.tobytes()


def test_no_bit_depends_on_the_order_of_candidates():
    source, queries = make_source(50), check_queries(make_source(1), *make_queries(1))
    forward = rank(source, queries, [np.arange(50)], 5)
    backward = rank(source, queries, [np.arange(50)[::-1]], 5)
    assert forward.scores.tobytes() == backward.scores.tobytes()
    assert forward.numbers.tobytes() == backward.numbers.tobytes()


def test_copies_of_a_post_come_in_the_order_of_their_numbers():
    source, (image, text, alpha) = make_source(1), make_queries(3)
    copies = MadeSource(
        np.repeat(source.image, 500, axis=0), np.repeat(source.text, 500, axis=0), np.arange(500)
    )
    hits = ExactIndex(copies, post_block=33).search(image, text, alpha, 4)
    assert hits.numbers.tolist() == [[0, 1, 2, 3]] * 3


def test_fewer_posts_than_hits_are_padded():
    hits = ExactIndex(make_source(3, missing=0)).search(*make_queries(4), 5)
    assert (hits.numbers[:, 3:] == -1).all() and (hits.scores[:, 3:] == -np.inf).all()
    assert sorted(hits.numbers[0, :3].tolist()) == [0, 1, 2]


def test_a_corpus_of_one_post_has_one_hit_and_of_none_has_none():
    assert ExactIndex(make_source(1)).search(*make_queries(2), 2).numbers.tolist() == [[0, -1]] * 2
    assert ExactIndex(make_source(0)).search(*make_queries(2), 2).numbers.tolist() == [[-1, -1]] * 2


def test_no_queries_have_no_hits():
    hits = ExactIndex(make_source(5)).search(*(part[:0] for part in make_queries(2)), 3)
    assert hits.numbers.shape == hits.scores.shape == (0, 3)


def test_a_query_without_picture_and_text_has_no_hits_and_disturbs_no_other():
    source, (image, text, alpha) = make_source(40), make_queries(6)
    before = ExactIndex(source).search(image, text, alpha, 3)
    image[4], text[4] = 0, 0
    after = ExactIndex(source).search(image, text, alpha, 3)
    assert (after.numbers[4] == -1).all() and (after.scores[4] == -np.inf).all()
    others = [0, 1, 2, 3, 5]
    assert after.numbers[others].tolist() == before.numbers[others].tolist()


def test_a_missing_modality_of_the_query_leaves_the_other_at_full_weight():
    source, (image, text, _) = make_source(40), make_queries(2)
    hits = ExactIndex(source).search(image, text, np.full(2, 0.3), 1)
    assert hits.scores[0, 0] == pytest.approx((source.text.astype(float) @ text[0]).max())
    assert hits.scores[1, 0] == pytest.approx((source.image.astype(float) @ image[1]).max())


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_queries_that_are_not_finite_are_refused(part, value):
    queries = make_queries(4)
    queries[part][2] = value
    with pytest.raises(CorpusError, match="query 2: expected finite .* found NaN or infinity"):
        ExactIndex(make_source(5)).search(*queries, 3)


def test_queries_of_other_encoders_are_refused():
    image, text, alpha = make_queries(4)
    with pytest.raises(CorpusError, match="encoders of the corpus"):
        ExactIndex(make_source(5)).search(image[:, :-1], text, alpha, 3)
    with pytest.raises(CorpusError, match=rf"\(4, {IMAGE_DIM}\), \(4, {TEXT_DIM}\), \(4,\)"):
        ExactIndex(make_source(5)).search(image, text[:3], alpha, 3)


def test_alpha_out_of_range_is_refused():
    image, text, alpha = make_queries(4)
    with pytest.raises(CorpusError, match="alpha from 0 to 1, found .* to 1.5"):
        ExactIndex(make_source(5)).search(image, text, np.append(alpha[:3], 1.5), 3)


def test_half_precision_is_converted_without_change_whatever_its_shape_or_owner():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)][: 31 * 2000].reshape(31, 2000)
    finite.flags.writeable = False
    assert as_float32(finite).tobytes() == finite.astype(np.float32).tobytes()
    assert as_float32(finite[:, ::7]).tobytes() == finite[:, ::7].astype(np.float32).tobytes()
    assert as_float32(finite[:0]).shape == (0, 2000)


def test_vectors_are_read_in_blocks():
    source = make_source(300)
    ExactIndex(source, post_block=64).search(*make_queries(2), 3)
    assert source.read[:5] == [64, 64, 64, 64, 44]
    assert max(source.read[5:]) < 30  # to rank the candidates
