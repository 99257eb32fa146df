"""Vectors that need no encoder are read beside words and picture, each part as heavy as set."""

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
from postsense.discovery.discover import SETTINGS, discover
from postsense.errors import ConfigError, ModelError
from postsense.inputs.preparation import PreparedPosts, prepare_posts
from postsense.model.post_model import Branch, PostModel
from postsense.registry import FUSIONS, INPUTS
from postsense.runs.folder import describe_run
from postsense.saving.weights import _refuse_unsound
from postsense.training.labeled import TrainingData, new_model

Rows = list[dict[str, Any]]
VECTORS = [name for name, one in INPUTS.items() if not one.has_column and one.of == "text"]
READERS = [
    name
    for name, fusion in FUSIONS.items()
    if set(VECTORS) <= set(fusion.may_read) and "text" in fusion.reads
]
BOTH = dict.fromkeys((f"blocks.{name}" for name in VECTORS), 0.5)
QUICK = {"training.epochs": 1, "training.device": "cpu"}


@pytest.fixture
def one_picture(post_rows: Rows) -> Rows:
    """Posts that differ in their words alone."""
    return [{**row, "image": post_rows[0]["image"]} for row in post_rows]


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize(
    "fusion",
    [name if name == "concat" else pytest.param(name, marks=pytest.mark.slow) for name in READERS],
)
def test_what_it_says_decides(
    fusion: str, vector: str, one_picture: Rows, tiny_bert: Path, tmp_path: Path
) -> None:
    """Encoded words are made too light to say anything."""
    values = {
        "fusion.name": fusion,
        "encoders.text.name": str(tiny_bert),
        "encoders.text.read_layers": min(FUSIONS[fusion].text_layers, 2),
        "blocks.text": 1e-6,
        f"blocks.{vector}": 1.0,
        "fusion.input_dropout": 0.0,
        "training.epochs": 30,
        "training.patience": 30,
        "training.learning_rate": 0.01,
    }
    classifier = PostClassifier(**values).fit(one_picture)
    classifier.save(tmp_path / "model")
    back = PostClassifier.load(tmp_path / "model")
    held_out = [row for row in one_picture if row["split"] == "test" and row["text"]]

    assert back.score(held_out) > 0.9
    np.testing.assert_array_equal(
        back.predict_proba(one_picture), classifier.predict_proba(one_picture)
    )


def test_a_part_is_multiplied_by_its_weight_after_it_is_standardised(post_rows: Rows) -> None:
    weights = {"text": 3.0, "image": 0.5, "lexical": 2.0, "tfidf": 0.25}
    once = _model(post_rows, dict.fromkeys(weights, 1.0))
    weighed = _model(post_rows, weights)
    batch = once.prepared.dataset(np.arange(9))[np.arange(9)]
    for name, weight in weights.items():
        plain = _branch(once.model, name).standardize(batch[name])
        heavier = _branch(weighed.model, name).standardize(batch[name])
        torch.testing.assert_close(heavier.pooled, plain.pooled * weight)
        assert (heavier.tokens is None) == (plain.tokens is None) == (name in VECTORS)
        if heavier.tokens is not None and plain.tokens is not None:
            torch.testing.assert_close(heavier.tokens, plain.tokens * weight)


def test_lexical_is_standardised_and_tfidf_of_one_length(post_rows: Rows) -> None:
    made = _model(post_rows, {"lexical": 1.0, "tfidf": 1.0})
    batch = made.prepared.dataset(np.arange(27))[np.arange(27)]
    lexical = made.model.blocks["lexical"](batch["lexical"]).pooled
    torch.testing.assert_close(lexical.mean(dim=0), torch.zeros(28), atol=1e-4, rtol=0)
    tfidf = made.model.blocks["tfidf"](batch["tfidf"]).pooled
    length = INPUTS["tfidf"].length
    assert length is not None
    torch.testing.assert_close(tfidf.norm(dim=1), torch.full((27,), length))


def test_a_post_without_words_gets_a_vector_of_its_own(post_rows: Rows) -> None:
    made = _model(post_rows, {"lexical": 1.0, "tfidf": 1.0})
    posts = load_posts([{**post_rows[0], "text": None}])
    batch = prepare_posts(posts, made.config).dataset(np.arange(1))[np.arange(1)]
    for name in VECTORS:
        branch = _branch(made.model, name)
        branch.missing.data.fill_(0.7)
        assert (branch(batch[name]).pooled == 0.7).all()


def test_they_go_with_the_words_where_these_are_swapped(post_rows: Rows) -> None:
    settings = {**QUICK, **BOTH, "losses.itm": 0.3}
    [fitted] = PostClassifier(**settings).fit(post_rows).classifiers
    posts = load_posts(post_rows, fitted.config.data.columns)
    batch = prepare_posts(posts, fitted.config).dataset(np.arange(4))[np.arange(4)]
    swaps = torch.tensor([1, 0, 3, 2])
    words = {name: batch[name].take(swaps) for name in ("text", *VECTORS)}

    with torch.no_grad():
        asked = fitted.model(replace(batch, swaps=swaps)).match_logits
        exchanged = fitted.model(replace(batch, read={**batch.read, **words}))

    assert fitted.model.match_head is not None
    expected = fitted.model.match_head(exchanged.fused)
    torch.testing.assert_close(asked, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"method": "self_training", "comments.count": 2, "self_training.rounds": 1},
        pytest.param({"fusion.name": "co_memory", "comments.count": 2}, marks=pytest.mark.slow),
        pytest.param(
            {"method": "self_training", "comments.count": 0, "self_training.rounds": 1},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_posts_of_a_corpus_have_them_too(
    values: dict[str, Any], post_rows: Rows, synthetic_corpus: Path
) -> None:
    classifier = PostClassifier(
        corpus=synthetic_corpus, **{**QUICK, **BOTH, **values, "retrieval.min_score": -1.0}
    ).fit(post_rows)
    together = classifier.predict_proba(post_rows[:3])
    [alone] = classifier.predict_proba(post_rows[2:3])
    np.testing.assert_allclose(together[2], alone, atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"method": "two_step_contrastive", "encoders.text.read_layers": 1},
        {"method": "cluster_pseudo_labels", "clustering.clusters": 4},
    ],
)
def test_methods_with_a_model_of_their_own_read_them(
    values: dict[str, Any], post_rows: Rows, tiny_bert: Path
) -> None:
    small = {
        "encoders.text.name": str(tiny_bert),
        "encoders.text.trainable": False,
        "encoders.image.name": "builtin",
        "encoders.image.trainable": False,
    }
    [fitted] = PostClassifier(**{**QUICK, **BOTH, **small, **values}).fit(post_rows).classifiers
    assert list(fitted.model.blocks) == VECTORS


