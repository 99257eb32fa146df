"""What may be found: the most similar posts, no duplicate of the query, nothing held out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from postsense.config import CorpusSettings, RetrievalSettings
from postsense.corpus.building import build_corpus
from postsense.corpus.reading import Corpus
from postsense.data.loading import load_posts
from postsense.data.synthetic import write_synthetic_posts
from postsense.posts import Posts
from postsense.retrieval.exact import ExactIndex
from postsense.retrieval.indexing import index_corpus
from postsense.retrieval.queries import Queries, embed_queries
from postsense.retrieval.released import open_released_index
from postsense.retrieval.search import SAME_IMAGE, SAME_TEXT, Searcher, open_searcher


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Posts:
    """30 posts like those of the corpus, none of which is in it."""
    return load_posts(write_synthetic_posts(tmp_path_factory.mktemp("posts"), posts=30, seed=8))


@pytest.fixture(scope="module")
def searcher(synthetic_corpus: Path) -> Searcher:
    return open_searcher(
        synthetic_corpus, RetrievalSettings(per_picture=2, alpha=0.4, min_score=-1)
    )


@pytest.fixture(scope="module")
def queries(searcher: Searcher, strangers: Posts) -> Queries:
    return embed_queries(strangers, searcher.corpus)


def naive_search(searcher: Searcher, queries: Queries, row: int, top_k: int) -> list[int]:
    """Score every post of the corpus, strike out what may not be shown, take the best."""
    corpus = searcher.corpus
    keys, texts = corpus.keys(), corpus.column("text").to_pylist()
    scored = []
    for place, number in enumerate(corpus.numbers.tolist()):
        image, text = (part[0].astype(np.float64) for part in corpus.vectors(np.array([number])))
        image_score = float(image @ queries.image[row])
        text_score = float(text @ queries.text[row])
        same = (
            (keys.id[place], texts[place]) == (queries.ids[row], queries.texts[row])
            or (keys.text_key[place] or b"?") == queries.text_keys[row]
            or (keys.image_key[place] or b"?") == queries.image_keys[row]
            or image_score >= SAME_IMAGE
            or (queries.text_keys[row] is not None and text_score >= SAME_TEXT)
        )
        if not same and number not in searcher.excluded:
            score = searcher.alpha * image_score + (1 - searcher.alpha) * text_score
            scored.append((-score, number))
    return [number for _, number in sorted(scored)[:top_k]]


def test_the_best_posts_are_found_in_their_order(searcher: Searcher, queries: Queries) -> None:
    found = searcher.search(queries, top_k=7)
    for row in range(0, 30, 6):
        assert found.numbers[row].tolist() == naive_search(searcher, queries, row, 7)
        assert (np.diff(found.scores[row]) <= 0).all()


def test_a_post_of_the_corpus_never_finds_itself(searcher: Searcher) -> None:
    own = searcher.corpus.numbers[:40]
    asked = embed_queries(searcher.corpus.posts(own), searcher.corpus)
    found = searcher.search(asked, top_k=5)
    assert not (found.numbers == own[:, None]).any()
    assert (found.numbers >= 0).all()


def test_the_same_picture_or_words_under_another_id_are_not_found(searcher: Searcher) -> None:
    corpus = searcher.corpus
    asked = embed_queries(corpus.posts(corpus.numbers[:20]), corpus)
    strangers = replace(asked, ids=np.array([f"x{n}" for n in range(20)], dtype=object))
    found = searcher.search(strangers, top_k=5)
    assert not (found.numbers == corpus.numbers[:20, None]).any()


def test_excluded_posts_are_not_found(searcher: Searcher, queries: Queries) -> None:
    first = searcher.search(queries, top_k=3).numbers
    again = searcher.without(np.unique(first)).search(queries, top_k=3).numbers
    assert not np.isin(again, first).any()


def test_duplicates_of_held_out_posts_are_named(searcher: Searcher, strangers: Posts) -> None:
    corpus = searcher.corpus
    held_out = embed_queries(corpus.posts(corpus.numbers[5:9]), corpus)
    assert set(corpus.numbers[5:9]) <= set(searcher.duplicates(held_out).tolist())
    renamed = replace(held_out, ids=np.array(list("abcd"), dtype=object))
    assert set(corpus.numbers[5:9]) <= set(searcher.duplicates(renamed).tolist())


def test_a_query_whose_only_neighbours_are_excluded_finds_nothing(
    searcher: Searcher, queries: Queries
) -> None:
    found = searcher.without(searcher.corpus.numbers).search(queries, top_k=3)
    assert (found.numbers == -1).all()
    assert (found.scores == -np.inf).all()


def test_more_posts_than_there_are_can_be_asked_for(searcher: Searcher, queries: Queries) -> None:
    total = len(searcher.corpus)
    found = searcher.search(queries.take(np.arange(3)), top_k=total + 5)
    assert (found.numbers[:, total:] == -1).all()
    for row in found.numbers:
        there = row[row >= 0]
        assert len(set(there.tolist())) == len(there)


def test_what_a_query_finds_does_not_depend_on_the_others(
    searcher: Searcher, queries: Queries
) -> None:
    together = searcher.search(queries, top_k=4)
    for row in (0, 13, 29):
        alone = searcher.search(queries.take(np.array([row])), top_k=4)
        assert alone.numbers[0].tolist() == together.numbers[row].tolist()
        assert alone.scores[0].tolist() == together.scores[row].tolist()


def test_a_post_without_a_picture_is_searched_by_its_words_alone(
    searcher: Searcher, queries: Queries
) -> None:
    blind = replace(queries, image=np.zeros_like(queries.image), image_keys=np.full(30, None))
    by_words = replace(searcher, alpha=0.0).search(blind, top_k=4)
    assert searcher.search(blind, top_k=4).numbers.tolist() == by_words.numbers.tolist()


def test_posts_on_one_picture_are_capped(tmp_path: Path) -> None:
    searcher = crowded_corpus(tmp_path)
    query = embed_queries(
        load_posts([{"id": "q", "text": "the storm over the bay"}]), searcher.corpus
    )
    found = searcher.search(query, top_k=6).numbers[0]
    pictures = searcher.corpus.posts(found[found >= 0]).column("image")
    assert sum(name is not None and name.endswith("00000.jpg") for name in pictures) == 2
    assert (replace(searcher, per_picture=9).search(query, top_k=6).numbers[0] >= 0).all()


def crowded_corpus(folder: Path) -> Searcher:
    """Six posts on one picture and two without."""
    table = write_synthetic_posts(folder / "posts", posts=30, seed=3)
    row = json.loads(table.read_text().splitlines()[0])
    names = ("wind", "rain", "waves", "boats", "clouds", "harbor", "night", "sand")
    rows = [
        {
            "id": name,
            "text": f"the storm over the bay brought {name} to all of us",
            "image": row["image"] if number < 6 else None,
            "comments": ["stay safe out there all of you"],
        }
        for number, name in enumerate(names)
    ]
    for item in rows:
        item["image"] = item["image"] and "images/00000.jpg"
    crowded = folder / "posts" / "crowded.jsonl"
    crowded.write_text("".join(json.dumps(item) + "\n" for item in rows))
    (folder / "posts" / "images" / "00000.jpg").write_bytes(
        (folder / "posts" / row["image"]).read_bytes()
    )
    build_corpus([crowded], folder / "corpus", CorpusSettings(require_image=False))
    index_corpus(folder / "corpus")
    return open_searcher(
        folder / "corpus", RetrievalSettings(per_picture=2, alpha=0.5, min_score=-1)
    )


def test_alpha_is_balanced_on_the_queries(searcher: Searcher, queries: Queries) -> None:
    balanced = searcher.balanced(queries)
    assert 0.0 < balanced.alpha < 1.0
    assert balanced.alpha == pytest.approx(naive_alpha(searcher.corpus, queries), abs=1e-4)
    blind = replace(queries, image=np.zeros_like(queries.image))
    assert searcher.balanced(blind).alpha == searcher.alpha


def naive_alpha(corpus: Corpus, queries: Queries, k: int = 10) -> float:
    """Xu & Li 2022, eqs. 2-4: T / (I + T), mean squared distances of the k nearest."""
    images, texts = (part.astype(np.float64) for part in corpus.vectors(corpus.numbers))
    sums = [0.0, 0.0]
    for row in range(len(queries)):
        for part, (asked, vectors) in enumerate(
            ((queries.image[row], images), (queries.text[row], texts))
        ):
            distances = sorted(2 - 2 * float(asked @ vector) for vector in vectors)
            sums[part] += sum(distances[:k]) / k
    return sums[1] / (sums[0] + sums[1])


def test_nothing_is_found_below_the_lowest_score(searcher: Searcher, queries: Queries) -> None:
    every = searcher.search(queries, top_k=5)
    middle = float(np.median(every.scores))
    some = replace(searcher, min_score=middle).search(queries, top_k=5)
    assert (some.numbers == np.where(every.scores >= middle, every.numbers, -1)).all()
    assert 0 < (some.numbers == -1).sum() < some.numbers.size


def test_equal_row_numbers_as_ids_make_no_duplicates(searcher: Searcher, queries: Queries) -> None:
    corpus = searcher.corpus
    renamed = replace(queries, ids=np.array(corpus.keys().id[:30], dtype=object))
    found, expected = searcher.search(renamed, 5), searcher.search(queries, 5)
    assert found.numbers.tolist() == expected.numbers.tolist()
    assert searcher.duplicates(renamed).tolist() == searcher.duplicates(queries).tolist()


def test_the_published_search_excludes_the_same_duplicates(
    searcher: Searcher, strangers: Posts, tmp_path: Path
) -> None:
    corpus = searcher.corpus
    saved_anew = tmp_path / "anew.png"
    Image.open(str(corpus.posts(corpus.numbers[3:4])[0].image)).save(saved_anew)
    asked = embed_queries(load_posts([{"id": "x", "image": str(saved_anew)}]), corpus)
    released = replace(searcher, index=open_released_index(corpus))
    assert corpus.numbers[3] in released.duplicates(asked)
    assert released.duplicates(asked).tolist() == searcher.duplicates(asked).tolist()


def test_a_post_that_says_and_shows_nothing_finds_nothing_and_costs_nothing(
    searcher: Searcher, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = replace(queries, image=0 * queries.image, text=0 * queries.text)
    monkeypatch.setattr(ExactIndex, "search", lambda *_: pytest.fail("searched"))
    assert (searcher.search(silent, top_k=3).numbers == -1).all()


def test_row_numbers_of_posts_without_words_make_no_duplicates(
    tmp_path: Path,
) -> None:
    table = write_synthetic_posts(tmp_path / "posts", posts=30, seed=12)
    pictures = sorted((table.parent / "images").iterdir())
    corpus = [{"id": str(n), "image": str(path)} for n, path in enumerate(pictures[:15])]
    (tmp_path / "bare.jsonl").write_text(
        "".join(json.dumps({**row, "comments": ["look at that sky"]}) + "\n" for row in corpus)
    )
    build_corpus([tmp_path / "bare.jsonl"], tmp_path / "bare", CorpusSettings())
    index_corpus(tmp_path / "bare")
    bare = open_searcher(tmp_path / "bare", RetrievalSettings(min_score=-1, per_picture=9))
    others = [{"id": str(n), "image": str(path)} for n, path in enumerate(pictures[15:30])]
    asked = embed_queries(load_posts(others), bare.corpus)
    renamed = replace(asked, ids=np.array([f"x{n}" for n in range(15)], dtype=object))
    assert bare.search(asked, 15).numbers.tolist() == bare.search(renamed, 15).numbers.tolist()
    assert bare.duplicates(asked).tolist() == bare.duplicates(renamed).tolist()
