import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_posts import build, draw, killed_at, row, sentence, snapshot, tiny_settings, write_table

from postsense.corpus import building, writing
from postsense.corpus.building import build_corpus
from postsense.corpus.reading import open_corpus
from postsense.errors import CorpusError, DataError, DiskFullError, EncoderError


@pytest.fixture
def settings(tiny_bert, tiny_vit):
    return tiny_settings(tiny_bert, tiny_vit)


def test_posts_come_in_the_order_of_the_inputs_with_clean_words(tmp_path, settings):
    picture = draw(tmp_path / "images" / "a.jpg", 0)
    first = write_table(tmp_path / "a.jsonl", [row(1, text=f"@joe {sentence(1)}"), row(2)])
    second = write_table(
        tmp_path / "b.jsonl", [row(0, image="images/a.jpg", comments=["#Nice @a!"])]
    )
    report = build_corpus([first, second], tmp_path / "corpus", settings)
    posts = open_corpus(tmp_path / "corpus").posts(np.array([0, 1, 2]))
    assert posts.column("id") == ["p1", "p2", "p0"]
    assert posts[0].text == f"@USER {sentence(1)}"
    assert posts[2].image == picture and posts[2].comments == ("Nice!",)
    assert (report.read, report.posts, report.comments, report.bad) == (3, 3, 5, ())


def test_vectors_are_centered_and_of_length_one(tmp_path, settings):
    rows = [row(n, image=draw(tmp_path / f"{n}.png", n)) for n in range(3)]
    rows += [row(3), row(4, text=None, image=draw(tmp_path / "4.png", 4))]
    build(tmp_path / "corpus", rows, settings)
    corpus = open_corpus(tmp_path / "corpus")
    image, text = corpus.vectors(corpus.numbers)
    assert image.dtype == text.dtype == np.float16
    np.testing.assert_allclose(
        np.linalg.norm(image.astype(float), axis=1), [1, 1, 1, 0, 1], atol=2e-3
    )
    np.testing.assert_allclose(
        np.linalg.norm(text.astype(float), axis=1), [1, 1, 1, 1, 0], atol=2e-3
    )
    for comments in corpus.comments(corpus.numbers):
        assert [np.linalg.norm(c.vector) for c in comments] == pytest.approx([1, 1], abs=2e-3)


def test_every_filter_counts_what_it_drops(tmp_path, settings):
    strict = settings.model_copy(update={"require_image": True, "require_comments": True})
    picture = draw(tmp_path / "a.png", 1)
    rows = [
        row(0, image=picture),
        row(1),
        row(2, image=picture, text="El huracán llegó esta noche a la ciudad y no hay luz"),
        row(3, image=picture, comments=["@joe", "http://t.co/x", "😂"]),
        row(4, image=picture, text=sentence(0)),
        *(row(n, image=picture) for n in range(10, 40)),
        row(5, text=None),
    ]
    report = build(tmp_path / "corpus", rows, strict)
    assert report.dropped == {
        "no picture": 1,
        "language": 1,
        "no comments": 1,
        "duplicate": 1,
        "neither text nor picture": 1,
    }
    assert report.dropped_comments["empty"] == 3
    assert [(post.id, post.row) for post in report.bad] == [("p5", 35)]


def test_a_post_gets_the_comments_of_its_copies_once_each(tmp_path, settings):
    rows = [
        row(0, comments=["So true, indeed", "Who took this picture?"]),
        row(1, text=f"RT @joe: {sentence(0)}!", comments=["so TRUE indeed", "I was there too"]),
    ]
    report = build(tmp_path / "corpus", rows, settings)
    post = open_corpus(tmp_path / "corpus").posts(np.array([0]))[0]
    assert post.comments == ("So true, indeed", "Who took this picture?", "I was there too")
    assert report.dropped == {"duplicate": 1} and report.dropped_comments["repeated"] == 1


def test_comments_in_a_table_of_their_own_are_joined_in_its_order(tmp_path, settings):
    posts = write_table(tmp_path / "posts.jsonl", [row(n, comments=None, id=n) for n in range(3)])
    said = [
        (2, "the first of two"),
        (0, "the only one here"),
        (9, "about no post"),
        (2, "and the second"),
    ]
    table = write_table(
        tmp_path / "comments.jsonl", [{"tweet": post, "body": text} for post, text in said]
    )
    chosen = settings.model_copy(update={"comment_post": "tweet", "comment_text": "body"})
    report = build_corpus([posts], tmp_path / "corpus", chosen, comments=[table])
    found = open_corpus(tmp_path / "corpus").posts(np.arange(3)).column("comments")
    assert found == [["the only one here"], [], ["the first of two", "and the second"]]
    assert report.dropped_comments["about no post"] == 1


