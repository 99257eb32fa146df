"""A classifier on disk: the same after loading, refused when anything in it has changed."""

import hashlib
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from postsense.config.loading import load_config
from postsense.config.local import without_machine
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.errors import ModelError, PostsenseError
from postsense.inputs.preparation import prepare_posts
from postsense.prediction.classifier import Classifier
from postsense.saving.description import digest_of
from postsense.saving.files import file_hashes
from postsense.saving.folder import load_model, save_model
from postsense.training.fitting import fit_classifier

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def fit(post_rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Classifier]:
    def fit_with(**settings: Any) -> Classifier:
        quick = {"training.epochs": 2, "training.learning_rate": 0.01, "training.device": "cpu"}
        config = load_config(values={**quick, **settings})
        splits = split_posts(load_posts(post_rows), None, validation_fraction=0.1, seed=0)
        prepared = prepare_posts(splits.posts, config)
        checkpoints = tmp_path_factory.mktemp("checkpoints")
        return fit_classifier(splits, prepared, config, checkpoints).classifier

    return fit_with


@pytest.fixture
def folder(fit: Callable[..., Classifier], tiny_bert: Path, tmp_path: Path) -> Path:
    """A saved model with a frozen text encoder, whose checkpoint is in tmp_path / "bert"."""
    shutil.copytree(tiny_bert, tmp_path / "bert")
    settings = {"fusion.name": "text_only", "encoders.text.name": str(tmp_path / "bert")}
    save_model(fit(**settings), tmp_path / "model")
    return tmp_path / "model"


def probs(classifier: Classifier, rows: Rows) -> np.ndarray:
    return classifier.predict(load_posts(rows)).probs


def settings_of(classifier: Classifier) -> dict[str, Any]:
    """All settings but those of this machine, which a model does not take along."""
    return without_machine(classifier.config.model_dump())


def edit(folder: Path, **values: Any) -> None:
    """Change keys of model.json and all checksums with them, as one who means harm would."""
    file = folder / "model.json"
    description = {**json.loads(file.read_text()), "files": file_hashes(folder), **values}
    file.write_text(json.dumps({**description, "sha256": digest_of(description)}))


