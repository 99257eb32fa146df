"""Commands that change a corpus: one at a time, and nobody who reads meanwhile is harmed."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from made_posts import build, row, snapshot, tiny_settings, write_table

from postsense.corpus import reading
from postsense.corpus.adding import add_posts
from postsense.corpus.building import build_corpus
from postsense.corpus.manifest import read_manifest, write_manifest
from postsense.corpus.parts import lance_module
from postsense.corpus.reading import open_corpus
from postsense.corpus.removal import compact, remove_posts
from postsense.errors import BusyError, CorpusError, DiskFullError
from postsense.files.locking import writing_to
from postsense.retrieval.indexing import index_corpus


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_bert, tiny_vit):
    """A corpus of six posts in two shards. Not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "corpus"
    build(folder, [row(n) for n in range(4)], tiny_settings(tiny_bert, tiny_vit))
    add_posts([write_table(folder.parent / "more.jsonl", [row(4), row(5)])], folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the corpus that a test may change."""
    return shutil.copytree(whole, tmp_path / "corpus")


@pytest.mark.parametrize("command", ["build", "add", "remove", "compact", "index"])
def test_a_second_command_is_refused_and_told_of_the_first(folder, whole, command):
    settings = open_corpus(folder).manifest.settings
    second = {
        "build": lambda: build_corpus([whole.parent / "posts.jsonl"], folder, settings),
        "add": lambda: add_posts([whole.parent / "more.jsonl"], folder),
        "remove": lambda: remove_posts(folder, ["p0"]),
        "compact": lambda: compact(folder),
        "index": lambda: index_corpus(folder),
    }
    before = snapshot(folder)
    with writing_to(folder, "corpus add"), pytest.raises(BusyError) as caught:
        second[command]()
    assert "found 'corpus add' at work in it since" in str(caught.value)
    assert f"then give 'corpus {command}' again" in str(caught.value)
    assert snapshot(folder) == before
    second[command]()  # when the first has ended


def test_additions_at_once_never_share_a_number(folder):
    def add(part):
        rows = [row(n) for n in range(10 * part, 10 * part + 5)]
        table = write_table(folder.parent / f"{part}.jsonl", rows)
        for _ in range(1000):
            try:
                return add_posts([table], folder).posts
            except BusyError:
                continue
        raise AssertionError

    with ThreadPoolExecutor(3) as workers:
        assert list(workers.map(add, (1, 2, 3))) == [5, 5, 5]
    corpus = open_corpus(folder)
    corpus.verify()
    assert corpus.numbers.tolist() == list(range(21)) and len(set(corpus.keys().id)) == 21
    assert [arrival.posts for arrival in corpus.manifest.arrivals] == [4, 2, 5, 5, 5]


def test_no_folder_is_made_where_there_is_no_corpus(tmp_path):
    none = tmp_path / "none"
    for change in (compact, index_corpus, lambda folder: remove_posts(folder, ["p0"])):
        with pytest.raises(CorpusError, match="found no such folder"):
            change(none)
    assert not none.exists()


def test_who_has_it_open_reads_what_it_was_until_it_is_compacted(folder):
    before = open_corpus(folder)
    remove_posts(folder, ["p1"])
    add_posts([write_table(folder.parent / "7.jsonl", [row(7)])], folder)
    assert before.posts(np.array([1])).column("id") == ["p1"]
    compact(folder)
    with pytest.raises(CorpusError, match="another command has compacted it. Give the command a"):
        before.posts(np.array([0]))
    assert open_corpus(folder).posts(np.array([6])).column("id") == ["p7"]


@pytest.mark.parametrize("step", ["open_posts", "PostVectors"])
def test_who_opens_it_in_the_middle_of_a_change_finds_it_as_it_is_after(folder, monkeypatch, step):
    real, changes = getattr(reading, step), [lambda: compact(folder), lambda: None]

    def slow(*arguments):
        if changes:
            monkeypatch.setattr(reading, step, real)
            remove_posts(folder, ["p2"])
            changes.pop(0)()
        return real(*arguments)

    monkeypatch.setattr(reading, step, slow)
    corpus = open_corpus(folder)
    corpus.verify()
    assert corpus.keys().id == ["p0", "p1", "p3", "p4", "p5"]


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(whole, small_disk, tmp_path):
    table = write_table(tmp_path / "many.jsonl", [row(n) for n in range(10, 90)])
    add_posts([table], shutil.copytree(whole, tmp_path / "expected"))
    need = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file()) // 1024
    folder = shutil.copytree(whole, small_disk(need + 64) / "corpus")
    before = snapshot(folder)
    with pytest.raises(
        DiskFullError, match=r"room on the disk for it, found none .*the same command"
    ):
        add_posts([table], folder)
    assert snapshot(folder)[:-1] == before[:-1]
    small_disk(8192)
    add_posts([table], folder)
    assert snapshot(folder) == snapshot(tmp_path / "expected")


def test_a_corpus_of_a_time_without_checksums_is_read_and_changed_as_before(folder):
    expected = snapshot(folder)[:-1]
    posts = lance_module().dataset(str(folder / "posts.lance"))
    posts.drop_columns(["sums", "vector_sum"])
    write_manifest(folder, replace(read_manifest(folder), states=(), centers=""))
    assert snapshot(folder)[:-1] == expected
    add_posts([write_table(folder.parent / "7.jsonl", [row(7)])], folder)
    remove_posts(folder, ["p1"])
    compact(folder)
    assert open_corpus(folder).keys().id == ["p0", "p2", "p3", "p4", "p5", "p7"]
    assert read_manifest(folder).states == ()


def test_a_command_follows_no_link_out_of_the_corpus(folder, tmp_path):
    elsewhere = (folder / "vectors").rename(tmp_path / "elsewhere")
    (folder / "vectors").symlink_to(elsewhere)
    names = sorted(shard.name for shard in elsewhere.iterdir())
    with pytest.raises(CorpusError, match="vectors: expected a file or folder of the corpus's own"):
        compact(folder)
    assert sorted(shard.name for shard in elsewhere.iterdir()) == names
    assert len(open_corpus(folder)) == 6