def test_comments_in_another_language_are_dropped(tmp_path, settings):
    said = ["El huracán llegó esta noche a la ciudad y no hay luz", "such a strong storm tonight"]
    report = build(tmp_path / "corpus", [row(0, comments=said)], settings)
    assert open_corpus(tmp_path / "corpus").posts([0])[0].comments == (said[1],)
    assert report.dropped_comments["foreign"] == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"require_image": True}, r"none of 2 \(dropped: no picture 2\)"),
        ({"language": "de"}, r"none of 2 \(dropped: language 2\)"),
        ({"language": "xx"}, "ISO 639-1"),
        ({"columns": {"created_at": "when"}}, "'when' for created_at"),
    ],
)
def test_a_build_that_keeps_nothing_says_why_and_claims_nothing(
    tmp_path, tiny_bert, tiny_vit, values, message
):
    with pytest.raises(CorpusError, match=message):
        build(tmp_path / "corpus", [row(0), row(1)], tiny_settings(tiny_bert, tiny_vit, **values))
    assert not (tmp_path / "corpus").exists()


def test_posts_with_nothing_but_links_and_emoji_are_dropped(tmp_path, settings):
    with pytest.raises(CorpusError, match="no words 1"):
        build(tmp_path / "corpus", [row(0, text="😂 http://t.co/x")], settings)


def test_an_empty_table_is_refused(tmp_path, settings):
    with pytest.raises(DataError, match="at least one post"):
        build(tmp_path / "corpus", [], settings)


def test_no_table_at_all_is_refused(tmp_path, settings):
    with pytest.raises(CorpusError, match="at least one table"):
        build_corpus([], tmp_path / "corpus", settings)


def test_a_missing_comments_column_is_refused_where_comments_are_required(tmp_path, settings):
    chosen = settings.model_copy(update={"require_comments": True})
    with pytest.raises(DataError, match="a column 'comments'"):
        build(tmp_path / "corpus", [{"id": "a", "text": sentence(0)}], chosen)


def test_comments_on_other_posts_alone_are_refused(tmp_path, settings):
    posts = write_table(tmp_path / "posts.jsonl", [row(0)])
    table = write_table(tmp_path / "comments.jsonl", [{"post_id": "q7", "text": "nice one"}])
    with pytest.raises(CorpusError, match="first on 'q7'"):
        build_corpus([posts], tmp_path / "corpus", settings, comments=[table])


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "at least one comment"), ([{"post_id": "p0", "text": None}], "'text'.*no value in it")],
)
def test_a_comments_table_without_comments_is_refused(tmp_path, settings, rows, message):
    posts = write_table(tmp_path / "posts.jsonl", [row(0)])
    table = write_table(tmp_path / "comments.jsonl", rows)
    with pytest.raises(DataError, match=message):
        build_corpus([posts], tmp_path / "corpus", settings, comments=[table])


def test_a_comments_table_without_the_column_is_refused(tmp_path, settings):
    posts = write_table(tmp_path / "posts.jsonl", [row(0)])
    table = write_table(tmp_path / "comments.jsonl", [{"post": "p0", "text": "nice one"}])
    with pytest.raises(DataError, match=r"'post_id'.*Did you mean 'post'"):
        build_corpus([posts], tmp_path / "corpus", settings, comments=[table])


def test_an_id_in_two_inputs_is_refused(tmp_path, settings):
    tables = [write_table(tmp_path / name, [row(0)]) for name in ("a.jsonl", "b.jsonl")]
    with pytest.raises(CorpusError, match="the first 'p0'"):
        build_corpus(tables, tmp_path / "corpus", settings)


def test_posts_without_a_usable_picture_are_listed_and_too_many_are_refused(tmp_path, settings):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    rows = [row(0, image="broken.jpg"), row(1, image="none.jpg"), *(row(n) for n in range(2, 30))]
    with pytest.raises(
        CorpusError, match=r"at most 5% unusable posts, found 2 of 30, the first 'p0'"
    ):
        build(tmp_path / "corpus", rows, settings)
    lenient = settings.model_copy(update={"max_bad_fraction": 0.1})
    report = build(tmp_path / "corpus", rows, lenient)
    lines = (tmp_path / "corpus" / "bad_rows.jsonl").read_text().splitlines()
    listed = [json.loads(line) for line in lines]
    assert report.dropped == {"unreadable picture": 2}
    assert [(post["id"], post["row"]) for post in listed] == [("p0", 0), ("p1", 1)]
    assert "damaged file" in listed[0]["reason"] and "no such file" in listed[1]["reason"]


def test_a_folder_with_other_things_is_left_alone(tmp_path, settings):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "thesis.txt").write_text("words")
    with pytest.raises(CorpusError, match=r"an empty folder, found one with \['thesis.txt'\]"):
        build(tmp_path / "corpus", [row(0)], settings)


def test_the_same_command_again_changes_nothing_and_another_is_refused(tmp_path, settings):
    report = build(tmp_path / "corpus", [row(0), row(1)], settings)
    before = snapshot(tmp_path / "corpus")
    assert build(tmp_path / "corpus", [row(0), row(1)], settings) == report
    assert snapshot(tmp_path / "corpus") == before
    with pytest.raises(CorpusError, match="other tables or with other settings"):
        build(tmp_path / "corpus", [row(0), row(2)], settings)


