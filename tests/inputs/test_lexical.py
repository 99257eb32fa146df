"""The numbers that say how a text feels, how long it is, and how it is written."""

from math import log1p

import numpy as np
import pytest
import torch

from postsense.config.loading import load_config
from postsense.encoders.open_encoders import OpenEncoders
from postsense.inputs.columns import Preparation
from postsense.inputs.lexical import (
    FEATURES,
    lexical_column,
    lexical_features,
)
from postsense.inputs.vectors import VectorColumn, vector_statistics
from postsense.posts import posts_of_texts

NONE: dict[str, float] = dict.fromkeys(FEATURES, 0.0)
EXTREME = {
    "long": "good but bad " * 10_000,
    "emojis": "😀" * 50_000,
    "nothing to see": "\u200b" * 50_000,
    "null bytes": "\0" * 1000,
    "blank": " ",
    "tags": "#AaBb" * 10_000,
    "marks": "!?.:@#" * 10_000,
}


def features(text: str) -> dict[str, float]:
    return dict(zip(FEATURES, lexical_features(text), strict=True))


def test_features_equal_those_counted_by_hand() -> None:
    text = "RT @bob I HATE it... good night #BadDay http://t.co/A?1 é2 😀"
    expected = {
        "highest": 1.9,  # good
        "lowest": -2.7,  # hate; Bad is -2.5
        "sum_above_zero": log1p(1.9),
        "sum_below_zero": log1p(5.2),
        "known_words": log1p(3),
        "words": log1p(11),
        "characters": log1p(60),
        "hashtags": log1p(1),
        "handles": log1p(1),
        "links": log1p(1),
        "exclamation_marks": 0.0,
        "question_marks": 0.0,  # that of the link is none
        "ellipses": log1p(1),
        "is_repost": 1.0,
        "capitals": 9 / 60,  # RT, I, HATE, BD
        "not_ascii": 2 / 60,
        "digits": 1 / 60,
        "shouted_words": log1p(2),  # RT, HATE
        "emojis": log1p(1),
        "smiles": log1p(1),
        "frowns": 0.0,
    }
    found = features(text)
    assert len(text) == 60
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_feeling_is_told_of_the_text_and_of_its_hashtags_as_words() -> None:
    whole, split = features("a #GoodDay"), features("a Good Day")
    assert whole["compound"] == 0.0 and whole["neutral"] == 1.0
    for name in ("neutral", "positive", "compound"):
        assert whole[f"{name}_of_split"] == split[name]
    assert split["positive"] > 0 and split["compound"] == split["compound_of_split"]


@pytest.mark.parametrize(
    ("text", "smiles", "frowns"),
    [
        (":) ;-) :D =] <3 ^_^ LOL hahaha", 8, 0),
        (":( :-/ :'( ☹", 0, 4),
        ("😍 🙂 😭", 2, 1),
        ("at 12:30 see http://x.de/a:( Foo:Park lollipop", 0, 0),
    ],
)
def test_smiles_and_frowns_are_counted(text: str, smiles: int, frowns: int) -> None:
    found = features(text)
    assert found["smiles"] == pytest.approx(log1p(smiles))
    assert found["frowns"] == pytest.approx(log1p(frowns))


def test_what_the_lexicon_does_not_know_is_zero() -> None:
    known = {"neutral", "neutral_of_split", "words", "characters", "not_ascii", "capitals"}
    found = features("Der Hund schläft im Garten")
    assert {name for name, value in found.items() if value} == known
    assert found["neutral"] == 1.0 and found["words"] == log1p(5)


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_texts_have_finite_features(name: str) -> None:
    text = EXTREME[name]
    found = lexical_features(text)
    assert np.isfinite(found).all() and found == lexical_features(text[:2000])


def test_a_post_without_words_has_none_and_is_no_part_of_the_statistics() -> None:
    column = _column(["good day", None, "bad"])
    batch = column.batch(np.array([1, 2]))
    assert batch.present.tolist() == [False, True] and not batch.pooled[0].any()
    np.testing.assert_allclose(batch.pooled[1], lexical_features("bad"), rtol=1e-6)
    mean, deviation = vector_statistics(column, np.array([0, 1, 2]))
    known = torch.tensor([lexical_features(text) for text in ("good day", "bad")])
    torch.testing.assert_close(mean, known.mean(dim=0))
    std = known.std(dim=0, correction=0)
    torch.testing.assert_close(deviation, ((std**2 + std.mean() ** 2) / 2).sqrt())


def test_without_any_words_nothing_is_scaled() -> None:
    mean, deviation = vector_statistics(_column([None]), np.array([0]))
    assert not mean.any() and (deviation == 1).all()


def test_a_title_that_is_read_belongs_to_the_words() -> None:
    posts = posts_of_texts(["good", None, None], "posts")
    place = posts.table.column_names.index("title")
    titles = posts.table.column("id").combine_chunks().take([0, 1, 1])
    titles = titles.filter([True, True, True]).fill_null("")
    posts = posts.with_table(posts.table.set_column(place, "title", titles))
    config = load_config(values={"data.columns.title": "title", "blocks.lexical": 1.0})
    column, _ = lexical_column("lexical", Preparation(posts, config, OpenEncoders()))
    np.testing.assert_allclose(column.vectors[0], lexical_features("good 0"), rtol=1e-6)
    np.testing.assert_allclose(column.vectors[1], lexical_features("1"), rtol=1e-6)


def _column(texts: list[str | None]) -> VectorColumn:
    config = load_config(values={"blocks.lexical": 1.0})
    preparation = Preparation(posts_of_texts(texts, "posts"), config, OpenEncoders())
    column, broken = lexical_column("lexical", preparation)
    assert not broken
    return column
