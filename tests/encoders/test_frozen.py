"""Frozen encoders give torch's features, alike in any batch, under a key that says how."""

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch

from postsense.config import EncoderSettings
from postsense.config.encoders import Pooling
from postsense.config.loading import parse_config
from postsense.data.images import decode_picture, normalize_pixels
from postsense.encoders import frozen
from postsense.encoders.backbone import load_image_backbone, load_text_backbone
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.errors import EncoderError
from tolerances import rounding

Array = np.ndarray[Any, Any]
pytestmark = pytest.mark.usefixtures("exporting")
CPU = torch.device("cpu")
NEAR = rounding(32, scale=4, steps=6)  # two layers of attention, its projection and an MLP


def settings_of(cache: Path | None = None, **parts: dict[str, Any]) -> EncoderSettings:
    return parse_config({"encoders": {**parts, "cache": cache}}).encoders


def text_encoder(folder: Path, cache: Path | None = None, **chosen: Any) -> FrozenTextEncoder:
    text = {"name": str(folder), "max_length": 16, **chosen}
    return FrozenTextEncoder(settings_of(cache, text=text), CPU)


def image_encoder(folder: Path, cache: Path | None = None, **chosen: Any) -> FrozenImageEncoder:
    return FrozenImageEncoder(settings_of(cache, image={"name": str(folder), **chosen}), CPU)