STEPS = [
    (building, "write_json"),
    (pq, "write_table"),
    (building, "encode_posts"),
    (building, "write_centers"),
    (building, "write_vectors"),
    (writing, "write_shard"),
    (building, "create_posts"),
    (writing, "column_vectors"),
    (building, "write_bad_posts"),
    (building, "write_manifest"),
    (building.shutil, "rmtree"),
]


@pytest.mark.parametrize(("module", "name"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_build_stopped_around_any_step_ends_as_if_it_had_not(
    tmp_path, settings, module, name, when
):
    rows = [row(n, image=draw(tmp_path / f"{n}.png", n)) for n in range(6)]
    rows += [row(7, image="gone.png"), *(row(n) for n in range(20, 40))]
    build(tmp_path / "whole", rows, settings)
    with killed_at(module, name, when):
        build(tmp_path / "corpus", rows, settings)
    build(tmp_path / "corpus", rows, settings)
    assert snapshot(tmp_path / "corpus") == snapshot(tmp_path / "whole")
    assert not (tmp_path / "corpus" / ".build").exists()


def test_a_half_built_corpus_does_not_open_and_belongs_to_its_command(tmp_path, settings):
    with killed_at(building, "create_posts"):
        build(tmp_path / "corpus", [row(0)], settings)
    with pytest.raises(CorpusError, match="half-built"):
        open_corpus(tmp_path / "corpus")
    with pytest.raises(CorpusError, match="half-built from other tables"):
        build(tmp_path / "corpus", [row(1)], settings)


def test_a_build_that_fails_before_its_posts_are_encoded_claims_nothing(
    tmp_path, settings, monkeypatch
):
    def fail(*arguments, **options):
        raise EncoderError("encoders.text", "an encoder that runs", "one that does not")

    with monkeypatch.context() as patch:
        patch.setattr(building, "encode_posts", fail)
        with pytest.raises(EncoderError):
            build(tmp_path / "corpus", [row(0)], settings)
    assert not (tmp_path / "corpus").exists()
    other = settings.model_copy(update={"min_language_confidence": 0.1})
    assert build(tmp_path / "corpus", [row(0)], other).posts == 1


def test_a_folder_for_unfinished_work_that_is_not_ours_is_left_alone(tmp_path, settings):
    theirs = tmp_path / "corpus" / ".build" / "app"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(CorpusError, match=r"an empty folder, found one with \['.build/app'\]"):
        build(tmp_path / "corpus", [row(0)], settings)
    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("damage", [b"", b"no Parquet", None])
def test_a_damaged_selection_is_made_again(tmp_path, settings, damage):
    build(tmp_path / "whole", [row(0), row(1)], settings)
    with killed_at(building, "encode_posts"):
        build(tmp_path / "corpus", [row(0), row(1)], settings)
    file = tmp_path / "corpus" / ".build" / "posts.parquet"
    file.write_bytes(file.read_bytes()[:-20] if damage is None else damage)
    build(tmp_path / "corpus", [row(0), row(1)], settings)
    assert snapshot(tmp_path / "corpus") == snapshot(tmp_path / "whole")


@pytest.mark.parametrize("room_kib", [16, 32, 48])
def test_on_a_full_disk_a_build_says_so_and_goes_on_when_there_is_room(
    tmp_path, settings, small_disk, room_kib
):
    rows = [row(n) for n in range(60)]
    build(tmp_path / "whole", rows, settings)
    table, folder = tmp_path / "posts.jsonl", small_disk(room_kib) / "corpus"
    with pytest.raises(
        DiskFullError, match=r"room on the disk for it, found none .*the same command"
    ):
        build_corpus([table], folder, settings)
    small_disk(4096)
    build_corpus([table], folder, settings)
    assert snapshot(folder) == snapshot(tmp_path / "whole")


def test_ray_is_named_where_it_is_missing(tmp_path, settings):
    table = write_table(tmp_path / "posts.jsonl", [row(0)])
    with pytest.raises(CorpusError, match="ray"):
        build_corpus([table], tmp_path / "corpus", settings, ray="ray://127.0.0.1:1")


def test_a_corpus_of_before_names_were_read_stays_as_it_was_built(tmp_path, tiny_bert, tiny_vit):
    kept = {"text": {"name": str(tiny_bert), "unknown": "keep"}, "image": {"name": str(tiny_vit)}}
    settings = tiny_settings(tiny_bert, tiny_vit)
    build(tmp_path / "corpus", [row(1), row(2)], tiny_settings(tiny_bert, tiny_vit, encoders=kept))
    file = tmp_path / "corpus" / "corpus.json"
    record = json.loads(file.read_text())
    del record["settings"]["encoders"]["text"]["unknown"]
    del record["settings"]["encoders"]["image"]["pixels"]
    file.write_text(json.dumps(record))
    assert build(tmp_path / "corpus", [row(1), row(2)], settings).posts == 2
    assert open_corpus(tmp_path / "corpus").manifest.settings.encoders.text.unknown == "keep"
