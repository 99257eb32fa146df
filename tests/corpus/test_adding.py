import json

import numpy as np
import pytest
from made_posts import build, draw, killed_at, row, sentence, snapshot, tiny_settings, write_table

from postsense.corpus import adding
from postsense.corpus.adding import add_posts
from postsense.corpus.reading import open_corpus
from postsense.corpus.removal import remove_posts
from postsense.errors import CorpusError


@pytest.fixture
def folder(tmp_path, tiny_bert, tiny_vit):
    """A corpus of four posts, the first with a picture."""
    rows = [row(0, image=draw(tmp_path / "0.jpg", 0)), row(1), row(2), row(3)]
    build(tmp_path / "corpus", rows, tiny_settings(tiny_bert, tiny_vit))
    return tmp_path / "corpus"


def more(folder, rows, name="more"):
    return write_table(folder.parent / f"{name}.jsonl", rows)


def test_added_posts_follow_and_the_others_do_not_change(folder):
    before = open_corpus(folder)
    old = [part.tobytes() for part in before.vectors(before.numbers)]
    report = add_posts(
        [more(folder, [row(10), row(11, image=draw(folder.parent / "n.jpg", 9))])], folder
    )
    after = open_corpus(folder)
    assert [part.tobytes() for part in after.vectors(before.numbers)] == old
    assert after.numbers.tolist() == [0, 1, 2, 3, 4, 5]
    assert after.posts([5, 4]).column("id") == ["p11", "p10"]
    assert np.linalg.norm(after.vectors([5])[0].astype(float)) == pytest.approx(1, abs=2e-3)
    assert after.manifest.id == before.manifest.id and after.version > before.version
    assert (report.posts, after.manifest.arrivals[1].posts, after.manifest.next_number) == (2, 2, 6)


def test_adding_the_same_table_again_adds_nothing(folder):
    table = more(
        folder,
        [row(10), row(11, text=sentence(10)), row(12, image="gone.jpg"), *map(row, range(13, 40))],
    )
    add_posts([table], folder)
    before = snapshot(folder)
    report = add_posts([table], folder)
    assert (report.posts, report.dropped["already there"], report.dropped["duplicate"]) == (
        0,
        28,
        1,
    )
    assert snapshot(folder) == before


def test_copies_of_posts_that_are_there_are_dropped(folder):
    copy = draw(folder.parent / "copy.jpg", 0, quality=60)
    rows = [row(10, text=f"RT {sentence(1)}"), row(11, text=sentence(0), image=copy), row(12)]
    report = add_posts([more(folder, rows)], folder)
    assert (report.posts, report.dropped) == (1, {"duplicate": 2})
    assert open_corpus(folder).posts([1])[0].comments == tuple(row(1)["comments"])


def test_an_id_of_another_post_is_refused(folder):
    with pytest.raises(CorpusError, match="post 'p1': expected an id that no other post"):
        add_posts([more(folder, [row(1, text=sentence(30))])], folder)


def test_comments_may_come_in_a_table_of_their_own(folder):
    posts = more(folder, [row(10, comments=None)])
    table = more(folder, [{"post_id": "p10", "text": "what a nice thing to say"}], "said")
    add_posts([posts], folder, comments=[table])
    assert open_corpus(folder).posts([4])[0].comments == ("what a nice thing to say",)


def test_an_encoder_that_changed_under_its_name_is_refused(folder):
    record = json.loads((folder / "corpus.json").read_text())
    record["text_key"] = "text-of-another-time"
    (folder / "corpus.json").write_text(json.dumps(record))
    with pytest.raises(CorpusError, match=r"encoders\.text: .*'text-of-another-time'"):
        add_posts([more(folder, [row(10)])], folder)


def test_numbers_of_removed_posts_are_not_used_again(folder):
    remove_posts(folder, ["p3", "p2"])
    add_posts([more(folder, [row(10)])], folder)
    assert open_corpus(folder).numbers.tolist() == [0, 1, 4]


STEPS = ["encode_selection", "write_vectors", "append_posts", "write_bad_posts", "write_manifest"]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_addition_stopped_around_any_step_ends_as_if_it_had_not(
    folder, tmp_path, tiny_bert, tiny_vit, name, when
):
    table = more(
        folder,
        [row(10), row(11, text=sentence(10)), row(12, image="gone.jpg"), *map(row, range(13, 40))],
    )
    first = [row(0, image=str(tmp_path / "0.jpg")), row(1), row(2), row(3)]
    build(tmp_path / "whole", first, tiny_settings(tiny_bert, tiny_vit))
    add_posts([table], tmp_path / "whole")
    with killed_at(adding, name, when):
        add_posts([table], folder)
    assert len(open_corpus(folder)) in (4, 32)
    add_posts([table], folder)
    assert snapshot(folder) == snapshot(tmp_path / "whole")


def test_a_smaller_addition_after_a_killed_larger_one_has_its_own_vectors(folder):
    with killed_at(adding, "append_posts"):
        add_posts([more(folder, [row(10), row(11)])], folder)
    add_posts([more(folder, [row(20)], "other")], folder)
    text = open_corpus(folder).vectors([4])[1]
    add_posts([more(folder, [row(10)], "third")], folder)
    assert open_corpus(folder).vectors([4])[1].tobytes() == text.tobytes()
    assert open_corpus(folder).vectors([5])[1].tobytes() != text.tobytes()


def test_tables_without_ids_are_added_beside_each_other(folder):
    bare = [{key: value for key, value in row(n).items() if key != "id"} for n in range(10, 14)]
    first, second = more(folder, bare[:2], "first"), more(folder, bare[2:], "second")
    assert add_posts([first], folder).posts == 2
    assert add_posts([second], folder).posts == 2
    assert add_posts([second], folder).dropped == {"already there": 2}
    corpus = open_corpus(folder)
    ids = corpus.posts(corpus.numbers).column("id")
    assert len(set(ids)) == 8
    assert ids[4:6] == ["0", "1"] and [name[8:] for name in ids[6:]] == ["-0", "-1"]