@pytest.mark.parametrize("fusion", ["concat", "cross_attention", "text_only", "image_only"])
def test_a_loaded_model_predicts_exactly_the_same(
    fit: Callable[..., Classifier], post_rows: Rows, tmp_path: Path, fusion: str
) -> None:
    classifier = fit(**{"fusion.name": fusion})
    save_model(classifier, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert np.array_equal(probs(loaded, post_rows), probs(classifier, post_rows))
    assert loaded.classes == classifier.classes
    assert settings_of(loaded) == settings_of(classifier)


def test_a_model_with_a_layer_over_each_modality_loads_too(
    fit: Callable[..., Classifier], post_rows: Rows, tmp_path: Path
) -> None:
    classifier = fit(**{"encoders.projection": 8, "losses.itc": 0.1, "training.epochs": 1})
    save_model(classifier, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert np.array_equal(probs(loaded, post_rows[:8]), probs(classifier, post_rows[:8]))


def test_a_trained_text_encoder_is_whole_without_the_checkpoint_it_came_from(
    fit: Callable[..., Classifier], post_rows: Rows, tiny_bert: Path, tmp_path: Path
) -> None:
    origin = shutil.copytree(tiny_bert, tmp_path / "bert")
    chosen = {"fusion.name": "text_only", "encoders.text.name": str(origin)}
    classifier = fit(**chosen, **{"encoders.text.trainable": True})
    expected = probs(classifier, post_rows)
    save_model(classifier, tmp_path / "model")
    shutil.rmtree(origin)
    moved = (tmp_path / "model").rename(tmp_path / "moved")
    assert np.array_equal(probs(load_model(moved), post_rows), expected)


def test_a_loaded_model_can_be_saved_again_onto_itself(
    fit: Callable[..., Classifier], post_rows: Rows, tiny_bert: Path, tmp_path: Path
) -> None:
    chosen = {"fusion.name": "text_only", "encoders.text.name": str(tiny_bert)}
    classifier = fit(**chosen, **{"encoders.text.trainable": True})
    save_model(classifier, tmp_path / "model")
    save_model(load_model(tmp_path / "model"), tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert np.array_equal(probs(again, post_rows), probs(classifier, post_rows))
    assert [item.name for item in tmp_path.iterdir()] == ["model"]


def test_a_trained_picture_encoder_is_whole_without_its_checkpoint(
    fit: Callable[..., Classifier], post_rows: Rows, tiny_vit: Path, tmp_path: Path
) -> None:
    origin = shutil.copytree(tiny_vit, tmp_path / "vit")
    chosen = {"fusion.name": "image_only", "encoders.image.name": str(origin)}
    classifier = fit(**chosen, **{"encoders.image.trainable": True, "training.epochs": 1})
    expected = probs(classifier, post_rows[:8])
    save_model(classifier, tmp_path / "model")
    shutil.rmtree(origin)
    assert np.array_equal(probs(load_model(tmp_path / "model"), post_rows[:8]), expected)


def test_no_weights_of_frozen_encoders_are_saved(folder: Path) -> None:
    names = ["model.json", "seen.safetensors", "weights.safetensors"]
    assert sorted(item.name for item in folder.iterdir()) == names
    assert (folder / "weights.safetensors").stat().st_size < 60_000


def test_a_model_loads_and_predicts_without_a_network(
    folder: Path, post_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_model(folder).predict(load_posts(post_rows)).bad == ()


def test_a_model_that_cannot_be_saved_leaves_the_old_one(
    folder: Path, post_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    before, classifier = (folder / "model.json").read_bytes(), load_model(folder)
    monkeypatch.setattr("postsense.saving.folder.write_json", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(classifier, folder)
    assert (folder / "model.json").read_bytes() == before
    assert sorted(item.name for item in folder.parent.iterdir()) == ["bert", "model"]


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["absent", "bert"])
def test_a_folder_without_model_json_is_refused(folder: Path, name: str) -> None:
    refused(folder.parent / name, "expected a model folder, found no model.json in it")


@pytest.mark.parametrize("text", ["", "{", "\xff", '{"a": \n\n ]'])
def test_a_description_that_is_no_json_is_refused(folder: Path, text: str) -> None:
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    refused(folder, "model.json: expected JSON in UTF-8")


@pytest.mark.parametrize("text", ["[]", "3", "null", '{"format": 1}'])
def test_a_description_without_its_keys_is_refused(folder: Path, text: str) -> None:
    (folder / "model.json").write_text(text)
    refused(folder, "expected the keys .*'weights_sha256'.*, found no .*Train again")


def test_another_format_is_refused(folder: Path) -> None:
    edit(folder, format=2, postsense="9.9.9")
    refused(folder, r"expected format 1, found format 2. Use the postsense that wrote it \(9.9.9\)")


def test_another_format_is_named_whatever_its_keys_are(folder: Path) -> None:
    (folder / "model.json").write_text('{"format": 7}')
    refused(folder, "expected format 1, found format 7")


def test_settings_of_another_version_are_refused(folder: Path) -> None:
    edit(folder, config={"fusion": {"name": "concat", "depth": 3}})
    refused(folder, "expected settings of this version, found unknown 'fusion.depth'")


def test_truncated_weights_are_refused(folder: Path) -> None:
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    refused(folder, "weights.safetensors: expected SHA-256 .* The file is damaged")


@pytest.mark.parametrize("place", [0.01, 0.5, 0.999])
def test_a_flipped_bit_in_the_weights_is_refused(folder: Path, place: float) -> None:
    file = folder / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 1
    file.write_bytes(data)
    refused(folder, "weights.safetensors: expected SHA-256 .* The file is damaged")


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    refused(folder, "expected the model's weights, found no such file")


def test_weights_of_another_model_are_refused(
    folder: Path, fit: Callable[..., Classifier], tiny_bert: Path
) -> None:
    chosen = {"fusion.name": "text_only", "encoders.text.name": str(tiny_bert)}
    save_model(fit(**chosen, **{"fusion.hidden": 8}), folder.parent / "other")
    weights = shutil.copy(folder.parent / "other" / "weights.safetensors", folder)
    edit(folder, weights_sha256=hashlib.sha256(Path(weights).read_bytes()).hexdigest())
    refused(folder, "expected weights of this model")


def test_a_frozen_encoder_that_has_changed_is_refused(folder: Path) -> None:
    config = folder.parent / "bert" / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    refused(folder, "text encoder: expected 'text-.* The frozen encoder has changed since training")


def test_a_frozen_encoder_that_is_gone_is_named(folder: Path) -> None:
    shutil.rmtree(folder.parent / "bert")
    with pytest.raises(PostsenseError, match=f"found '{folder.parent / 'bert'}'"):
        load_model(folder)


def test_a_bit_flipped_anywhere_in_the_description_never_crashes(folder: Path) -> None:
    file, generator = folder / "model.json", np.random.default_rng(0)
    original = file.read_bytes()
    for place in generator.integers(0, len(original), 60):
        damaged = bytearray(original)
        damaged[place] ^= 1 << generator.integers(0, 8)
        file.write_bytes(damaged)
        try:
            load_model(folder)
        except PostsenseError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_changed_file_of_a_trained_encoder_is_refused(
    fit: Callable[..., Classifier], tiny_bert: Path, tmp_path: Path, name: str
) -> None:
    chosen = {"fusion.name": "text_only", "encoders.text.name": str(tiny_bert)}
    save_model(fit(**chosen, **{"encoders.text.trainable": True}), tmp_path / "model")
    file = tmp_path / "model" / "text_encoder" / name
    file.write_bytes(file.read_bytes().replace(b"awful", b"lawfu").replace(b'"gelu"', b'"relu"'))
    refused(
        tmp_path / "model", "expected the files of its trained encoders.* The files are damaged"
    )


def test_a_model_of_before_names_were_read_answers_as_it_did(
    fit: Callable[..., Classifier], tmp_path: Path
) -> None:
    rows = [{"text": text} for text in ("lovely 😂", "awful ➜ 👍🏽", "𝐥𝐨𝐯𝐞𝐥𝐲", "a lovely day")]
    classifier = fit(**{"fusion.name": "text_only", "encoders.text.unknown": "keep"})
    save_model(classifier, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "model.json").read_text())["config"]
    assert config["encoders"]["text"].pop("unknown") == "keep"
    edit(tmp_path / "model", config=config)
    loaded = load_model(tmp_path / "model")
    assert loaded.config.encoders.text.unknown == "keep"
    assert np.array_equal(probs(loaded, rows), probs(classifier, rows))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("int", "a description of a model, found in .*'negative'"),
        ("object", "a description of a model, found in 'label_kind'"),
    ],
)
def test_labels_that_the_classes_cannot_be_are_refused(
    folder: Path, kind: str, message: str
) -> None:
    edit(folder, label_kind=kind)
    with pytest.raises(ModelError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"trained": torch.zeros(3)},
        {"trained": torch.zeros((1, 3), dtype=torch.int64)},
        {"others": torch.zeros(3, dtype=torch.int64)},
    ],
)
def test_seen_posts_that_cannot_be_are_refused(folder: Path, tensors: dict[str, Any]) -> None:
    names = ("trained", "selected", "grouped", "tested")
    empty = {name: torch.zeros(0, dtype=torch.int64) for name in names}
    save_file(empty | tensors, folder / "seen.safetensors")
    edit(folder)
    with pytest.raises(ModelError, match="hashes of posts"):
        load_model(folder)


def test_what_was_seen_is_kept_as_hashes(folder: Path) -> None:
    seen = load_model(folder).seen
    assert seen is not None
    counts = [len(part) for part in (seen.trained, seen.selected, seen.grouped, seen.tested)]
    assert counts == [27, 9, 0, 9]
    assert b"lovely" not in (folder / "seen.safetensors").read_bytes()
