import numpy as np
import pytest
from made_posts import build, killed_at, row, tiny_settings, write_table

from postsense.corpus import removal
from postsense.corpus.adding import add_posts
from postsense.corpus.reading import open_corpus
from postsense.corpus.removal import Removal, compact, remove_posts
from postsense.errors import CorpusError

SECRET, WHISPER = "zanzibarian", "quetzalcoatlus"


@pytest.fixture
def folder(tmp_path, tiny_bert, tiny_vit):
    """A corpus of six posts in two shards; p2 holds two words to be forgotten."""
    rows = [row(n) for n in range(4)]
    rows[2]["text"] += f" near the {SECRET}"
    rows[2]["comments"].append(f"I have never seen a {WHISPER}")
    build(tmp_path / "corpus", rows, tiny_settings(tiny_bert, tiny_vit))
    add_posts([write_table(tmp_path / "more.jsonl", [row(4), row(5)])], tmp_path / "corpus")
    return tmp_path / "corpus"


def holds(folder, words):
    """Whether any file of the folder holds the bytes."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return any(words in file.read_bytes() for file in files)


def answers(folder):
    corpus = open_corpus(folder)
    image, text = corpus.vectors(corpus.numbers)
    comments = [[c.text for c in post] for post in corpus.comments(corpus.numbers)]
    ids = corpus.posts(corpus.numbers).column("id")
    return corpus.numbers.tolist(), ids, image.tobytes(), text.tobytes(), comments


def test_a_removed_post_is_in_no_answer(folder):
    whole = open_corpus(folder)
    assert remove_posts(folder, ["p2", "nobody", "p5", "p2"]) == Removal(2, ("nobody",))
    corpus = open_corpus(folder)
    assert corpus.numbers.tolist() == [0, 1, 3, 4]
    assert corpus.posts(corpus.numbers).column("id") == corpus.keys().id == ["p0", "p1", "p3", "p4"]
    assert corpus.vectors([3])[1].tobytes() == whole.vectors([3])[1].tobytes()
    assert corpus.comments([4])[0][0].text == whole.comments([4])[0][0].text
    with pytest.raises(CorpusError, match="numbers of its posts"):
        corpus.vectors(np.array([2]))


def test_compaction_takes_removed_posts_off_the_disk_and_changes_no_answer(folder):
    vector = open_corpus(folder).vectors([2])[1].tobytes()
    secrets = [SECRET.encode(), WHISPER.encode(), vector, b"p2"]
    remove_posts(folder, ["p2"])
    assert holds(folder, SECRET.encode())
    expected = answers(folder)
    compact(folder)
    assert answers(folder) == expected
    assert [holds(folder, secret) for secret in secrets] == [False] * 4
    compact(folder)
    assert answers(folder) == expected


def test_posts_are_added_after_a_compaction_as_before_it(folder):
    remove_posts(folder, ["p5", "p0"])
    compact(folder)
    add_posts([write_table(folder.parent / "third.jsonl", [row(6)])], folder)
    assert open_corpus(folder).numbers.tolist() == [1, 2, 3, 4, 6]


def test_removing_everything_leaves_a_corpus_without_posts(folder):
    remove_posts(folder, [f"p{n}" for n in range(6)])
    compact(folder)
    assert len(open_corpus(folder)) == 0
    add_posts([write_table(folder.parent / "third.jsonl", [row(6)])], folder)
    assert open_corpus(folder).numbers.tolist() == [6]


@pytest.mark.parametrize("name", ["write_shard", "_compact_vectors"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_compaction_that_was_stopped_is_finished_by_the_next(folder, name, when):
    remove_posts(folder, ["p2"])
    expected = answers(folder)
    with killed_at(removal, name, when):
        compact(folder)
    assert answers(folder) == expected
    compact(folder)
    assert answers(folder) == expected
    assert len(list((folder / "vectors").iterdir())) == 1
