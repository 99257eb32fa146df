"""Whatever happened to the files of a corpus, it answers as before or says in one line why not."""

import json
import random
import shutil

import numpy as np
import pytest
from made_posts import build, draw, row, tiny_settings, write_table

from postsense.corpus import seals
from postsense.corpus.adding import add_posts
from postsense.corpus.reading import open_corpus
from postsense.corpus.removal import remove_posts
from postsense.corpus.statistics import corpus_statistics
from postsense.errors import CorpusError
from postsense.retrieval.indexing import index_corpus, index_of

TRIALS = 60
VALUES = (None, -1, 0, 10**9, 10**40, True, "", "x", [], {}, [[1]], 0.5, float("nan"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_bert, tiny_vit):
    """An indexed corpus of eight posts in two shards, one of which was removed."""
    folder = tmp_path_factory.mktemp("whole") / "corpus"
    rows = [row(n, image=draw(folder.parent / f"{n}.jpg", n)) for n in range(4)]
    build(folder, rows, tiny_settings(tiny_bert, tiny_vit))
    add_posts([write_table(folder.parent / "m.jsonl", [row(n) for n in range(4, 9)])], folder)
    remove_posts(folder, ["p2"])
    index_corpus(folder)
    return folder


@pytest.fixture
def damaged(whole, tmp_path):
    """A copy of the corpus that a test may damage."""
    return shutil.copytree(whole, tmp_path / "corpus")


def answers(folder):
    """All that a corpus says, and what is found in it."""
    corpus = open_corpus(folder)
    vectors = np.random.default_rng(0).normal(size=(3, corpus.image_dim + corpus.text_dim))
    image, text = np.split(vectors.astype(np.float32), [corpus.image_dim], axis=1)
    image, text = image - corpus.image_center, text - corpus.text_center
    image, text = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (image, text))
    hits = index_of(corpus).search(image, text, np.array([0, 0.5, 1], np.float32), 4)
    comments = [[(c.text, c.vector.tolist()) for c in p] for p in corpus.comments(corpus.numbers)]
    keys = vars(corpus.keys()) | {"number": corpus.numbers.tolist()}
    posts = corpus.posts(corpus.numbers).table.to_pylist()
    counts = corpus_statistics(corpus)
    return hits.numbers.tolist(), hits.scores.tolist(), posts, comments, keys, counts


def damage(folder, draw_from):
    """Do one thing to the files of the corpus; returns what."""
    kind = draw_from.choice(["flip", "flip", "flip", "value", "value", "cut", "gone", "zeros"])
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size)
    file = draw_from.choice(files)
    data = bytearray(file.read_bytes())
    place = draw_from.randrange(len(data))
    if kind == "value":
        file = folder / draw_from.choice(["corpus.json", "index/index.json"])
        record = json.loads(file.read_text())
        section = draw_from.choice([record, record.get("settings", record)])
        section[draw_from.choice(sorted(section))] = draw_from.choice(VALUES)
        data = json.dumps(record).encode()
    elif kind == "flip":
        data[place] ^= 1 << draw_from.randrange(8)
    elif kind == "zeros":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    file.write_bytes(data[:place] if kind == "cut" else data)
    if kind == "gone":
        file.unlink()
    return f"{kind} {file.name} at {place}"


def test_a_damaged_corpus_answers_as_before_or_says_so_in_one_line(whole, tmp_path):
    expected, refused = answers(whole), 0
    for trial in range(TRIALS):
        folder = shutil.copytree(whole, tmp_path / "corpus")
        what = damage(folder, random.Random(trial))
        try:
            assert answers(folder) == expected, what
        except CorpusError as error:
            refused += 1
            assert "\n" not in str(error), what
        shutil.rmtree(folder)
    assert TRIALS // 4 < refused < TRIALS


def refusal(folder):
    with pytest.raises(CorpusError) as caught:
        answers(folder)
    return str(caught.value)


