import json

import numpy as np
import pytest
from made_vectors import MadeSource, make_queries, make_source

from postsense.errors import CorpusError
from postsense.retrieval.exact import ExactIndex
from postsense.retrieval.index import build_index, open_index

COUNT = 2000


@pytest.fixture(scope="module")
def source() -> MadeSource:
    return make_source(COUNT)


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    report = build_index(source, folder, kind="compressed", min_recall=0.97, identity="one")
    return folder, report


@pytest.fixture
def copied(built, tmp_path):
    for file in built[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def appended(source, count, seed=9):
    more = make_source(count, seed)
    return MadeSource(
        np.concatenate([source.image, more.image]),
        np.concatenate([source.text, more.text]),
        np.concatenate([source.numbers, source.numbers[-1] + 1 + more.numbers]),
    )


@pytest.mark.parametrize("kind", ["exact", "compressed"])
def test_a_written_index_finds_what_it_found_before(kind, source, tmp_path):
    build_index(source, tmp_path, kind=kind, min_recall=0.97, identity="one")
    once = open_index(tmp_path, source, identity="one").search(*make_queries(9), 5)
    again = open_index(tmp_path, source, identity="one").search(*make_queries(9), 5)
    exact = ExactIndex(source).search(*make_queries(9), 5)
    assert open_index(tmp_path, source, identity="one").kind == kind
    assert once.numbers.tobytes() == again.numbers.tobytes()
    assert (once.numbers == exact.numbers).mean() > 0.8


def test_auto_is_exact_up_to_a_number_of_posts(tmp_path, source):
    assert build_index(source, tmp_path / "a", exact_below=COUNT, identity="").kind == "exact"
    report = build_index(
        source, tmp_path / "b", exact_below=COUNT - 1, min_recall=0.97, identity=""
    )
    assert report.kind == "compressed"


def test_the_report_says_what_was_measured_and_is_kept(built):
    folder, report = built
    kept = json.loads((folder / "index.json").read_text())
    assert kept["identity"] == "one" and kept["kind"] == "compressed"
    assert (kept["count"], kept["highest"]) == (COUNT, COUNT - 1)
    assert kept["recall"]["mean"] == report.recall.mean
    low, high = report.recall.interval
    assert 0.97 <= report.recall.worst <= report.recall.mean and low < report.recall.mean < high
    assert (
        report.depth >= 100
        and 0 < report.probed <= 1
        and report.seconds > 0
        and report.bytes < 100 * COUNT
    )


def test_the_same_seed_writes_the_same_codes(built, source, tmp_path):
    build_index(source, tmp_path, kind="compressed", min_recall=0.97, identity="two")
    assert (tmp_path / "index.faiss").read_bytes() == (built[0] / "index.faiss").read_bytes()


def test_too_few_posts_to_compress_are_searched_exactly_and_the_report_says_so(tmp_path):
    report = build_index(make_source(999), tmp_path, kind="compressed", identity="one")
    assert report.kind == "exact" and "999 posts are too few to compress" in report.note


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_posts_are_searched_exactly(count, tmp_path):
    source = make_source(count)
    build_index(source, tmp_path, identity="one")
    hits = open_index(tmp_path, source, identity="one").search(*make_queries(1), 2)
    assert hits.numbers.tolist() == [[0, -1] if count else [-1, -1]]


def test_a_recall_below_the_wanted_is_refused_and_leaves_no_index(monkeypatch, source, tmp_path):
    monkeypatch.setattr("postsense.retrieval.compressed.DEPTHS", (24,))
    with pytest.raises(CorpusError, match="recall@5 of at least 1 "):
        build_index(source, tmp_path, kind="compressed", min_recall=1.0, identity="one")
    assert list(tmp_path.iterdir()) == []


def test_an_exact_index_replaces_a_compressed_one(copied, source):
    build_index(source, copied, kind="exact", identity="one")
    assert [file.name for file in copied.iterdir()] == ["index.json"]


def test_posts_added_later_are_found(built, source):
    later = appended(source, 60)
    index = open_index(built[0], later, identity="one")
    image, text = later.vectors(later.numbers[COUNT:])
    hits = index.search(image, text, np.full(60, 0.5), 1)
    assert (hits.numbers[:, 0] == later.numbers[COUNT:]).all()


def test_posts_added_later_are_scored_exactly_beside_the_index(built, source):
    later = appended(source, 700)
    queries = make_queries(40)
    found = open_index(built[0], later, identity="one").search(*queries, 5)
    exact = ExactIndex(later).search(*queries, 5)
    late = exact.numbers >= COUNT
    assert late.sum() > 30
    for row in range(40):
        assert set(exact.numbers[row][late[row]]) <= set(found.numbers[row])


@pytest.mark.parametrize("kind", ["exact", "compressed"])
def test_removed_posts_never_come_back(kind, source, tmp_path):
    build_index(source, tmp_path, kind=kind, min_recall=0.97, identity="one")
    queries = make_queries(30)
    before = open_index(tmp_path, source, identity="one").search(*queries, 5)
    gone = np.unique(before.numbers)
    left = source.keep(~np.isin(source.numbers, gone))
    after = open_index(tmp_path, left, identity="one").search(*queries, 5)
    assert not np.isin(after.numbers, gone).any() and (after.numbers >= 0).all()
    exact = ExactIndex(left).search(*queries, 5)
    assert (after.numbers == exact.numbers).mean() > 0.8


def test_an_index_all_of_whose_posts_are_gone_finds_the_later_ones(built, source):
    later = appended(source, 3).keep(np.arange(COUNT, COUNT + 3))
    hits = open_index(built[0], later, identity="one").search(*make_queries(2), 5)
    assert sorted(hits.numbers[0].tolist()) == [-1, -1, COUNT, COUNT + 1, COUNT + 2]


def test_a_missing_index_is_reported(source, tmp_path):
    with pytest.raises(CorpusError, match="expected an index, found no such file. Build"):
        open_index(tmp_path, source, identity="one")


def test_the_index_of_another_corpus_is_refused(built, source):
    with pytest.raises(CorpusError, match="index of corpus 'two', found that of 'one'"):
        open_index(built[0], source, identity="two")


def test_a_truncated_index_is_refused(copied, source):
    file = copied / "index.faiss"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CorpusError, match="index.faiss: .* a damaged or changed one"):
        open_index(copied, source, identity="one")


def test_an_index_without_its_codes_is_refused(copied, source):
    (copied / "index.faiss").unlink()
    with pytest.raises(CorpusError, match="index.faiss: .* no such file"):
        open_index(copied, source, identity="one")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', "\x00"])
def test_a_damaged_or_foreign_description_is_refused(text, copied, source):
    (copied / "index.json").write_text(text)
    with pytest.raises(CorpusError, match="index.json: expected .* Build it with"):
        open_index(copied, source, identity="one")


def test_missing_faiss_is_one_clear_line(monkeypatch, source, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(CorpusError, match=r"faiss-cpu.*pip install 'postsense\[corpus\]'"):
        build_index(source, tmp_path, kind="compressed", identity="one")
    build_index(source, tmp_path, kind="exact", identity="one")


def test_a_description_without_an_identity_is_refused(copied, source):
    (copied / "index.json").write_text('{"format": 1}')
    with pytest.raises(CorpusError, match="found that of 'None'"):
        open_index(copied, source, identity="one")
