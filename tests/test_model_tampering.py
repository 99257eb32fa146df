"""Model folders from a stranger: the same answer or one line, with all checksums made to fit."""

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from postsense.data.loading import load_posts
from postsense.errors import ModelError, PostsenseError
from postsense.posts import Posts
from postsense.saving.description import digest_of
from postsense.saving.files import file_hashes, own_keys, sha256
from postsense.saving.folder import load_model, save_model

FIXTURES = Path(__file__).parent / "fixtures"
KINDS = ("frozen", "trained")
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**9, 10**400, 1e308, float("nan"), 1.5, "", "x", "\ud800", "../../x"),
    *("/etc", "\\\\host\\x", "org/model", "regions", [], {}, [[]], {"a": 1}, ["x", "x"], "1e9"),
)


def old(kind: str) -> tuple[Path, Posts, np.ndarray]:
    """A model that was saved before descriptions were sealed, posts and what it said of them."""
    said = json.loads((FIXTURES / f"model-of-format-1-{kind}.json").read_text())
    folder = FIXTURES / f"model-of-format-1-{kind}"
    return folder, load_posts(said["posts"]), np.array(said["probs"], np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_before_answers_as_it_did(kind: str) -> None:
    folder, posts, probs = old(kind)
    np.testing.assert_allclose(load_model(folder).predict(posts).probs, probs, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_before_saved_anew_answers_the_same(kind: str, tmp_path: Path) -> None:
    folder, posts, _ = old(kind)
    before = load_model(folder)
    save_model(before, tmp_path / "model")
    again = load_model(tmp_path / "model").predict(posts)
    assert np.array_equal(again.probs, before.predict(posts).probs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with a text encoder inside."""
    save_model(load_model(FIXTURES / "model-of-format-1-trained"), tmp_path / "model")
    return tmp_path / "model"


def sealed(folder: Path, **values: Any) -> Path:
    """The folder, its checksums made to fit what is in it now."""
    file = folder / "model.json"
    description = {**json.loads(file.read_text()), **values}
    description |= {"files": file_hashes(folder), "own": own_keys(folder)}
    description["weights_sha256"] = sha256(folder / "weights.safetensors")
    file.write_text(json.dumps({**description, "sha256": digest_of(description)}))
    return folder


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 3000


def is_refused(folder: Path) -> bool:
    """Whether a model is refused in one line that says what was expected."""
    try:
        load_model(folder)
    except ModelError as error:
        line = str(error)
        return "expected" in line and "\n" not in line and len(line) < 3000
    return False


def with_setting(folder: Path, name: str, **changes: Any) -> Path:
    """The folder with other values in a configuration of its encoder."""
    file = folder / "text_encoder" / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return sealed(folder)


NO_MODEL_HAS: dict[str, tuple[Any, ...]] = {
    "classes": (
        *(["a", "a", "b"], ["a", "", "b"], ["a", 1, "b"], ["a", None, "b"], ["a", "b"]),
        *(["a", "b", "c", "d"], [], "abc", {"a": 1}),
    ),
    "clusters": (3, 10**9, True),
    "text_dim": (10**9, 1.5, -1, "16", []),
    "image_dim": ("x",),
    "frozen": ([],),
    "own": (None,),
    "config": ([], {"fusion": {"hidden": 10**9}}),
    "format": (1.0, True, None, [1]),
}


def test_a_description_that_no_model_has_is_refused(folder: Path) -> None:
    description = json.loads((folder / "model.json").read_text())
    taken = []
    for key, value in ((key, value) for key, values in NO_MODEL_HAS.items() for value in values):
        changed = description | {key: value}
        sealed_json = json.dumps({**changed, "sha256": digest_of(changed)})
        (folder / "model.json").write_text(sealed_json)
        if not is_refused(folder):
            taken.append(f"{key}: {value!r}")
    assert taken == []


def test_a_description_that_is_damaged_anywhere_is_refused(folder: Path) -> None:
    file = folder / "model.json"
    file.write_text(file.read_text().replace('"positive"', '"negativ"'))
    refused(folder, "model.json: expected SHA-256 .* The file is damaged")


@pytest.mark.parametrize("text", ['{"format": 1, "format": 1}', "[" * 10**5, '{"a": NaN}'])
def test_json_that_readers_disagree_on_is_refused(folder: Path, text: str) -> None:
    (folder / "model.json").write_text(text)
    refused(folder, "model.json: expected JSON in UTF-8")


def test_a_description_without_end_is_not_read(folder: Path) -> None:
    with (folder / "model.json").open("wb") as file:
        file.truncate(2**40)
    refused(folder, "found one of 1099511627776 bytes")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights["text.mean"][3] = value
    save_file(weights, folder / "weights.safetensors")
    refused(sealed(folder), "expected weights that are finite numbers, found others in 'text.mean'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: {**weights, "text.deviation": -weights["text.deviation"]}, "above 0"),
        (lambda weights: {**weights, "extra": torch.zeros(1)}, "'extra': F32 of shape"),
        (lambda weights: {**weights, "text.mean": weights["text.mean"].half()}, "F16 of shape"),
        (
            lambda weights: {k: v for k, v in weights.items() if k != "text.mean"},
            "'text.mean': none",
        ),
    ],
)
def test_weights_that_are_not_of_the_model_are_refused(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], Any], message: str
) -> None:
    weights = load_file(folder / "weights.safetensors")
    save_file(change(weights), folder / "weights.safetensors")
    refused(sealed(folder), message)


def test_finite_weights_whose_answers_are_not_are_one_line(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights["head.1.bias"][:] = 3e38
    weights["head.1.weight"][:] = 3e38
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(ModelError, match="expected finite numbers, found others for"):
        load_model(sealed(folder)).predict(old("trained")[1])


MORE_THAN_THE_WEIGHTS: tuple[dict[str, Any], ...] = (
    *({"num_hidden_layers": 10**6}, {"num_hidden_layers": 10**8}, {"num_attention_heads": 0}),
    *({"hidden_size": 10**9}, {"hidden_size": 2**20}, {"intermediate_size": "x"}),
    *({"vocab_size": 10**9}, {"max_position_embeddings": 2**20}, {"num_labels": 10**9}),
    *({"hidden_act": "none"}, {"return_dict": False}, {"chunk_size_feed_forward": 7}),
    *({"model_type": "distilbert"}, {"model_type": "none"}),
)


def test_a_configuration_that_asks_for_more_than_the_weights_is_refused(folder: Path) -> None:
    whole = (folder / "text_encoder" / "config.json").read_text()
    taken = []
    for changes in MORE_THAN_THE_WEIGHTS:
        (folder / "text_encoder" / "config.json").write_text(whole)
        if not is_refused(with_setting(folder, "config.json", **changes)):
            taken.append(changes)
    assert taken == []


def test_a_tokenizer_that_knows_more_words_than_the_encoder_is_refused(folder: Path) -> None:
    file = folder / "text_encoder" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["vocab"]["awful"] = 999
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match="expected a tokenizer of the 13 tokens.* gives token 999"):
        load_model(sealed(folder)).predict(old("trained")[1])


def test_a_header_of_any_length_is_not_read(folder: Path) -> None:
    file = folder / "weights.safetensors"
    file.write_bytes((2**40).to_bytes(8, "little") + file.read_bytes()[8:])
    refused(sealed(folder), "found a header of 1099511627776 bytes")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "text_encoder/config.json"])
def test_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path: Path, name: str) -> None:
    moved = (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(moved)
    refused(folder, f"expected a file in the model folder, found a link to '{moved}'")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "text_encoder/config.json"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_folder_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, "expected")


def test_files_that_no_model_reads_are_left_alone(folder: Path) -> None:
    _, posts, probs = old("trained")
    for name in ("notes.txt", "evil.py", "text_encoder/modeling.py"):
        (folder / name).write_text("raise SystemExit")
    np.testing.assert_allclose(load_model(folder).predict(posts).probs, probs, atol=2e-5)


@pytest.mark.parametrize("name", ["added_tokens.json", "special_tokens_map.json", "vocab.txt"])
def test_a_file_that_is_added_to_a_tokenizer_is_refused(folder: Path, name: str) -> None:
    (folder / "text_encoder" / name).write_text("{}")
    refused(folder, "The files are damaged")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in nested JSON."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = with_value(value[path[0]], path[1:], new)
    return changed


def flipped(folder: Path, draw: random.Random) -> None:
    file = draw.choice([file for file in sorted(folder.rglob("*")) if file.is_file()])
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def cut(folder: Path, draw: random.Random) -> None:
    file = draw.choice([file for file in sorted(folder.rglob("*")) if file.is_file()])
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


def changed(folder: Path, draw: random.Random) -> None:
    file = draw.choice([folder / "model.json", *sorted(folder.glob("*/*.json"))])
    value = json.loads(file.read_text())
    path = draw.choice(list(places(value)))
    file.write_text(json.dumps(with_value(value, path, draw.choice(VALUES))))


@pytest.mark.parametrize("change", [flipped, cut, changed])
@pytest.mark.parametrize("sealing", [False, True], ids=["as it is", "sealed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_was_tampered_with_answers_the_same_or_in_one_line(
    tmp_path: Path, kind: str, change: Callable[[Path, random.Random], None], sealing: bool
) -> None:
    source, posts, _ = old(kind)
    save_model(load_model(source), tmp_path / "whole")
    expected, draw = load_model(tmp_path / "whole").predict(posts), random.Random(0)
    for _ in range(8):
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder)
        change(folder, draw)
        try:
            if sealing:
                sealed(folder)
        except (OSError, ValueError, TypeError, PostsenseError):
            continue  # nothing is left to be sealed
        try:
            found = load_model(folder).predict(posts)
        except PostsenseError as error:
            assert "\n" not in str(error)
            continue
        same = found.classes == expected.classes and np.array_equal(found.probs, expected.probs)
        assert same or sealing, "another answer, without a word"
