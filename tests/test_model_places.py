"""What a model needs beside its folder: found again, named anew, and never another one."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense import PostClassifier
from postsense.config.loading import load_config
from postsense.config.local import load_local
from postsense.errors import ConfigError, EncoderError, ModelError, PostsenseError
from postsense.saving.description import digest_of, read_description
from postsense.saving.folder import load_model
from postsense.saving.places import corpus_id, found_corpus, from_root

Rows = list[dict[str, Any]]
OLD = Path(__file__).parent / "fixtures" / "model-of-format-1-frozen"
QUICK = {"training.epochs": 1, "training.device": "cpu", "fusion.hidden": 4}


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, post_rows: Rows
) -> tuple[Path, np.ndarray]:
    """A folder with an encoder, named relatively in training, a model over it and a run's name."""
    folder = tmp_path_factory.mktemp("trained-over")
    shutil.copytree(tiny_bert, folder / "bert")
    settings = {**QUICK, "fusion.name": "text_only", "encoders.text.name": "bert"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fitted = PostClassifier(**settings).fit(post_rows)
    fitted.save(folder / "model")
    return folder, fitted.predict_proba(post_rows)


@pytest.fixture
def moved(trained: tuple[Path, np.ndarray], tmp_path: Path) -> Path:
    """A copy of the model whose encoder is in tmp_path / "elsewhere", and not where it was."""
    shutil.copytree(trained[0] / "model", tmp_path / "model")
    shutil.copytree(trained[0] / "bert", tmp_path / "elsewhere")
    edit(tmp_path / "model", "encoders.text.name", str(tmp_path / "gone"))
    return tmp_path / "model"


def edit(folder: Path, key: str, value: object) -> None:
    """Change a setting in model.json and its checksum with it."""
    file = folder / "model.json"
    description = json.loads(file.read_text())
    *sections, name = key.split(".")
    section = description["config"]
    for part in sections:
        section = section[part]
    section[name] = value
    file.write_text(json.dumps({**description, "sha256": digest_of(description)}))


def test_an_encoder_that_was_named_relatively_is_found_from_anywhere(
    trained: tuple[Path, np.ndarray], post_rows: Rows
) -> None:
    folder, expected = trained
    loaded = PostClassifier.load(folder / "model")
    assert loaded.config.encoders.text.name == str((folder / "bert").resolve())
    assert np.array_equal(loaded.predict_proba(post_rows), expected)


def test_an_encoder_that_moved_is_named_with_its_place_and_fingerprint(moved: Path) -> None:
    with pytest.raises(ModelError, match=r"text encoder: .*fingerprint [0-9a-f]{32}") as error:
        load_model(moved)
    assert f"found '{moved.parent / 'gone'}'" in str(error.value)
    assert str(error.value).endswith("--set encoders.text.name=FOLDER.")


def test_an_encoder_that_moved_can_be_named_anew(
    moved: Path, trained: tuple[Path, np.ndarray], post_rows: Rows
) -> None:
    elsewhere = str(moved.parent / "elsewhere")
    loaded = PostClassifier.load(moved, **{"encoders.text.name": elsewhere})
    assert np.array_equal(loaded.predict_proba(post_rows), trained[1])
    loaded.save(moved)
    assert PostClassifier.load(moved).config.encoders.text.name == elsewhere


@pytest.mark.parametrize("named", ["roberta", "changed", "builtin", "regions", "a file", "x/y"])
def test_another_encoder_than_that_of_training_is_refused(
    moved: Path, tiny_roberta: Path, tmp_path: Path, named: str
) -> None:
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "changed")
    (tmp_path / "changed" / "config.json").write_text("{}")
    (tmp_path / "a file").write_text("x")
    places = {"roberta": tiny_roberta, "changed": tmp_path / "changed"}
    places["a file"] = tmp_path / "a file"
    local = load_local(values={"encoders.text.name": str(places.get(named, named))})
    with pytest.raises(PostsenseError) as error:
        load_model(moved, local)
    assert "\n" not in str(error.value)
    assert "encoders.text.name=FOLDER" in str(error.value)


def test_nothing_of_another_encoder_is_opened(
    moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    (tmp_path / "elsewhere" / "config.json").write_text("{}")
    monkeypatch.setattr("postsense.encoders.pretrained.load_model", refuse)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refuse)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", refuse)
    with pytest.raises(ModelError, match="has changed since training"):
        load_model(moved, load_local(values={"encoders.text.name": str(tmp_path / "elsewhere")}))


