"""What may be set where a trained model is used, and what a model does not decide."""

from pathlib import Path

import pytest

from postsense.config.loading import load_config
from postsense.config.local import after_training, load_local, without_machine
from postsense.errors import ConfigError

TRAINED = load_config(values={"fusion.hidden": 8, "retrieval.corpus": "/corpora/a"})


def test_settings_of_posts_and_machine_take_the_place_of_those_of_training(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('[data.columns]\ntext = "tweet"\nimage = "photo"\n')
    local = load_local(tmp_path / "x.toml", ["data.columns.image=picture", "encoders.threads=2"])
    config = local.over(TRAINED)
    assert (config.data.columns.text, config.data.columns.image) == ("tweet", "picture")
    assert (config.encoders.threads, config.fusion) == (2, TRAINED.fusion)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.epochs", 3),
        ("fusion.name", "cross_attention"),
        ("encoders.text.max_length", 9),
        ("encoders.text.pooling", "max"),
        ("encoders.image.trainable", True),
        ("retrieval.alpha", 0.3),
        ("comments.count", 1),
        ("data.train_fraction", 0.5),
        ("seed", 1),
    ],
)
def test_a_setting_that_made_the_model_is_refused_with_those_that_may_change(
    key: str, value: object
) -> None:
    with pytest.raises(ConfigError, match="once a model is trained") as error:
        load_local(values={key: value}).over(TRAINED)
    assert all(name in str(error.value) for name in ("data.columns.text", "encoders.cache", key))
    assert "\n" not in str(error.value)


def test_a_file_of_settings_that_the_model_was_trained_with_is_welcome(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[fusion]\nhidden = 8\n[encoders]\nthreads = 3\n")
    assert load_local(tmp_path / "x.toml").over(TRAINED).encoders.threads == 3


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("data.colums.text=x", "Did you mean 'data.columns.text'"),
        ("encoder.cache=x", "Did you mean 'encoders.cache'"),
        ("data.columns=x", "Did you mean 'data.columns"),
        ("a.b.c.d=x", "found 'a.b.c.d'. Leave it out"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest(override: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        load_local(None, [override]).over(TRAINED)


@pytest.mark.parametrize("override", ["encoders.threads=-1", "encoders.threads=x", "data=3"])
def test_a_bad_value_is_one_line(override: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_local(None, [override]).over(TRAINED)
    assert "\n" not in str(error.value)


def test_a_corpus_is_for_models_that_read_comments() -> None:
    local = load_local(values={"retrieval.corpus": Path("/corpora/b")})
    assert local.over(TRAINED).retrieval.corpus == Path("/corpora/b")
    assert local.over(load_config()).retrieval.corpus is None


def test_the_settings_of_a_machine_are_marked_where_they_are_described() -> None:
    kept = without_machine(load_config().model_dump())
    assert {"cache", "threads", "allow_download"}.isdisjoint(kept["encoders"])
    assert {"device", "workers", "start_from"}.isdisjoint(kept["training"])
    assert {"training.device", "training.workers", "encoders.threads"} <= set(after_training())
    assert "training.start_from" not in after_training()