def test_groups_are_discovered_with_them(post_rows: Rows, tmp_path: Path) -> None:
    given = {"method": "cluster_pseudo_labels", "clustering.clusters": 3, **BOTH}
    config = load_config(None, None, SETTINGS, {**given, **QUICK})
    found = discover(load_posts(post_rows), config, tmp_path / "run")
    assert sum(group.size for group in found.groups) == found.posts


def test_fusions_that_cannot_read_them_refuse_them_by_name() -> None:
    trained = {f"encoders.{part}.trainable": True for part in ("text", "image")}
    for fusion in FUSIONS.keys() - set(READERS) - {"blocks_only"}:
        settings = trained if fusion in ("bitransformer", "vilt") else {}
        preset = "lxmert" if fusion == "lxmert" else None
        for name in VECTORS:
            message = rf"blocks\.{name}=1.0 is read with fusion\.name=concat or .* is '{fusion}'"
            values = {"fusion.name": fusion, **settings, f"blocks.{name}": 1.0}
            with pytest.raises(ConfigError, match=message):
                load_config(preset, values=values)


@pytest.mark.parametrize(
    ("part", "fusion"), [("text", "image_only"), ("image", "text_only"), ("image", "lxmert")]
)
def test_a_weight_of_what_is_not_read_is_refused(part: str, fusion: str) -> None:
    with pytest.raises(ConfigError, match=rf"blocks\.{part}=2.0 is read with"):
        load_config(
            None if fusion != "lxmert" else "lxmert",
            values={"fusion.name": fusion, f"blocks.{part}": 2.0},
        )


def test_they_are_of_the_text_and_make_no_other_posts(post_rows: Rows) -> None:
    posts = load_posts(post_rows)
    splits = split_posts(posts, None, validation_fraction=0.1, seed=0)
    plain, both = load_config(), load_config(values=BOTH)
    assert describe_run(plain, splits) == describe_run(both, splits)
    assert both.columns_read() == plain.columns_read() == ("text", "image")


def test_a_new_start_keeps_the_statistics_of_its_own_posts(post_rows: Rows, tmp_path: Path) -> None:
    [earlier] = PostClassifier(**{**QUICK, **BOTH}).fit(post_rows).classifiers
    PostClassifier(**{**QUICK, **BOTH}).fit(post_rows).save(tmp_path / "model")
    others = [{**row, "text": f"{row['text']} !!! 12"} for row in post_rows]
    values = {**BOTH, "training.start_from": str(tmp_path / "model")}
    later = _model(others, {}, **values).model
    for name in VECTORS:
        before, after = _branch(earlier.model, name), _branch(later, name)
        assert not torch.equal(before.deviation, after.deviation)
    weights = earlier.model.fusion.state_dict()
    torch.testing.assert_close(later.fusion.state_dict(), weights)


def test_a_model_with_an_encoder_inside_comes_back_with_them(
    post_rows: Rows, tiny_bert: Path, tmp_path: Path
) -> None:
    encoder = {"encoders.text.name": str(tiny_bert), "encoders.text.trainable": True}
    classifier = PostClassifier(**{**QUICK, **BOTH, **encoder}).fit(post_rows)
    classifier.save(tmp_path / "model")
    back = PostClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(
        back.predict_proba(post_rows), classifier.predict_proba(post_rows)
    )


@pytest.mark.parametrize("name", VECTORS)
def test_deviations_that_are_not_above_zero_are_refused(name: str, post_rows: Rows) -> None:
    model = _model(post_rows, dict.fromkeys(VECTORS, 1.0)).model
    deviation = f"blocks.{name}.deviation"
    weights = {**model.state_dict(), deviation: torch.zeros(INPUTS[name].width)}
    with pytest.raises(ModelError, match=f"'{deviation}' above 0"):
        _refuse_unsound(Path("weights"), model, weights)


class _Made:
    def __init__(self, config: Any, prepared: PreparedPosts, model: PostModel) -> None:
        self.config, self.prepared, self.model = config, prepared, model.eval()


def _model(rows: Rows, weights: dict[str, float], **values: Any) -> _Made:
    blocks = {f"blocks.{name}": weight for name, weight in weights.items()}
    fusion = "cross_attention" if "text" in weights else "concat"
    config = load_config(values={"fusion.name": fusion, **QUICK, **blocks, **values})
    prepared = prepare_posts(load_posts(rows), config)
    train = prepared.dataset(np.arange(27), ("negative", "neutral", "positive"))
    data = TrainingData(train, train, ("negative", "neutral", "positive"))
    return _Made(config, prepared, new_model(data, config))


def _branch(model: PostModel, name: str) -> Branch:
    branch = model._branch(name)
    assert branch is not None
    return branch