@pytest.mark.parametrize(
    "name", ["/etc", "../../x", "~nobody/x", "\\\\host\\share\\x", "//host/x", "a\0b", "", "org/m"]
)
def test_a_model_that_names_any_place_is_one_line(moved: Path, name: str) -> None:
    edit(moved, "encoders.text.name", name)
    with pytest.raises(ModelError, match="text encoder: expected") as error:
        load_model(moved)
    assert "\n" not in str(error.value)


def test_a_hub_name_is_looked_up_in_the_cache_alone(
    moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[bool]()

    def look(name: str, where: str, allow_download: bool) -> Path:
        asked.append(allow_download)
        raise EncoderError(where, "a model", name)

    monkeypatch.setattr("postsense.saving.places.checkpoint_folder", look)
    edit(moved, "encoders.text.name", "org/model")
    edit(moved, "encoders.allow_download", True)
    for local in (load_local(), load_local(None, ["encoders.allow_download=true"])):
        with pytest.raises(ModelError, match="which is not in the local Hugging Face cache"):
            load_model(moved, local)
    assert asked == [False, True]


def test_an_encoder_inside_the_model_cannot_be_named(tmp_path: Path) -> None:
    inside = OLD.with_name("model-of-format-1-trained")
    with pytest.raises(ConfigError, match="the model holds its text encoder.* Leave it out"):
        load_model(inside, load_local(values={"encoders.text.name": str(tmp_path)}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoders.cache", "/evil/cache"),
        ("encoders.threads", 10**9),
        ("encoders.allow_download", True),
        ("training.workers", 500),
        ("training.device", "cpu"),
        ("training.start_from", "/evil/run"),
        ("encoders.cache", {"a": 1}),
    ],
)
def test_a_model_decides_nothing_about_this_machine(tmp_path: Path, key: str, value: Any) -> None:
    shutil.copytree(OLD, tmp_path / "model")
    edit(tmp_path / "model", key, value)
    assert load_model(tmp_path / "model").config == load_model(OLD).config


def test_settings_of_the_machine_are_those_of_who_loads(tmp_path: Path) -> None:
    values = {"encoders.cache": str(tmp_path / "kept"), "training.workers": 1}
    config = PostClassifier.load(OLD, **values).config
    assert (config.encoders.cache, config.training.workers) == (tmp_path / "kept", 1)


def test_a_corpus_that_is_gone_or_another_is_told(synthetic_corpus: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    config = load_config(values={"retrieval.corpus": corpus})
    known = corpus_id(load_config(values={"retrieval.corpus": synthetic_corpus}))
    described = read_description(OLD).model_copy(update={"corpus": known})
    with pytest.raises(ModelError, match=f"'{corpus}', found no such folder. Name its folder"):
        found_corpus(OLD, described, config, named=False)
    found_corpus(OLD, described, config, named=True)
    corpus.mkdir()
    manifest = (synthetic_corpus / "corpus.json").read_text()
    (corpus / "corpus.json").write_text(manifest)
    found_corpus(OLD, described, config, named=False)
    (corpus / "corpus.json").write_text(manifest.replace(str(described.corpus), "0" * 32))
    with pytest.raises(ModelError, match="found another corpus there. Name its folder"):
        found_corpus(OLD, described, config, named=False)
    found_corpus(OLD, described.model_copy(update={"corpus": None}), config, named=False)


def test_what_training_started_from_is_not_needed_to_predict(
    trained: tuple[Path, np.ndarray], post_rows: Rows, tmp_path: Path
) -> None:
    earlier = shutil.copytree(trained[0] / "model", tmp_path / "earlier")
    settings = {"fusion.name": "text_only", "encoders.text.name": str(trained[0] / "bert")}
    start = {"training.start_from": earlier}
    PostClassifier(**QUICK, **settings, **start).fit(post_rows).save(tmp_path / "model")
    shutil.rmtree(earlier)
    assert PostClassifier.load(tmp_path / "model").predictions(post_rows).bad == ()


def test_folders_are_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").mkdir()
    named = {"encoders.text.name": "bert", "encoders.image.name": "org/model"}
    places = {"training.start_from": "run", "retrieval.corpus": "corpus"}
    config = from_root(load_config(values={**named, **places}))
    assert config.encoders.text.name == str(tmp_path / "bert")
    assert config.encoders.image.name == "org/model"
    assert config.training.start_from == tmp_path / "run"
    assert config.retrieval.corpus == tmp_path / "corpus"
