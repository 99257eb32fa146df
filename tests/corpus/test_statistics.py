import pytest
from made_posts import build, row, tiny_settings

from postsense.corpus.reading import open_corpus
from postsense.corpus.statistics import Statistics, corpus_statistics, year_of


@pytest.mark.parametrize(
    ("created_at", "year"),
    [
        ("2013-04-17T18:57:37+00:00", "2013"),
        ("2013", "2013"),
        ("Wed Apr 17 18:57:37 +0000 2013", "2013"),
        ("Wed, 17 Apr 2013 18:57:37 +0000", "2013"),
        ("17/04/2013 20:15", "2013"),
        ("1366225057", "2013"),
        ("1366225057.5", "2013"),
        ("1366225057000", "2013"),
        (None, "undated"),
        ("last week", "undated"),
        ("20131", "undated"),
    ],
)
def test_the_year_is_found_however_the_time_is_written(created_at, year):
    assert year_of(created_at) == year


def test_posts_are_counted_overall_and_by_year(tmp_path, tiny_bert, tiny_vit):
    rows = [
        row(0, text="a lovely day on the river", comments=["one two three", "seven"]),
        row(1, text="what awful rain again", comments=["four five six"]),
        row(2, text="the old market was closed", comments=[], created_at=None),
        row(3, text="we visited the new museum", created_at="Wed Apr 17 18:57:37 +0000 2013"),
    ]
    settings = tiny_settings(tiny_bert, tiny_vit, language="any")
    build(tmp_path / "corpus", rows, settings)
    found = corpus_statistics(open_corpus(tmp_path / "corpus"))
    assert list(found.years) == ["2012", "2013", "undated"]
    assert found.years["2012"] == Statistics(1, 6.0, 2.0, 2.0)
    assert found.years["undated"] == Statistics(1, 5.0, 0.0, 0.0)
    assert (found.overall.posts, found.overall.text_words) == (4, 5.0)
    assert found.overall.comments_per_post == 5 / 4