@pytest.fixture
def always_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the exported network even where this machine measures torch to be faster."""
    monkeypatch.setattr(frozen, "_remembered", lambda choice: "onnxruntime")


@pytest.fixture
def never_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*inputs: Any) -> None:
        raise torch.onnx.errors.OnnxExporterError("no such operator\nmore lines")

    monkeypatch.setattr(frozen, "export_session", refuse)


def cosines(found: Sequence[Array], expected: Sequence[Array]) -> Array:
    a, b = np.stack(found).astype(np.float64), np.stack(expected).astype(np.float64)
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


TEXTS = [
    "what a lovely day for our picnic",
    "Ugh. Locked in the office while it is sunny :(",
    "bus line 7 stops at the harbor from next month",
    "😂 #nofilter https://t.co/abc",
]


def test_the_builtin_text_encoder_gives_the_features_of_torch(always_exported: None) -> None:
    encoder = FrozenTextEncoder(EncoderSettings(), CPU)
    backbone = load_text_backbone(encoder.folder, None)

    for ids in encoder.tokenizer(TEXTS):
        (found,) = encoder.encode([ids])
        with torch.inference_mode():
            tokens, _ = backbone(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))
        assert found.tokens is not None
        assert cosines([found.pooled], [tokens[0].mean(dim=0).numpy()])[0] >= 0.999
        assert cosines(list(found.tokens), list(tokens[0].numpy())).min() >= 0.999


def test_the_builtin_picture_encoder_gives_the_features_of_torch(always_exported: None) -> None:
    encoder = FrozenImageEncoder(EncoderSettings(), CPU)
    backbone = load_image_backbone(None, None, "mean")
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 3, 224, 224)).astype(np.float32)

    found = encoder.encode(list(pixels))

    with torch.inference_mode():
        regions, pooled = backbone(torch.from_numpy(pixels))
    assert cosines([item.pooled for item in found], list(pooled.numpy())).min() >= 0.999
    assert found[1].tokens is not None
    assert cosines(list(found[1].tokens), list(regions[1].numpy())).min() >= 0.999


def test_a_text_gets_the_same_bits_whatever_batch_it_is_in(always_exported: None) -> None:
    encoder = FrozenTextEncoder(EncoderSettings(), CPU)
    ids = encoder.tokenizer([f"what a lovely day number {number}" for number in range(9)])

    whole = encoder.encode(ids)

    for size in (1, 2, 4, 7):
        parts = [item for at in range(0, 9, size) for item in encoder.encode(ids[at : at + size])]
        for one, other in zip(whole, parts, strict=True):
            assert one.tokens is not None and other.tokens is not None
            assert np.array_equal(one.pooled, other.pooled)
            assert np.array_equal(one.tokens, other.tokens)


def test_similar_builtin_texts_are_closer_than_others() -> None:
    encoder = FrozenTextEncoder(EncoderSettings(), CPU)
    sunny, bright, taxes = (
        encoder.encode([ids])[0].pooled
        for ids in encoder.tokenizer(["It is sunny", "The sun shines", "I filed my taxes"])
    )

    assert cosines([sunny], [bright])[0] > cosines([sunny], [taxes])[0] + 0.3


def test_the_text_of_a_dual_model_gives_the_models_own_features(
    tiny_clip: Path, always_exported: None
) -> None:
    from transformers import CLIPModel

    encoder = text_encoder(tiny_clip, pooling="cls")
    ids = encoder.tokenizer(["awful rain again", "what a day"])

    found = encoder.encode(ids)

    with torch.inference_mode():
        model = CLIPModel.from_pretrained(tiny_clip).eval().text_model
        expected = model(input_ids=torch.tensor(ids))
    for number in range(2):
        assert np.abs(found[number].pooled - expected.pooler_output[number].numpy()).max() < NEAR
        assert found[number].tokens is not None
        states = expected.last_hidden_state[number].numpy()
        assert np.abs(found[number].tokens - states).max() < NEAR


def test_siglip_is_exported_as_torch_reads_it(tiny_siglip: Path, always_exported: None) -> None:
    text, image = (
        text_encoder(tiny_siglip, pooling="cls"),
        image_encoder(tiny_siglip, pooling="cls"),
    )
    pixels = np.random.default_rng(0).normal(size=(3, 32, 32)).astype(np.float32)
    ids = text.tokenizer(["awful rain", "what a lovely day"])

    found = [*(text.encode([row])[0].pooled for row in ids), image.encode([pixels])[0].pooled]

    with torch.inference_mode():
        texts = [text._load()(torch.tensor([row]), torch.ones(1, len(row))) for row in ids]
        picture = image._load()(torch.from_numpy(pixels)[None])
    expected = [cls[0].numpy() for _, cls in (*texts, picture)]
    assert np.abs(np.stack(found) - np.stack(expected)).max() < NEAR
    assert "-filled-" in text.key and "-head-" in image.key


@pytest.mark.parametrize("name", ["tiny_clip", "tiny_vit", "tiny_resnet"])
def test_a_vision_model_gives_the_features_of_torch(
    request: pytest.FixtureRequest, always_exported: None, name: str
) -> None:
    folder = request.getfixturevalue(name)
    encoder = image_encoder(folder)
    pixels = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)

    found = encoder.encode(list(pixels))

    with torch.inference_mode():
        regions, _ = load_image_backbone(folder, None, "mean")(torch.from_numpy(pixels))
    for number in range(3):
        tokens = found[number].tokens
        assert tokens is not None
        assert np.abs(tokens - regions[number].numpy()).max() < NEAR
        mean = tokens.mean(axis=0)
        assert np.abs(found[number].pooled - mean).max() < rounding(len(tokens), scale=8)


def naive_pooling(tokens: Array, pooling: Pooling) -> Array:
    return {"mean": tokens.mean(axis=0), "max": tokens.max(axis=0), "cls": tokens[0]}[pooling]


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_states_are_pooled_as_asked(
    tiny_bert: Path, tmp_path: Path, never_exported: None, pooling: Pooling
) -> None:
    encoder = text_encoder(tiny_bert, tmp_path, pooling=pooling)

    (item,) = encoder.encode(encoder.tokenizer(["awful rain again"]))

    assert item.tokens is not None
    assert item.pooled == pytest.approx(
        naive_pooling(item.tokens, pooling), abs=rounding(len(item.tokens), scale=4)
    )


def test_pictures_are_prepared_under_the_checkpoints_policy(tiny_vit: Path, post_rows: Any) -> None:
    data, encoder = Path(post_rows[0]["image"]).read_bytes(), image_encoder(tiny_vit)

    pixels = encoder.prepare(data, "x")

    assert np.array_equal(
        pixels, normalize_pixels(decode_picture(data, "x", encoder.policy), encoder.policy)
    )
    assert encoder.policy.std == (0.25, 0.25, 0.25)


def torch_features(folder: Path, ids: list[list[int]]) -> Array:
    with torch.inference_mode():
        inputs = torch.tensor(ids)
        tokens, _ = load_text_backbone(folder, None)(inputs, torch.ones_like(inputs))
    return tokens.numpy()


IDS = [[2, 4, 5, 3], [2, 6, 7, 3]]


def choice_of(cache: Path) -> str:
    (file,) = (cache / "onnx").glob("*.json")
    return str(json.loads(file.read_text())["runtime"])


def test_an_export_that_gives_other_results_stays_in_torch(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def slightly_wrong(session: None, inputs: Sequence[Array]) -> list[Array]:
        tokens = torch_features(tiny_bert, inputs[0].tolist())
        return [1.002 * tokens, tokens[:, 0]]

    monkeypatch.setattr(frozen, "export_session", lambda *inputs: None)
    monkeypatch.setattr(frozen, "run_session", slightly_wrong)
    monkeypatch.setattr(frozen, "_seconds", lambda *_: 0.0)

    found = text_encoder(tiny_bert, tmp_path).encode(IDS)

    tokens = torch_features(tiny_bert, IDS)
    assert np.abs(np.stack([item.tokens for item in found]) - tokens).max() < NEAR
    assert choice_of(tmp_path) == "torch"
    assert "stays in torch: its export gives other results" in caplog.text


def test_an_export_that_gives_nan_stays_in_torch(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = np.full((1, 4, 16), np.nan, dtype=np.float32)
    monkeypatch.setattr(frozen, "export_session", lambda *inputs: None)
    monkeypatch.setattr(frozen, "run_session", lambda *_: [broken, broken[:, 0]])

    found = text_encoder(tiny_bert, tmp_path).encode(IDS)

    assert choice_of(tmp_path) == "torch"
    assert all(np.isfinite(item.pooled).all() for item in found)


def test_a_network_that_cannot_be_exported_stays_in_torch_and_is_not_tried_again(
    tiny_bert: Path, tmp_path: Path, never_exported: None, monkeypatch: Any, caplog: Any
) -> None:
    found = text_encoder(tiny_bert, tmp_path).encode(IDS)
    monkeypatch.setattr(frozen, "export_session", lambda *_: pytest.fail("tried again"))
    again = text_encoder(tiny_bert, tmp_path).encode(IDS)

    assert choice_of(tmp_path) == "torch"
    assert "stays in torch: no such operator" in caplog.text
    assert np.array_equal(found[0].pooled, again[0].pooled)


@pytest.mark.parametrize(("exported", "plain", "choice"), [(1, 2, "onnxruntime"), (2, 1, "torch")])
def test_the_faster_runtime_is_measured_once_and_remembered(
    tiny_bert: Path, tmp_path: Path, monkeypatch: Any, exported: int, plain: int, choice: str
) -> None:
    seconds, runs = iter([exported, plain]), list[int]()

    def run_session(session: None, inputs: Sequence[Array]) -> list[Array]:
        runs.append(len(inputs[0]))
        tokens = torch_features(tiny_bert, inputs[0].tolist())
        return [tokens, tokens[:, 0]]

    monkeypatch.setattr(frozen, "export_session", lambda *inputs: None)
    monkeypatch.setattr(frozen, "run_session", run_session)
    monkeypatch.setattr(frozen, "_seconds", lambda *_: next(seconds))
    for _ in range(2):
        text_encoder(tiny_bert, tmp_path).encode(IDS)

    assert choice_of(tmp_path) == choice
    assert runs == ([1, 2, 2] if choice == "onnxruntime" else [1])


def test_threads_that_share_an_encoder_load_it_once(
    tiny_bert: Path, tmp_path: Path, never_exported: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, load = list[Path](), frozen.load_text_backbone

    def slowly(folder: Path, *layers: Any) -> Any:
        loads.append(folder)
        sleep(0.05)
        return load(folder, *layers)

    monkeypatch.setattr(frozen, "load_text_backbone", slowly)
    encoder = text_encoder(tiny_bert, tmp_path)
    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(lambda ids: encoder.encode([ids])[0], IDS * 4))

    assert len(loads) == 1
    assert np.array_equal(found[0].pooled, found[2].pooled)


def test_frozen_networks_do_not_train(
    tiny_bert: Path, tmp_path: Path, never_exported: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_text_backbone(tiny_bert, None).train()
    monkeypatch.setattr(frozen, "load_text_backbone", lambda *_: loaded)

    text_encoder(tiny_bert, tmp_path).encode(IDS)

    assert not any(weight.requires_grad for weight in loaded.parameters())
    assert not any(module.training for module in loaded.modules())


def test_the_text_key_names_all_that_decides_the_features(tiny_bert: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_bert, tmp_path / "other")
    load_text_backbone(tiny_bert, None, pretrained=False).model.save_pretrained(other)

    keys = [
        text_encoder(tiny_bert).key,
        text_encoder(other).key,
        text_encoder(tiny_bert, pooling="max").key,
        text_encoder(tiny_bert, pooling="cls").key,
        text_encoder(tiny_bert, max_length=17).key,
        text_encoder(tiny_bert, normalize="tweet").key,
        text_encoder(tiny_bert, layers=1).key,
        FrozenTextEncoder(EncoderSettings(), CPU).key,
    ]

    assert len(set(keys)) == len(keys)


def test_the_picture_key_names_all_that_decides_the_features(
    tiny_vit: Path, tmp_path: Path
) -> None:
    weights, policy = (shutil.copytree(tiny_vit, tmp_path / name) for name in ("a", "b"))
    load_image_backbone(tiny_vit, None, "mean", pretrained=False).model.save_pretrained(weights)
    processor = json.loads((policy / "preprocessor_config.json").read_text())
    (policy / "preprocessor_config.json").write_text(json.dumps({**processor, "resample": 3}))

    keys = [
        image_encoder(tiny_vit).key,
        image_encoder(weights).key,
        image_encoder(policy).key,
        image_encoder(tiny_vit, pooling="cls").key,
        image_encoder(tiny_vit, layers=1).key,
        FrozenImageEncoder(EncoderSettings(), CPU).key,
    ]

    assert len(set(keys)) == len(keys)


def test_the_builtin_picture_key_follows_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FrozenImageEncoder(EncoderSettings(), CPU).key

    monkeypatch.setattr("postsense.data.images.POLICY_VERSION", 2)

    assert FrozenImageEncoder(EncoderSettings(), CPU).key != before


def test_the_key_ignores_where_things_lie(tiny_bert: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_bert, tmp_path / "moved")

    assert text_encoder(moved, tmp_path / "cache").key == text_encoder(tiny_bert).key


def test_swapped_encoders_are_refused(tiny_bert: Path, tiny_vit: Path) -> None:
    with pytest.raises(EncoderError, match=r"^encoders\.text\.name: expected a checkpoint with a"):
        _ = text_encoder(tiny_vit).tokenizer
    with pytest.raises(EncoderError, match=r"^encoders\.image\.name: expected a checkpoint with p"):
        image_encoder(tiny_bert)
