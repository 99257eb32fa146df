"""`postsense corpus` and what the other commands do with a corpus, as a user types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from postsense.data.synthetic import write_synthetic_posts

QUICK = ("--set", "training.epochs=2", "--set", "training.batch_size=16")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_posts(tmp_path_factory.mktemp("posts"), posts=40, seed=4)


@pytest.fixture
def corpus(postsense: Any, table: Path, tmp_path: Path) -> Path:
    """A corpus of 40 posts that a test may change."""
    outcome = postsense(
        "corpus", "build", table, "--out", tmp_path / "corpus", "--keep-without-comments"
    )
    assert (outcome.code, outcome.err) == (0, "")
    return tmp_path / "corpus"


def found_by(postsense: Any, corpus: Path, *arguments: object) -> list[dict[str, Any]]:
    outcome = postsense("corpus", "search", corpus, *arguments, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return list(json.loads(outcome.out))


def test_build_says_what_came_in_and_what_did_not(
    postsense: Any, table: Path, tmp_path: Path
) -> None:
    outcome = postsense("corpus", "build", table, "--out", tmp_path / "corpus")
    assert outcome.code == 0
    assert "from 40 rows" in outcome.out
    assert "posts dropped: no comments" in outcome.out
    assert "exact index of" in outcome.out
    again = postsense("corpus", "build", table, "--out", tmp_path / "corpus")
    assert again.code == 0


def test_search_by_words_by_picture_and_by_both(postsense: Any, corpus: Path, table: Path) -> None:
    picture = next((table.parent / "images").iterdir())
    by_words = found_by(postsense, corpus, "bus line stops at the park", "-k", 3)
    assert len(by_words) == 3
    assert by_words[0]["score"] == pytest.approx(by_words[0]["text_score"], abs=1e-3)
    by_picture = found_by(postsense, corpus, "--image", picture, "-k", 3)
    assert by_picture[0]["score"] == pytest.approx(by_picture[0]["image_score"], abs=1e-3)
    assert by_picture[0]["score"] == pytest.approx(1.0, abs=1e-2)
    assert Path(by_picture[0]["image"]) == picture
    both = found_by(postsense, corpus, "a lovely day", "--image", picture, "--alpha", 0.25)
    expected = 0.25 * both[0]["image_score"] + 0.75 * both[0]["text_score"]
    assert both[0]["score"] == pytest.approx(expected, abs=1e-3)


def test_search_prints_posts_and_comments(postsense: Any, corpus: Path) -> None:
    outcome = postsense("corpus", "search", corpus, "stuck at my desk", "-k", 2)
    assert outcome.code == 0
    assert "1. 0." in outcome.out and "2. 0." in outcome.out
    assert "(picture 0.000, words 0." in outcome.out


def test_search_for_nothing_is_refused(postsense: Any, corpus: Path) -> None:
    outcome = postsense("corpus", "search", corpus)
    assert outcome.code == 2
    assert "expected something to look for, found nothing" in outcome.err


def test_search_with_a_broken_picture_says_so(postsense: Any, corpus: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    outcome = postsense("corpus", "search", corpus, "--image", broken)
    assert outcome.code == 2
    assert "broken.jpg" in outcome.err and len(outcome.err.splitlines()) == 1


def test_added_posts_are_found_and_removed_ones_are_not(
    postsense: Any, corpus: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more.jsonl"
    row = {"id": "zebra", "text": "a zebra runs over the bridge", "comments": ["it is so fast"]}
    picture = write_synthetic_posts(tmp_path / "other", posts=30, seed=11).parent / "images"
    more.write_text(json.dumps({**row, "image": str(next(picture.iterdir()))}) + "\n")
    added = postsense("corpus", "add", corpus, more)
    assert added.code == 0 and "1 posts with 1 comments" in added.out
    assert found_by(postsense, corpus, "zebra on a bridge")[0]["id"] == "zebra"
    ids = tmp_path / "ids.txt"
    ids.write_text("zebra\nnobody\n")
    removed = postsense("corpus", "remove", corpus, "--ids", ids)
    assert "1 posts removed" in removed.out and "'nobody'" in removed.out
    assert "zebra" not in [hit["id"] for hit in found_by(postsense, corpus, "zebra", "-k", 60)]
    compacted = postsense("corpus", "compact", corpus)
    assert compacted.code == 0
    left = [file for file in corpus.rglob("*") if file.is_file() and b"zebra" in file.read_bytes()]
    assert [file.name for file in left] in ([], ["corpus.json"])


def test_ids_that_are_not_in_the_corpus_are_listed_and_a_mark_hides_none(
    postsense: Any, corpus: Path, tmp_path: Path
) -> None:
    first = found_by(postsense, corpus, "zebra on a bridge")[0]["id"]
    strangers = [f"x{number}" for number in range(12)]
    ids = tmp_path / "ids.csv"
    ids.write_bytes("\r\n".join(["id", first, *strangers]).encode("utf-8-sig"))
    removed = postsense("corpus", "remove", corpus, "--ids", ids, "--unknown", tmp_path / "left")
    assert (removed.code, removed.out.splitlines()[0]) == (0, "1 posts removed")
    assert "12 ids are not in the corpus: 'x0', 'x1'" in removed.out
    assert (tmp_path / "left").read_text().split() == strangers
    again = postsense("corpus", "remove", corpus, "--ids", ids, "--json")
    assert (again.code, json.loads(again.out)) == (
        1,
        {"removed": 0, "unknown": [first, *strangers]},
    )


def test_an_empty_list_of_ids_is_refused(postsense: Any, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n")
    outcome = postsense("corpus", "remove", corpus, "--ids", tmp_path / "ids.txt")
    assert outcome.code == 2 and "expected at least one id, found none" in outcome.err


def test_stats_count_posts_by_year(postsense: Any, corpus: Path) -> None:
    statistics = json.loads(postsense("corpus", "stats", corpus, "--json").out)
    assert statistics["overall"]["posts"] == sum(y["posts"] for y in statistics["years"].values())
    printed = postsense("corpus", "stats", corpus)
    assert "2024" in printed.out and "comments a post" in printed.out


def test_a_corpus_is_verified_and_one_changed_bit_is_told(postsense: Any, corpus: Path) -> None:
    sound = postsense("corpus", "verify", corpus)
    assert (sound.code, sound.err) == (0, "") and "posts are as they were written" in sound.out
    (file,) = corpus.glob("vectors/*/vectors.npy")
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    changed = postsense("corpus", "verify", corpus)
    assert changed.code == 2 and len(changed.err.splitlines()) == 1
    assert "vectors: expected vectors as they were written, found another of post" in changed.err


def test_an_index_can_be_built_anew(postsense: Any, corpus: Path) -> None:
    (corpus / "index" / "index.json").write_text("{")
    broken = postsense("corpus", "search", corpus, "a day")
    assert broken.code == 2 and "index.json" in broken.err
    assert postsense("corpus", "index", corpus).code == 0
    assert found_by(postsense, corpus, "a day")


def test_a_run_with_comments_names_its_hints_and_finds_a_corpus_that_moved(
    postsense: Any, corpus: Path, table: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "out.jsonl"
    trained = postsense("train", table, "--out", run, "--corpus", corpus, *QUICK)
    assert (trained.code, trained.err) == (0, "")
    moved = corpus.rename(tmp_path / "moved")
    lost = postsense("predict", run, table, "--out", out)
    assert lost.code == 2 and "found no such folder. Name its folder with --corpus" in lost.err
    predicted = postsense("predict", run, table, "--out", out, "--corpus", moved)
    assert (predicted.code, predicted.err) == (0, "")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    hints = [hint for row in rows for hint in row["hints"]]
    assert hints and all(0 <= hint["weight"] <= 1 for hint in hints)
    assert all(isinstance(row["picture_shows"], list) for row in rows)
    assert postsense("evaluate", run, table, "--corpus", moved).code == 0


def test_self_training_asks_for_a_corpus(postsense: Any, table: Path, tmp_path: Path) -> None:
    outcome = postsense("train", table, "--out", tmp_path / "run", "--method", "self_training")
    assert outcome.code == 2
    assert (
        "retrieval.corpus: expected a corpus for method=self_training to learn from, found none"
        in outcome.err
    )


def test_ablate_prints_a_table_for_each_group(
    postsense: Any, synthetic_corpus: Path, table: Path, tmp_path: Path
) -> None:
    arguments = ("--corpus", synthetic_corpus, "--out", tmp_path / "ablation", "--seeds", 1)
    outcome = postsense(
        "ablate", table, *arguments, *QUICK, "--set", "self_training.rounds=1", "--groups", "parts"
    )
    assert (outcome.code, outcome.err) == (0, "")
    names = ("base", "comments", "self-training", "no-dropout", "full")
    assert all(f"ablation/{name}" in outcome.out for name in names)
    tables = json.loads((tmp_path / "ablation" / "ablation.json").read_text())
    assert [Path(run["name"]).name for run in tables["parts"]["runs"]] == list(names)
    unknown = postsense("ablate", table, *arguments, "--groups", "parts,nothing")
    assert unknown.code == 2 and "found ['nothing']" in unknown.err


def test_a_build_that_keeps_nothing_says_how_to_keep_more(postsense: Any, tmp_path: Path) -> None:
    table = tmp_path / "posts.jsonl"
    row = {"id": "a", "text": "a day without any picture at all", "comments": ["so it is"]}
    table.write_text(json.dumps(row) + "\n")
    outcome = postsense("corpus", "build", table, "--out", tmp_path / "corpus")
    assert outcome.code == 2
    assert "none of 1 (dropped: no picture 1). Keep more: --keep-without-picture" in outcome.err


def test_a_missing_list_of_ids_is_one_line(postsense: Any, corpus: Path, tmp_path: Path) -> None:
    outcome = postsense("corpus", "remove", corpus, "--ids", tmp_path / "none.txt")
    assert outcome.code == 2 and "found no such file. Write one id a line." in outcome.err
