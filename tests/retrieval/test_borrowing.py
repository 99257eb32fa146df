"""What a corpus lends: comments of similar posts, and posts for those that train."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.corpus.reading import open_corpus
from postsense.corpus.removal import remove_posts
from postsense.data.loading import load_posts
from postsense.data.synthetic import write_synthetic_posts
from postsense.errors import CorpusError
from postsense.posts import Posts, joined_posts
from postsense.retrieval.borrowing import borrow_for_prediction, borrow_for_training
from postsense.retrieval.index_files import write_description


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Posts:
    return load_posts(write_synthetic_posts(tmp_path_factory.mktemp("posts"), posts=30, seed=9))


def configured(corpus: Path, **settings: Any) -> Config:
    values = {"retrieval.corpus": corpus, "retrieval.min_score": -1}
    return load_config(values={**values, **settings})


def test_without_a_corpus_nothing_is_borrowed(posts: Posts) -> None:
    rows = np.arange(30)
    assert borrow_for_training(posts, rows[:20], rows[20:], Config()) is None
    assert borrow_for_prediction(posts, Config()) is None


def test_hints_are_comments_under_the_posts_named(posts: Posts, synthetic_corpus: Path) -> None:
    borrowed = borrow_for_prediction(posts, configured(synthetic_corpus))
    assert borrowed is not None and len(borrowed.hints) == 30 and borrowed.pairs is None
    corpus = open_corpus(synthetic_corpus)
    written = dict(zip(corpus.keys().id, corpus.column("comments").to_pylist()))
    assert sum(map(len, borrowed.hints)) > 100
    for hints in borrowed.hints:
        assert len(hints) <= 5
        assert len({hint.text for hint in hints}) == len(hints)
        assert all(hint.text in written[hint.post] for hint in hints)


def test_similar_posts_lend_comments_on_what_picture_and_words_show(
    posts: Posts, synthetic_corpus: Path
) -> None:
    borrowed = borrow_for_prediction(posts, configured(synthetic_corpus))
    assert borrowed is not None
    texts, hints = posts.column("text"), borrowed.hints
    inside = [row for row, text in enumerate(texts) if "desk" in text or "indoors" in text]
    said = " ".join(hint.text for row in inside for hint in hints[row])
    assert any(word in said for word in ("inside", "stuck", "cozy", "dry", "miss"))


def test_alpha_comes_from_train_unless_it_is_set(posts: Posts, synthetic_corpus: Path) -> None:
    rows = np.arange(30)
    found = borrow_for_training(posts, rows[:20], rows[20:], configured(synthetic_corpus))
    other = borrow_for_training(posts, rows[20:], rows[:20], configured(synthetic_corpus))
    fixed = configured(synthetic_corpus, **{"retrieval.alpha": 0.3})
    given = borrow_for_training(posts, rows[:20], rows[20:], fixed)
    assert found is not None and other is not None and given is not None
    assert 0 < found.alpha < 1 and found.alpha != other.alpha
    assert given.alpha == 0.3


def test_pairs_are_the_nearest_posts_of_train_alone(posts: Posts, synthetic_corpus: Path) -> None:
    settings = {"method": "self_training", "self_training.neighbors": 4}
    rows = np.arange(30)
    borrowed = borrow_for_training(
        posts, rows[:12], rows[12:], configured(synthetic_corpus, **settings)
    )
    assert borrowed is not None and borrowed.pairs is not None
    pairs = borrowed.pairs
    assert pairs.queries.tolist() == [row for row in range(12) for _ in range(4)]
    assert pairs.ranks.tolist() == [0, 1, 2, 3] * 12
    assert sorted(set(pairs.rows.tolist())) == list(range(30, 30 + len(pairs.posts)))
    assert (np.diff(pairs.scores.reshape(12, 4), axis=1) <= 0).all()


def test_held_out_posts_of_the_corpus_are_lent_to_nobody(
    posts: Posts, synthetic_corpus: Path
) -> None:
    corpus = open_corpus(synthetic_corpus)
    held_out = corpus.posts(corpus.numbers[:60])
    table, settings = joined_posts(posts, held_out), {"method": "self_training"}
    borrowed = borrow_for_training(
        table, np.arange(30), np.arange(30, 90), configured(synthetic_corpus, **settings)
    )
    assert borrowed is not None and borrowed.pairs is not None
    lent = {hint.post for hints in borrowed.hints for hint in hints}
    lent |= set(borrowed.pairs.posts.column("id"))
    assert lent and not lent & set(held_out.column("id"))


def test_comments_can_be_left_out(posts: Posts, synthetic_corpus: Path) -> None:
    config = configured(synthetic_corpus, **{"comments.count": 0, "method": "self_training"})
    borrowed = borrow_for_training(posts, np.arange(20), np.arange(20, 30), config)
    assert borrowed is not None and borrowed.pairs is not None
    assert set(borrowed.hints) == {()}
    assert borrow_for_prediction(posts, config) is None


def test_a_corpus_that_is_not_there_is_one_line(posts: Posts, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected a corpus, found no such folder"):
        borrow_for_prediction(posts, configured(tmp_path / "none"))


@pytest.fixture
def own_corpus(synthetic_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus that a test may change."""
    shutil.copytree(synthetic_corpus, tmp_path / "corpus")
    return tmp_path / "corpus"


