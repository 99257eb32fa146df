"""Checkpoints are found on this machine, loaded safely, and never fetched unasked."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from postsense.config import EncoderSettings
from postsense.config.loading import parse_config
from postsense.encoders.pretrained import (
    cache_folder,
    checkpoint_folder,
    fingerprint_folder,
    image_checkpoint,
    keep_layers,
    load_model,
    text_checkpoint,
)
from postsense.errors import EncoderError

WHERE = "encoders.text.name"


@pytest.fixture
def copy_of_bert(tiny_bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bert, tmp_path / "bert")


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty local Hugging Face cache in place of the user's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_local_folder_is_taken_as_it_is(tiny_bert: Path) -> None:
    assert checkpoint_folder(str(tiny_bert), WHERE, allow_download=False) == tiny_bert


@pytest.mark.parametrize("name", ["vinai/bertweet-base", "/no/such/folder", "not a name !"])
def test_a_name_that_is_not_on_this_machine_is_refused_in_one_line(
    hub_cache: Path, name: str
) -> None:
    with pytest.raises(EncoderError, match=r"--set encoders\.allow_download=true") as caught:
        checkpoint_folder(name, WHERE, allow_download=False)

    assert str(caught.value).startswith(f"{WHERE}: expected 'builtin', a local folder or")
    assert f"found '{name}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_leave_the_hub_is_not_asked(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[dict[str, Any]]()

    def refuse(name: str, **settings: Any) -> str:
        asked.append(settings)
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    for allowed in (False, True):
        with pytest.raises(EncoderError):
            checkpoint_folder("org/model", WHERE, allow_download=allowed)

    assert [settings["local_files_only"] for settings in asked] == [True, False]
    assert not any("*.bin" in settings["allow_patterns"] for settings in asked)


def test_a_name_in_the_local_hugging_face_cache_is_found(hub_cache: Path, tiny_bert: Path) -> None:
    repository, commit = hub_cache / "models--org--tiny", "a" * 40
    shutil.copytree(tiny_bert, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)

    found = checkpoint_folder("org/tiny", WHERE, allow_download=False)

    assert found == (repository / "snapshots" / commit).resolve()


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")

    message = r"a checkpoint with config\.json and \*\.safetensors, found .*\['notes\.md'\]"
    with pytest.raises(EncoderError, match=message):
        checkpoint_folder(str(tmp_path), WHERE, allow_download=False)


def test_pickled_weights_are_never_read(
    copy_of_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_model(copy_of_bert, WHERE).state_dict()
    (copy_of_bert / "model.safetensors").unlink()
    torch.save(weights, copy_of_bert / "pytorch_model.bin")
    monkeypatch.setattr(torch, "load", lambda *args, **more: pytest.fail("unpickled"))

    with pytest.raises(EncoderError, match="pickled weights are never read"):
        load_model(copy_of_bert, WHERE)


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def unknown_model(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')


@pytest.mark.parametrize("damage", [cut_weights, empty_weights, break_config, unknown_model])
def test_a_damaged_checkpoint_is_refused_in_one_line(
    copy_of_bert: Path, damage: Callable[[Path], None]
) -> None:
    damage(copy_of_bert)

    message = "expected a checkpoint that transformers can load, found"
    with pytest.raises(EncoderError, match=message) as caught:
        load_model(copy_of_bert, WHERE)

    assert "\n" not in str(caught.value)


def rewrite_weights(folder: Path, keep: Callable[[str], bool]) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if keep(name)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def test_a_checkpoint_that_lacks_weights_is_refused_rather_than_made_up(copy_of_bert: Path) -> None:
    rewrite_weights(copy_of_bert, lambda name: "layer.1.output.dense" not in name)

    message = r"without 2 of them, such as 'encoder\.layer\.1\.output\.dense\.bias'"
    with pytest.raises(EncoderError, match=message):
        load_model(copy_of_bert, WHERE)


def test_a_checkpoint_may_lack_the_pooler_that_nobody_reads(copy_of_bert: Path) -> None:
    whole = load_model(copy_of_bert, WHERE)
    rewrite_weights(copy_of_bert, lambda name: "pooler" not in name)

    ids = torch.tensor([[2, 4, 3]])
    states = load_model(copy_of_bert, WHERE)(input_ids=ids).last_hidden_state

    assert torch.equal(states, whole(input_ids=ids).last_hidden_state)


def test_weights_kept_in_half_precision_are_loaded_in_single(copy_of_bert: Path) -> None:
    load_model(copy_of_bert, WHERE).half().save_pretrained(copy_of_bert)

    model = load_model(copy_of_bert, WHERE)

    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert not model.training


def test_random_weights_need_no_weights_file(copy_of_bert: Path) -> None:
    trained = load_model(copy_of_bert, WHERE).state_dict()
    (copy_of_bert / "model.safetensors").unlink()

    random = load_model(copy_of_bert, WHERE, pretrained=False).state_dict()

    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(random[name], trained[name])


def test_loading_says_nothing(copy_of_bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(copy_of_bert, WHERE)

    assert capfd.readouterr() == ("", "")


def test_the_first_layers_are_kept(tiny_bert: Path) -> None:
    whole, model = load_model(tiny_bert, WHERE), load_model(tiny_bert, WHERE)

    keep_layers(model, 1, "encoders.text.layers")

    kept = {name for name in whole.state_dict() if ".layer.1." not in name}
    assert set(model.state_dict()) == kept


def test_no_layers_are_cut_unless_asked(tiny_bert: Path) -> None:
    model = load_model(tiny_bert, WHERE)
    before = set(model.state_dict())

    keep_layers(model, None, "encoders.text.layers")

    assert set(model.state_dict()) == before


def test_a_model_without_layers_cannot_be_cut(tiny_resnet: Path) -> None:
    model = load_model(tiny_resnet, "encoders.image.name")

    message = r"encoders\.image\.layers: expected a transformer .* found 'ResNetModel' without one"
    with pytest.raises(EncoderError, match=message):
        keep_layers(model, 1, "encoders.image.layers")


def test_the_fingerprint_follows_what_decides_the_features(copy_of_bert: Path) -> None:
    prints = [fingerprint_folder(copy_of_bert)]
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        file = copy_of_bert / name
        file.write_bytes(file.read_bytes() + b" ")
        prints.append(fingerprint_folder(copy_of_bert))

    assert len(set(prints)) == 4


def test_the_fingerprint_ignores_where_the_folder_lies_and_its_notes(
    copy_of_bert: Path, tiny_bert: Path
) -> None:
    (copy_of_bert / "README.md").write_text("notes")

    assert fingerprint_folder(copy_of_bert) == fingerprint_folder(tiny_bert)


def test_the_settings_name_the_checkpoints(tiny_bert: Path, tiny_vit: Path) -> None:
    settings = parse_config(
        {"encoders": {"text": {"name": str(tiny_bert)}, "image": {"name": str(tiny_vit)}}}
    ).encoders

    assert text_checkpoint(settings) == tiny_bert
    assert image_checkpoint(settings) == tiny_vit
    assert image_checkpoint(EncoderSettings()) is None


def test_the_cache_is_the_chosen_folder_then_the_variable_then_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("POSTSENSE_CACHE", "/from/variable")

    assert cache_folder(EncoderSettings(cache=Path("~/mine"))) == tmp_path / "mine"
    assert cache_folder(EncoderSettings()) == Path("/from/variable")
    monkeypatch.delenv("POSTSENSE_CACHE")
    assert cache_folder(EncoderSettings()) == tmp_path / ".cache" / "postsense"