def test_a_vector_of_one_changed_bit_is_refused(damaged):
    file = damaged / "vectors" / "000000000004" / "vectors.npy"
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    assert "vectors: expected vectors as they were written, found another of post 8." in refusal(
        damaged
    )


def test_vectors_that_changed_places_are_refused(damaged):
    first, second = (
        damaged / "vectors" / name / "vectors.npy" for name in ("0" * 12, "0" * 11 + "4")
    )
    np.save(second, np.load(first)[[0, 1, 2, 3, 3]])
    assert "vectors as they were written" in refusal(damaged)


def test_other_centers_are_refused(damaged, tmp_path, tiny_bert, tiny_vit):
    build(tmp_path / "other", [row(50)], tiny_settings(tiny_bert, tiny_vit), "other")
    shutil.copy(tmp_path / "other" / "centers.safetensors", damaged)
    assert "centers.safetensors: expected the file that was built, found a changed" in refusal(
        damaged
    )


def test_an_older_version_of_the_posts_is_refused(damaged):
    versions = sorted((damaged / "posts.lance" / "_versions").glob("*.manifest"))
    versions[0].unlink()  # the newest has the smallest name
    assert "posts.lance: expected the posts of corpus.json, found 9 others" in refusal(damaged)


def test_posts_of_another_corpus_are_refused(damaged, tmp_path, tiny_bert, tiny_vit):
    rows = [row(n) for n in range(50, 59)]
    build(tmp_path / "other", rows, tiny_settings(tiny_bert, tiny_vit), "other")
    remove_posts(tmp_path / "other", ["p52"])
    (damaged / "posts.seals.json").unlink()
    shutil.rmtree(damaged / "posts.lance")
    shutil.copytree(tmp_path / "other" / "posts.lance", damaged / "posts.lance")
    assert "vectors: expected vectors as they were written, found another" in refusal(damaged)
    with pytest.raises(CorpusError, match=r"posts\.lance: .* found another 'id' of post 0"):
        open_corpus(damaged).keys()


def test_a_corpus_decides_nothing_about_this_machine(damaged, whole):
    record = json.loads((damaged / "corpus.json").read_text())
    record["settings"]["encoders"] |= {"cache": "/x", "threads": 10**6, "allow_download": True}
    (damaged / "corpus.json").write_text(json.dumps(record))
    assert open_corpus(damaged).manifest == open_corpus(whole).manifest


def test_what_was_written_is_verified_as_a_whole(whole, damaged):
    open_corpus(whole).verify()
    (data,) = (file for file in damaged.rglob("data/*.lance") if b"place6" in file.read_bytes())
    data.write_bytes(data.read_bytes().replace(b"place6", b"palce6"))
    with pytest.raises(CorpusError, match=r"\.lance: expected the file that was written, found"):
        open_corpus(damaged)
    (damaged / "posts.seals.json").unlink()
    with pytest.raises(CorpusError, match="found another 'comments' of post 6"):
        open_corpus(damaged).verify()


def test_of_a_large_corpus_only_the_ends_of_files_are_read_when_it_is_opened(damaged, monkeypatch):
    monkeypatch.setattr(seals, "WHOLE_UP_TO", 0)
    monkeypatch.setattr(seals, "_END", 100)
    (damaged / "posts.seals.json").unlink()
    seals.seal_posts(damaged / "posts.lance")
    (data,) = (file for file in damaged.rglob("data/*.lance") if b"place6" in file.read_bytes())
    sound = data.read_bytes()
    data.write_bytes(sound.replace(b"place6", b"palce6"))
    with pytest.raises(CorpusError, match="found another 'comments' of post 6"):
        answers(damaged)
    data.write_bytes(sound[:-50] + bytes([sound[-50] ^ 1]) + sound[-49:])
    with pytest.raises(CorpusError, match=r"\.lance: expected the file that was written, found"):
        open_corpus(damaged)