def test_a_corpus_whose_posts_were_all_removed_is_refused(posts: Posts, own_corpus: Path) -> None:
    remove_posts(own_corpus, open_corpus(own_corpus).keys().id)
    with pytest.raises(CorpusError, match="expected a corpus with posts, found none left in it"):
        borrow_for_prediction(posts, configured(own_corpus))


def test_an_encoder_that_changed_since_the_build_is_refused(posts: Posts, own_corpus: Path) -> None:
    manifest = json.loads((own_corpus / "corpus.json").read_text())
    manifest["text_key"] = "text-of-old"
    (own_corpus / "corpus.json").write_text(json.dumps(manifest))
    with pytest.raises(CorpusError, match="expected the encoder of the corpus, 'text-of"):
        borrow_for_prediction(posts, configured(own_corpus))


def test_an_index_of_another_corpus_is_refused(posts: Posts, own_corpus: Path) -> None:
    file = own_corpus / "index" / "index.json"
    index = json.loads(file.read_text())
    known = {name: index[name] for name in index if name not in ("format", "checksum")}
    write_description(file, {**known, "identity": "0" * 32})
    with pytest.raises(CorpusError, match="expected the index of corpus"):
        borrow_for_prediction(posts, configured(own_corpus))


def test_more_neighbours_than_posts_are_as_many_as_there_are(
    posts: Posts, own_corpus: Path
) -> None:
    ids = open_corpus(own_corpus).keys().id
    remove_posts(own_corpus, ids[4:])
    settings = {"method": "self_training", "self_training.neighbors": 9}
    rows = np.arange(30)
    borrowed = borrow_for_training(posts, rows[:5], rows[5:], configured(own_corpus, **settings))
    assert borrowed is not None and borrowed.pairs is not None
    assert np.bincount(borrowed.pairs.queries, minlength=5).max() == 4


def test_a_post_whose_only_neighbours_are_itself_gets_no_hint(own_corpus: Path) -> None:
    corpus = open_corpus(own_corpus)
    remove_posts(own_corpus, corpus.keys().id[1:])
    asked = corpus.posts(corpus.numbers[:1])
    borrowed = borrow_for_prediction(asked, configured(own_corpus))
    assert borrowed is not None and borrowed.hints == ((),)


def test_posts_that_are_not_similar_lend_nothing(posts: Posts, own_corpus: Path) -> None:
    settings = {"method": "self_training", "retrieval.min_score": 0.5}
    rows = np.arange(30)
    some = borrow_for_training(posts, rows[:20], rows[20:], configured(own_corpus, **settings))
    settings["retrieval.min_score"] = 1.0
    none = borrow_for_training(posts, rows[:20], rows[20:], configured(own_corpus, **settings))
    assert some is not None and some.pairs is not None and none is not None
    assert none.pairs is not None and none.hints == ((),) * 30 and not len(none.pairs.rows)
    assert 0 < len(some.pairs.rows) < 60 and (some.pairs.scores >= 0.5).all()


def test_the_published_search_lends_comments_too(posts: Posts, own_corpus: Path) -> None:
    config = configured(
        own_corpus, **{"retrieval.fidelity": "released", "retrieval.min_score": 0.4}
    )
    rows = np.arange(30)
    borrowed = borrow_for_training(posts, rows[:20], rows[20:], config)
    assert borrowed is not None and 0 < borrowed.alpha < 1
    assert sum(map(len, borrowed.hints)) > 50
