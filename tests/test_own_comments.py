"""What readers wrote under a post itself is read where the settings say so, and told apart."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense import PostClassifier
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.errors import ConfigError, DataError
from postsense.posts import Post
from postsense.registry import FUSIONS
from postsense.runs.folder import describe_run

Rows = list[dict[str, Any]]
QUICK = {"training.epochs": 40, "training.patience": 40, "training.learning_rate": 0.01}
BLOCK = {"blocks.comments": 1.0, **QUICK}
WORDS = {"blocks.comments": 1.0, "fusion.name": "text_only", **QUICK}
ATTENDED = {"comments.own": True, "comments.dropout": 0.0, **QUICK}
READERS = [name for name, fusion in FUSIONS.items() if "comments" in fusion.may_read]


@pytest.fixture
def commented(post_rows: Rows) -> Rows:
    """Posts of which only the comments tell the class; every tenth has none."""
    picture = post_rows[0]["image"]
    return [
        {
            **row,
            "text": f"post {number}",
            "image": picture,
            "comments": [] if number % 10 == 9 else [row["text"], "I see"],
        }
        for number, row in enumerate(post_rows)
    ]


def held_out(rows: Rows) -> Rows:
    return [row for row in rows if row["split"] == "test" and row["comments"]]


def without_comments(rows: Rows) -> Rows:
    return [{name: value for name, value in row.items() if name != "comments"} for row in rows]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({**BLOCK, "fusion.name": "concat"}, id="vector"),
        pytest.param(WORDS, id="words alone"),
        pytest.param(ATTENDED, id="attention"),
        *(
            pytest.param({**BLOCK, "fusion.name": name}, id=name, marks=pytest.mark.slow)
            for name in READERS
        ),
    ],
)
def test_what_readers_say_decides(
    settings: dict[str, Any], commented: Rows, tmp_path: Path
) -> None:
    classifier = PostClassifier(**settings).fit(commented)
    classifier.save(tmp_path / "model")
    back = PostClassifier.load(tmp_path / "model")

    assert back.score(held_out(commented)) > 0.8
    np.testing.assert_array_equal(
        back.predict_proba(commented), classifier.predict_proba(commented)
    )
    blind = PostClassifier(**QUICK).fit(commented)
    assert blind.score(held_out(commented)) < 0.7


@pytest.mark.parametrize(
    "settings", [BLOCK, WORDS, ATTENDED], ids=["vector", "words alone", "attention"]
)
def test_a_table_of_fresh_posts_need_not_have_the_column(
    settings: dict[str, Any], commented: Rows
) -> None:
    classifier = PostClassifier(**{**settings, "training.epochs": 2}).fit(commented)
    fresh = [{**row, "comments": []} for row in commented]

    bare = classifier.predict_proba(without_comments(commented))

    np.testing.assert_array_equal(bare, classifier.predict_proba(fresh))
    assert not np.array_equal(bare, classifier.predict_proba(commented))


def test_posts_carry_their_comments(commented: Rows) -> None:
    classifier = PostClassifier(**{**BLOCK, "training.epochs": 2}).fit(commented)
    rows = commented[:3]
    posts = [
        Post(row["id"], row["text"], row["image"], comments=tuple(row["comments"])) for row in rows
    ]
    np.testing.assert_array_equal(classifier.predict_proba(posts), classifier.predict_proba(rows))


def test_own_comments_come_first_and_borrowed_ones_fill_up(
    commented: Rows, synthetic_corpus: Path
) -> None:
    settings = {**ATTENDED, "training.epochs": 1, "retrieval.min_score": -1.0}
    classifier = PostClassifier(corpus=synthetic_corpus, **settings).fit(commented)

    hints = classifier.predictions(commented).hints

    assert hints is not None
    for row, given in zip(commented, hints, strict=True):
        own = [hint for hint in given if hint.is_own]
        assert sorted(hint.comment for hint in own) == sorted(row["comments"])
        assert {hint.post for hint in own} <= {row["id"]}
        assert all(hint.post != row["id"] for hint in given if not hint.is_own)
    assert max(len(given) for given in hints) == 5 > len(commented[0]["comments"])


def test_own_comments_need_no_package_of_a_corpus(
    commented: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("daft", "faiss", "lance"):
        monkeypatch.setitem(sys.modules, module, None)
    settings = {**BLOCK, **ATTENDED, "training.epochs": 1}
    assert PostClassifier(**settings).fit(commented).predictions(commented).hints


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (7, "a list of comments, found a value of type 'int'"),
        ("7", "a list of comments, found a value of type 'int'"),
        ("nice one", "a list of comments, written as JSON, found 'nice one'"),
        ({"a": "nice"}, "a list of comments, found a value of type 'dict'"),
        ([["nice"]], "a list of comments, each a text, found in it a value of type 'list'"),
    ],
)
def test_a_cell_that_holds_no_list_is_one_clear_line(
    cell: Any, found: str, commented: Rows
) -> None:
    rows = [{**commented[0], "comments": cell}, *commented[1:]]
    with pytest.raises(DataError, match=r"row 0, comments: expected .*, found ") as raised:
        PostClassifier(**BLOCK).fit(rows)
    assert found in str(raised.value) and "data.columns.comments" in str(raised.value)
    assert "\n" not in str(raised.value)
    PostClassifier(**{**QUICK, "training.epochs": 1}).fit(rows)  # which does not read them


@pytest.mark.parametrize("settings", [BLOCK, ATTENDED], ids=["vector", "attention"])
def test_train_without_any_comment_is_refused(settings: dict[str, Any], post_rows: Rows) -> None:
    with pytest.raises(DataError, match=r"train: expected posts with comments.*found none"):
        PostClassifier(**settings).fit(post_rows)


def test_other_comments_are_another_run(commented: Rows) -> None:
    other = [{**commented[0], "comments": ["something else"]}, *commented[1:]]
    for settings in (BLOCK, ATTENDED):
        config = load_config(values=settings)
        assert fingerprint(commented, config) != fingerprint(other, config)
    assert fingerprint(commented, load_config()) == fingerprint(other, load_config())


def test_their_column_may_have_another_name(commented: Rows) -> None:
    renamed = [{**row, "replies": row["comments"], "comments": 3} for row in commented]
    settings = {**BLOCK, "training.epochs": 2}
    first = PostClassifier(**settings).fit(commented)
    second = PostClassifier(**settings, **{"data.columns.comments": "replies"}).fit(renamed)
    np.testing.assert_array_equal(first.predict_proba(commented), second.predict_proba(renamed))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"data.columns.comments": "replies"}, "comments.own is False"),
        ({"comments.absence": 0.2}, "comments.absence=0.2 is read with comments.own=true"),
        ({"comments.own": True, "fusion.name": "image_only"}, "fusion.name is 'image_only'"),
        ({"blocks.comments": 1.0, "encoders.text.trainable": True}, "blocks.comments=1.0 is read"),
        ({"blocks.comments": 1.0, "fusion.name": "co_memory"}, "fusion.name=concat or"),
    ],
)
def test_settings_that_would_not_be_read_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=r".") as raised:
        load_config(values=values)
    assert said in str(raised.value)


def test_the_command_line_marks_own_comments(
    commented: Rows, postsense: Callable[..., Any], tmp_path: Path
) -> None:
    table, out = tmp_path / "posts.jsonl", tmp_path / "predicted.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in commented))
    asked = ("--set", "comments.own=true", "--set", "training.epochs=1")
    assert postsense("train", table, "--out", tmp_path / "run", *asked).code == 0
    assert postsense("predict", tmp_path / "run", table, "--out", out).code == 0
    first = json.loads(out.read_text().splitlines()[0])
    assert [hint["is_own"] for hint in first["hints"]] == [True, True]


def fingerprint(rows: Rows, config: Any) -> str:
    splits = split_posts(load_posts(rows), None, validation_fraction=0.1, seed=0)
    return str(describe_run(config, splits)["fingerprint"])
