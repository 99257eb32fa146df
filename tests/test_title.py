"""A title, more words beside the post's own, is read where a column is named for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from postsense import PostClassifier
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.errors import ConfigError, DataError
from postsense.inputs.preparation import prepare_posts
from postsense.posts import Post
from postsense.registry import FUSIONS
from postsense.runs.folder import describe_run

Rows = list[dict[str, Any]]
TITLED = {
    "data.columns.title": "headline",
    "training.epochs": 30,
    "training.patience": 30,
    "training.learning_rate": 0.01,
}
READERS = [name for name, fusion in FUSIONS.items() if "title" in fusion.may_read]


@pytest.fixture
def titled(post_rows: Rows) -> Rows:
    """Posts of which only the headline tells the class; every tenth has none."""
    rows = []
    for number, row in enumerate(post_rows):
        headline = None if number % 10 == 9 else row["text"]
        picture = post_rows[0]["image"]
        rows.append({**row, "text": f"post {number}", "image": picture, "headline": headline})
    return rows


@pytest.mark.parametrize(
    "fusion",
    [name if name == "concat" else pytest.param(name, marks=pytest.mark.slow) for name in READERS],
)
def test_what_the_title_says_decides(fusion: str, titled: Rows, tmp_path: Path) -> None:
    classifier = PostClassifier(**{"fusion.name": fusion, **TITLED}).fit(titled)
    classifier.save(tmp_path / "model")
    back = PostClassifier.load(tmp_path / "model")
    held_out = [row for row in titled if row["headline"] and row["split"] == "test"]

    assert back.score(held_out) == 1.0
    np.testing.assert_array_equal(back.predict_proba(titled), classifier.predict_proba(titled))
    blind = PostClassifier(**{"fusion.name": fusion, **TITLED, "data.columns.title": None})
    assert blind.fit(titled).score(held_out) < 0.7


def test_it_goes_with_the_words_where_these_are_swapped(titled: Rows) -> None:
    """Else the title of a post would tell that its words are another's."""
    other = str(Path(titled[0]["image"]).with_name("1.png"))
    rows = [
        {**row, "text": row["id"], "image": other if number % 2 else row["image"]}
        for number, row in enumerate(titled)
    ]
    settings = {**TITLED, "losses.itm": 0.3, "training.epochs": 1}
    [fitted] = PostClassifier(**settings).fit(rows).classifiers
    posts = load_posts(rows, fitted.config.data.columns)
    batch = prepare_posts(posts, fitted.config).dataset(np.arange(4))[np.arange(4)]
    swaps = torch.tensor([1, 0, 3, 2])
    words = {name: batch[name].take(swaps) for name in ("text", "title")}

    with torch.no_grad():
        asked = fitted.model(replace(batch, swaps=swaps)).match_logits
        exchanged = fitted.model(replace(batch, read={**batch.read, **words}))

    assert fitted.model.match_head is not None
    expected = fitted.model.match_head(exchanged.fused)
    torch.testing.assert_close(asked, expected, rtol=1e-4, atol=1e-5)


def test_a_table_without_the_named_column_is_refused(titled: Rows, post_rows: Rows) -> None:
    classifier = PostClassifier(**{**TITLED, "training.epochs": 1}).fit(titled)
    with pytest.raises(DataError, match="a column 'headline' for title"):
        classifier.predict(post_rows)


def test_fusions_that_cannot_read_it_refuse_it_by_name() -> None:
    for fusion in FUSIONS.keys() - set(READERS):
        with pytest.raises(ConfigError, match=r"does not read data\.columns\.title; \['concat'"):
            load_config(values={"fusion.name": fusion, "data.columns.title": "headline"})


def test_other_titles_are_another_run(titled: Rows) -> None:
    config = load_config(values={"data.columns.title": "headline"})
    other = [{**titled[0], "headline": "something else"}, *titled[1:]]
    first, second = (_fingerprint(rows, config) for rows in (titled, other))
    assert first != second
    plain = load_config()
    assert _fingerprint(titled, plain) == _fingerprint(other, plain)


def test_posts_carry_it() -> None:
    given = [Post("a", "good day", label="x", more={"title": "News"})]
    columns = load_config(values={"data.columns.title": "title"}).data.columns
    [post] = load_posts([{"id": "a", "text": "good day", "title": " News "}], columns)
    assert post.more == {"title": " News "} and given[0].more == {"title": "News"}
    assert load_posts([{"id": "a", "text": "good day", "title": "News"}])[0].more == {}


def _fingerprint(rows: Rows, config: Any) -> str:
    posts = load_posts(rows, config.data.columns)
    splits = split_posts(posts, None, validation_fraction=0.1, seed=0)
    return str(describe_run(config, splits)["fingerprint"])
