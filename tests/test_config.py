"""Settings come from four places, and every mistake in them is told at once."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from postsense.config import Config
from postsense.config.fields import settings_in, value_of
from postsense.config.loading import (
    load_config,
    load_corpus_settings,
    parse_config,
    parse_kept,
    preset_names,
    preset_titles,
)
from postsense.errors import ConfigError


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text("[fusion]\nname = 'image_only'\nhidden = 7\n[training]\nlearning_rate = 1e-3\n")
    return file


def test_without_anything_the_defaults_hold() -> None:
    assert load_config() == Config()


def test_a_preset_beats_the_defaults() -> None:
    assert load_config("text-only").fusion.name == "text_only"


def test_a_file_beats_a_preset_and_keeps_what_it_does_not_name(settings_file: Path) -> None:
    config = load_config("fine-tune-text", settings_file)

    assert config.fusion.name == "image_only"
    assert config.training.learning_rate == 1e-3
    assert config.training.epochs == 6
    assert config.training.batch_size == 32


def test_an_override_beats_a_file(settings_file: Path) -> None:
    config = load_config("text-only", settings_file, ["fusion.hidden=9", "fusion.hidden=11"])

    assert config.fusion.hidden == 11
    assert config.fusion.name == "image_only"


def test_ready_values_beat_an_override() -> None:
    assert load_config(overrides=["seed=1"], values={"seed": 2, "training.epochs": 3}).seed == 2


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.learning_rate=1e-4", 1e-4),
        ("encoders.allow_download=true", True),
        ("fusion.name=concat", "concat"),
        ("fusion.name='concat'", "concat"),
        (" encoders.text.name = org/model-x=y ", "org/model-x=y"),
        ("encoders.text.layers=3", 3),
    ],
)
def test_overrides_are_read_as_toml_and_bare_words_as_strings(override: str, value: object) -> None:
    found: object = load_config(overrides=[override])

    for part in override.partition("=")[0].strip().split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("override", ["training.epochs", "=5", ""])
def test_an_override_without_key_or_value_is_refused(override: str) -> None:
    expected = f"--set: expected key=value, found '{override}'. Write for example training.epochs=5"
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}"):
        load_config(overrides=[override])


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    expected = "unknown 'training.epoch' (Did you mean 'training.epochs'?)"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        load_config(overrides=["training.epoch=5"])


@pytest.mark.parametrize(
    ("override", "listed"),
    [
        (
            "zzz=5",
            "['blocks', 'clustering', 'comments', 'data', 'encoders', 'ensemble', 'fusion',",
        ),
        ("clustering.zzzzzzzzzzz=5", "['clustering.algorithm', 'clustering.clusters',"),
    ],
)
def test_an_unknown_key_that_resembles_none_is_refused_with_those_of_its_section(
    override: str, listed: str
) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=re.escape(f"unknown '{key}' (Choose one of {listed}")):
        load_config(overrides=[override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fusion.name=concta", "fusion.name = 'concta' (input should be 'concat'"),
        ("training.epochs=0", "training.epochs = 0 (input should be greater than or equal to 1)"),
        ("training.epochs=2.5", "training.epochs = 2.5 (input should be a valid integer"),
        ("fusion.dropout=1", "fusion.dropout = 1 (input should be less than 1)"),
        ("training=5", "training = 5 (input should be a valid dictionary"),
        ("seed.x=1", "seed = {'x': 1} (input should be a valid integer"),
    ],
)
def test_a_bad_value_is_refused_with_its_range(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(overrides=[override])


def test_all_problems_are_told_in_one_line() -> None:
    overrides = ["seed=-1", "fusion.hiddem=5", "data.validation_fraction=0.7"]

    with pytest.raises(ConfigError) as caught:
        load_config(overrides=overrides)

    message = str(caught.value)
    assert "\n" not in message
    assert all(key in message for key in ("seed", "'fusion.hidden'", "data.validation_fraction"))


FUSIONS = {
    "cast-mvsa": "co_memory",
    "cast-msd": "hierarchical",
    "cast-mhp": "bitransformer",
    "mmbt": "bitransformer",
    "ber-vit-att": "cross_attention",
    **dict.fromkeys(["bert", "roberta", "bertweet", "bernice", "bilstm", "cnn"], "text_only"),
    **dict.fromkeys(["vit", "beit", "deit", "resnet"], "image_only"),
    **{name: name.replace("-", "_") for name in ("cross-attention", "text-only", "image-only")},
    **{name: name for name in ("vilt", "lxmert")},
    **dict.fromkeys(["regression-words", "ridge-words", "fine-tuned-words"], "text_only"),
    **dict.fromkeys(["regression-picture", "ridge-picture"], "image_only"),
    "tfidf": "blocks_only",
    **dict.fromkeys(["spp-scl", "spp-scl-mvsa-s", "spp-scl-mvsa-m", "spp-scl-hfm"], "cross_modal"),
}
FROZEN = {
    *("concat", "concat-all", "concat-comments", "cross-attention", "text-only", "image-only"),
    *("cast", "clip", "itrp", "ensemble", "mpnet", "siglip2", "multilingual"),
    *("regression", "regression-all", "regression-words", "regression-picture", "tfidf"),
    *("ridge", "ridge-all", "ridge-words", "ridge-picture", "few-labels", "ridge-few-labels"),
}
METHODS = {
    **dict.fromkeys(("regression", "tfidf", "few-labels"), "regression"),
    "ridge": "ridge",
    **dict.fromkeys(("ensemble", "mpnet", "siglip2", "multilingual"), "ensemble"),
    "cast": "self_training",
    "spp-scl": "two_step_contrastive",
    "itrp": "cluster_pseudo_labels",
}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_changes_what_it_says(name: str) -> None:
    config = load_config(name)

    of_a_data_set = name.startswith("itc-itm-")
    fusion = "cross_attention" if of_a_data_set else FUSIONS.get(name, "concat")
    encoders = config.encoders
    assert config.fusion.name == fusion
    assert (encoders.text.trainable or encoders.image.trainable) is not (
        name in FROZEN or name.startswith("spp-scl")
    )
    methods = [method for start, method in METHODS.items() if name.startswith(start)]
    assert config.method == (methods or ["supervised"])[0]
    assert (config.losses.itc, config.losses.itm) == ((0.1, 0.1) if of_a_data_set else (0.0, 0.0))


def test_presets_of_a_paper_have_its_settings() -> None:
    mvsa, tir = load_config("itc-itm-mvsa"), load_config("itc-itm-tir")

    assert (mvsa.training.batch_size, tir.training.batch_size) == (16, 8)
    assert mvsa.training.encoder_learning_rate == 1e-5 and mvsa.training.schedule == "constant"
    assert mvsa.encoders.text.name == "jhu-clsp/bernice" and mvsa.encoders.text.max_length == 128
    assert not mvsa.encoders.image.trainable and mvsa.losses.class_weights == "balanced"


@pytest.mark.parametrize(
    ("preset", "batch_size", "rate", "step_epochs", "weight"),
    [
        ("spp-scl-mvsa-s", 64, 1e-4, 10, 5.0),
        ("spp-scl-mvsa-m", 128, 1e-4, 15, 5.0),
        ("spp-scl-hfm", 256, 5e-5, 5, 10.0),
    ],
)
def test_presets_of_spp_scl_have_the_papers_settings(
    preset: str, batch_size: int, rate: float, step_epochs: int, weight: float
) -> None:
    config = load_config(preset)

    training, encoders = config.training, config.encoders
    assert (training.batch_size, training.learning_rate) == (batch_size, rate)
    assert (training.step_epochs, training.step_factor) == (step_epochs, 0.5)
    assert (training.epochs, training.patience, training.weight_decay) == (150, 150, 1e-6)
    assert training.length_pool == 0  # batches are drawn from all posts
    assert config.losses.classification == weight
    assert encoders.text.name == "google-bert/bert-base-uncased" and encoders.text.read_layers == 4


def test_every_preset_says_in_a_sentence_what_it_is() -> None:
    titles = preset_titles()

    assert list(titles) == preset_names()
    assert all(title.endswith((".", ")")) and len(title) < 100 for title in titles.values())


def test_a_file_may_extend_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "mmbt"\ntraining.batch_size = 3\n')

    config = load_config(file=file)

    assert (config.fusion.name, config.training.batch_size) == ("bitransformer", 3)
    assert config.training.encoder_learning_rate == 1e-5  # of what mmbt extends itself


def test_a_file_that_extends_nothing_known_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "mmbd"\n')

    with pytest.raises(ConfigError, match=r"mine\.toml, extends: .*Did you mean 'mmbt'"):
        load_config(file=file)


TRAINED = "encoders.text.trainable=true"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["losses.itc=0.6", "losses.itm=0.4"], "itc + itm must be below 1"),
        (["losses.itc=0.1", "training.batch_size=1"], "training.batch_size >= 2"),
        (["fusion.name=lxmert", TRAINED, "encoders.projection=8"], "no encoders.projection"),
        (
            [
                "fusion.name=vilt",
                TRAINED,
                "encoders.image.trainable=true",
                "encoders.image.layers=2",
            ],
            "set encoders.text.layers and frozen_layers",
        ),
        (["training.gradient_checkpointing=true"], "needs an encoder that trains"),
        (["losses.itm=0.1", "fusion.name=text_only"], "need a fusion that reads text and picture"),
        (["fusion.name=vilt"], "fusion 'vilt' needs encoders.text.trainable=true"),
        (["fusion.name=vilt", TRAINED, "encoders.image.name=x"], "fusion 'vilt' is one model"),
        (
            ["fusion.name=lxmert", TRAINED, "encoders.text.network=cnn"],
            "fusion 'lxmert' needs encoders.text.network=transformer",
        ),
        (
            ["fusion.name=lxmert", TRAINED, "encoders.image.trainable=true"],
            "fusion 'lxmert' reads frozen regions",
        ),
        (["encoders.image.name=regions", "encoders.image.trainable=true"], "are kept features"),
        (["encoders.image.name=regions", "method=self_training"], "which has no 'regions'"),
        (["encoders.text.network=bilstm"], "'bilstm' is new: trainable=true"),
        (["encoders.image.frozen_layers=2"], "frozen_layers needs encoders.image.trainable=true"),
        (["fusion.name=bitransformer"], "needs encoders.text.trainable=true"),
        (["fusion.name=image_only", "retrieval.corpus=c"], "are words, which"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(overrides=overrides)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["training.step_epochs=7"],
            "training.step_epochs=7 is read with training.schedule=step, but training.schedule is"
            " 'linear'",
        ),
        (
            ["losses.gate_threshold=0.5", "losses.inter_modal=1"],
            "losses.gate_threshold=0.5 is read with losses.inter_step=second, but"
            " losses.inter_step is 'same'",
        ),
        (
            ["self_training.rounds=2"],
            "self_training.rounds=2 is read with method=self_training, but method is 'supervised'",
        ),
        (
            ["fusion.name=image_only", "encoders.text.max_length=9"],
            "encoders.text.max_length=9 is read with a fusion that reads words, but fusion.name is"
            " 'image_only'",
        ),
        (
            ["fusion.name=cross_modal", "fusion.interaction=none", "fusion.fidelity=released"],
            "is read with fusion.interaction=attention, but fusion.interaction is 'none'",
        ),
        (
            ["comments.count=3"],
            "is read with a corpus or comments.own=true, but retrieval.corpus is None and"
            " comments.own is False",
        ),
        (["losses.fidelity=released"], "is read with losses.intra_text, intra_image or inter_mod"),
    ],
)
def test_what_is_set_and_not_read_is_refused_with_what_it_is_read_with(
    overrides: list[str], line: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)):
        load_config(overrides=overrides)


def test_all_that_is_not_read_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[losses]\ntemperature = 0.5\nmismatched = 0.1\n")
    with pytest.raises(ConfigError, match=r"losses\.temperature=0\.5.*; losses\.mismatched=0\.1"):
        load_config(file=file)
    with pytest.raises(ConfigError, match=r"losses\.temperature=0\.5 is read with losses\.itc"):
        parse_config({"losses": {"temperature": 0.5}})


def test_a_setting_at_its_default_and_one_of_the_machine_need_not_be_read() -> None:
    config = load_config(overrides=["training.step_epochs=10", "training.workers=1"])
    assert (config.training.step_epochs, config.training.workers) == (10, 1)


@pytest.mark.parametrize(
    ("preset", "overrides", "dropped", "default"),
    [
        ("mmbt", ["fusion.name=concat"], "fusion.picture_tokens", 3),
        ("spp-scl", ["training.schedule=linear"], "training.step_factor", 0.5),
        ("spp-scl", ["fusion.name=concat"], "fusion.reader_width", 128),
        ("cast-mvsa", ["method=supervised"], "self_training.neighbors", 3),
        ("fine-tune-text", ["fusion.name=image_only"], "encoders.text.trainable", False),
    ],
)
def test_what_a_preset_sets_for_another_combination_is_dropped(
    preset: str, overrides: list[str], dropped: str, default: object
) -> None:
    assert value_of(load_config(preset, overrides=overrides), dropped) == default


def test_what_the_user_sets_beside_a_preset_is_refused_all_the_same() -> None:
    with pytest.raises(
        ConfigError, match=r"fusion\.picture_tokens=2 is read with fusion\.name=bitr"
    ):
        load_config("mmbt", overrides=["fusion.name=concat", "fusion.picture_tokens=2"])


def test_what_a_preset_that_a_file_extends_sets_is_dropped_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "mmbt"\nfusion.name = "concat"\n')
    assert load_config(file=file).fusion.picture_tokens == 3


def test_settings_of_an_earlier_version_are_kept_where_they_are_read_and_else_dropped() -> None:
    kept = Config().model_dump(mode="json")
    kept["training"] |= {"step_epochs": 3, "epochs": 7}
    kept["losses"] |= {"inter_step": "second", "gate_threshold": 0.1}
    config = parse_kept(kept)
    assert (config.training.step_epochs, config.training.epochs) == (10, 7)
    assert config.losses == Config().losses


def test_every_condition_names_settings_that_there_are() -> None:
    keys = {setting.key for setting in settings_in(Config)}
    named = {
        key for one in settings_in(Config) for where in one.read_where for key in where.decided_by
    }
    assert named and named <= keys


def test_an_unknown_preset_is_refused_with_the_nearest_one() -> None:
    expected = "found 'text_only'. Did you mean 'text-only'?"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        load_config("text_only")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: expected a TOML file, found no such file"):
        load_config(file=tmp_path / "no.toml")


@pytest.mark.parametrize("content", [b"seed = \n", b"seed: 1", b"# gr\xf6er\n"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.toml").write_bytes(content)

    with pytest.raises(ConfigError, match=r"bad\.toml: expected a TOML file in UTF-8, found"):
        load_config(file=tmp_path / "bad.toml")


def test_settings_survive_being_written_and_read() -> None:
    config = load_config("cross-attention", overrides=["encoders.cache=/some/folder", "seed=3"])

    assert parse_config(config.model_dump(mode="json")) == config


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().seed = 3


def test_corpus_settings_come_from_overrides_too() -> None:
    settings = load_corpus_settings(overrides=["columns.text=tweet"], values={"language": "de"})
    assert (settings.columns.text, settings.language) == ("tweet", "de")
    with pytest.raises(ConfigError, match=r"unknown 'language_code' \(Did you mean 'language'\?\)"):
        load_corpus_settings(overrides=["language_code=de"])


def test_a_corpus_refuses_columns_that_it_does_not_keep() -> None:
    with pytest.raises(ConfigError, match=r"a corpus keeps no title: leave columns\.title out"):
        load_corpus_settings(overrides=["columns.title=headline"])
