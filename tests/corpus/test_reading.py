import json
import shutil

import numpy as np
import pytest
from made_posts import build, draw, row, tiny_settings

from postsense.corpus.deduplication import picture_key, text_key
from postsense.corpus.reading import open_corpus
from postsense.errors import CorpusError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_bert, tiny_vit):
    """A corpus of nine posts, the first three with pictures. Not to be changed."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [row(n, image=draw(folder / f"{n}.png", n)) for n in range(3)]
    rows += [
        row(n, comments=[f"this is comment {m} of {n}" for m in range(n)]) for n in range(3, 9)
    ]
    build(folder / "corpus", rows, tiny_settings(tiny_bert, tiny_vit))
    return folder / "corpus"


@pytest.fixture
def damaged(folder, tmp_path):
    """A copy of the corpus that a test may damage."""
    return shutil.copytree(folder, tmp_path / "copy")


def test_answers_come_in_the_order_asked_and_numbers_may_repeat(folder):
    corpus, asked = open_corpus(folder), np.array([7, 0, 7, 3])
    image, text = corpus.vectors(corpus.numbers)
    some_image, some_text = corpus.vectors(asked)
    assert some_image.tobytes() == image[asked].tobytes()
    assert some_text.tobytes() == text[asked].tobytes()
    assert corpus.posts(asked).column("id") == ["p7", "p0", "p7", "p3"]
    assert [len(comments) for comments in corpus.comments(asked)] == [7, 2, 7, 3]


def test_a_comment_has_the_vector_of_its_own_text(folder):
    corpus = open_corpus(folder)
    every = {c.text: c.vector for post in corpus.comments(corpus.numbers) for c in post}
    for post in corpus.comments(np.array([8, 5])):
        for comment in post:
            assert comment.vector.tobytes() == every[comment.text].tobytes()
            assert comment.vector.dtype == np.float32 and len(comment.vector) == corpus.text_dim


def test_nothing_asked_gives_nothing(folder):
    corpus, none = open_corpus(folder), np.zeros(0, np.int64)
    assert corpus.vectors(none)[0].shape == (0, corpus.image_dim)
    assert corpus.comments(none) == [] and len(corpus.posts(none)) == 0


def test_an_unknown_number_is_refused(folder):
    corpus = open_corpus(folder)
    for numbers in (np.array([0, 99]), np.array([-1]), np.full(2000, 99)):
        with pytest.raises(CorpusError, match="numbers of its posts"):
            corpus.vectors(numbers)
        with pytest.raises(CorpusError, match="another corpus"):
            corpus.posts(numbers)


def test_keys_find_the_posts_of_another_table(folder):
    corpus = open_corpus(folder)
    keys = corpus.keys()
    picture = (folder.parent / "1.png").read_bytes()
    assert keys.id[1] == "p1" and keys.image_key[1] == picture_key(picture)
    assert keys.text_key[4] == text_key(f"RT @joe {row(4)['text']} http://t.co/x")
    assert keys.image_key[3:] == [None] * 6 and keys.number.tolist() == list(range(9))


def test_the_manifest_says_what_the_corpus_was_built_from(folder):
    manifest = open_corpus(folder).manifest
    table = folder.parent / "posts.jsonl"
    assert manifest.sources[0].path == str(table)
    assert manifest.sources[0].bytes == table.stat().st_size
    assert (manifest.next_number, manifest.arrivals[0].posts) == (9, 9)
    assert len(manifest.id) == 32 and manifest.settings.encoders.cache is None


def test_no_corpus_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"found no such folder\. Build one"):
        open_corpus(tmp_path / "none")
    with pytest.raises(CorpusError, match="no corpus.json in it"):
        open_corpus(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', "\udcff"])
def test_a_damaged_manifest_is_refused(damaged, text):
    (damaged / "corpus.json").write_text(text, errors="surrogateescape")
    with pytest.raises(CorpusError, match="JSON written by a build"):
        open_corpus(damaged)


def test_a_manifest_of_another_format_or_with_unknown_settings_is_refused(damaged):
    record = json.loads((damaged / "corpus.json").read_text())
    (damaged / "corpus.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(CorpusError, match="expected format 1, found format 99"):
        open_corpus(damaged)
    (damaged / "corpus.json").write_text(json.dumps({**record, "settings": {"colour": 1}}))
    with pytest.raises(CorpusError, match="JSON written by a build"):
        open_corpus(damaged)


@pytest.mark.parametrize("name", ["posts.lance", "vectors"])
def test_a_corpus_without_one_of_its_parts_is_refused(damaged, name):
    shutil.rmtree(damaged / name)
    with pytest.raises(CorpusError, match="Build the corpus again"):
        open_corpus(damaged)


@pytest.mark.parametrize("pattern", ["vectors/*/vectors.npy", "vectors/*/numbers.npy", "centers.*"])
def test_a_file_cut_short_is_refused(damaged, pattern):
    (file,) = damaged.glob(pattern)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CorpusError, match="Build the corpus again"):
        open_corpus(damaged)
