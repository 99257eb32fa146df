"""A checkpoint is tried when it is opened: what a text or a picture gets depends on it alone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from postsense.config.loading import parse_config
from postsense.data.loading import load_posts
from postsense.encoders import frozen
from postsense.encoders.backbone import TextEncoder, load_image_backbone, load_text_backbone
from postsense.encoders.encode import encode_texts
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.encoders.trials import TextTrial
from postsense.errors import EncoderError
from postsense.prediction.classifier import Classifier
from postsense.runs.training import load_run, train_run
from tiny_checkpoints import LAYERS, save_model, save_processor

SIZES = {**LAYERS, "vocab_size": 64, "max_position_embeddings": 64, "pad_token_id": 0}
FUNNEL = {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "vocab_size": 64}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 64}
ROOTS: dict[str, dict[str, Any]] = {
    "FNet": {**SIZES, "initializer_range": 0.2},
    "Canine": {**SIZES, "num_hash_buckets": 64, "num_hash_functions": 2},
    "Funnel": {**FUNNEL, "block_sizes": [1, 1, 1], "num_decoder_layers": 1},
    "ConvBert": {**SIZES, "embedding_size": 16, "initializer_range": 0.2},
    "Nystromformer": {**SIZES, "initializer_range": 0.2},
    "T5": T5,
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 64},
    "XLNet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "vocab_size": 64},
    "Reformer": {
        **{"hidden_size": 16, "attention_head_size": 8, "feed_forward_size": 32},
        **{"num_attention_heads": 2, "axial_pos_embds": False, "vocab_size": 64},
        **{"attn_layers": ["lsh", "lsh"], "lsh_attn_chunk_length": 4, "is_decoder": False},
    },
    "DPRQuestionEncoder": SIZES,
}
READS_PADDING = ["FNet", "Canine", "Funnel", "ConvBert", "Nystromformer"]


@pytest.fixture
def make_text(tiny_bert: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A tiny checkpoint of some architecture, with tiny_bert's tokenizer."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        kind = name.removesuffix("QuestionEncoder")
        model = name if name != kind else f"{kind}Model"
        save_model(folder, model, getattr(transformers, f"{kind}Config")(**ROOTS[name]))
        for file in tiny_bert.glob("*token*"):
            shutil.copy(file, folder)
        return folder

    return make


def encoder_of(folder: Path, cache: Path, **chosen: Any) -> FrozenTextEncoder:
    text = {"name": str(folder), "max_length": 16, **chosen}
    settings = parse_config({"encoders": {"text": text, "cache": cache}}).encoders
    return FrozenTextEncoder(settings, torch.device("cpu"))


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    mask = torch.tensor([[place < len(row) for place in range(12)] for row in rows])
    ids = torch.tensor([[*row, *[0] * (12 - len(row))] for row in rows])
    return ids, mask


TEXTS = [[2, 7, 8, 3], [2, 9, 3], [2, 5, 3], [], [2, *range(5, 15), 3], [2, 11, 12, 9, 3]]


@pytest.mark.parametrize("name", READS_PADDING)
def test_what_a_text_gets_does_not_depend_on_longer_ones_beside_it(
    make_text: Callable[[str], Path], name: str
) -> None:
    backbone = load_text_backbone(make_text(name), None)
    encoder = TextEncoder(backbone, "mean").eval()

    ids, mask = padded(TEXTS)
    with torch.inference_mode():
        together = encoder(ids, mask)
        for row, text in enumerate(TEXTS):
            length = max(1, len(text))
            alone = encoder(ids[row : row + 1, :length], mask[row : row + 1, :length])
            assert torch.allclose(together.pooled[row], alone.pooled[0], rtol=1e-4, atol=1e-5)
        plain, _ = backbone.read(ids, mask.long())
    assert not backbone.bears_padding
    assert not torch.allclose(plain[0, :4], together.tokens[0, :4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["T5", "GPT2", "XLNet"])
def test_networks_that_leave_out_masked_tokens_read_batches_as_they_come(
    make_text: Callable[[str], Path], name: str
) -> None:
    assert load_text_backbone(make_text(name), None).bears_padding


def test_the_first_texts_of_a_batch_are_still_trained(make_text: Callable[[str], Path]) -> None:
    encoder = TextEncoder(load_text_backbone(make_text("FNet"), None).train(), "mean")
    words: Any = encoder.backbone.model.get_input_embeddings()

    encoder(*padded(TEXTS)).pooled.square().sum().backward()

    assert words.weight.grad[7].norm() > 0 and words.weight.grad[20].norm() == 0


def rows_of(draw: Callable[[str, int], str]) -> list[dict[str, Any]]:
    words = [
        "awful",
        "awful rain again",
        "what a lovely day",
        "bus",
        "rain",
        "lovely day",
        "a",
        "x",
    ]
    return [
        {"id": str(n), "text": text, "image": draw(f"{n}.png", n), "label": "ab"[n % 2]}
        for n, text in enumerate(words)
    ]


@pytest.mark.parametrize("name", ["FNet", "Canine"])
def test_a_saved_model_says_the_same_of_a_post_in_any_company(
    make_text: Callable[[str], Path], tmp_path: Path, draw_picture: Any, name: str
) -> None:
    encoders = {
        "text": {"name": str(make_text(name)), "max_length": 16, "trainable": True},
        "cache": tmp_path / "cache",
    }
    training = {"epochs": 1, "batch_size": 4, "encoder_learning_rate": 0.01}
    config = parse_config(
        {"encoders": encoders, "fusion": {"name": "text_only"}, "training": training}
    )
    posts = load_posts(rows_of(draw_picture))
    train_run(posts, config, tmp_path / "run")
    (classifier,) = load_run(tmp_path / "run")
    assert isinstance(classifier, Classifier)

    together = classifier.predict(posts).probs

    alone = [classifier.predict(posts.take(np.array([row]))).probs[0] for row in range(8)]
    assert np.abs(together - np.stack(alone)).max() < 1e-5


def test_an_encoder_with_a_decoder_that_waits_reads_alone(make_text: Any) -> None:
    folder, ids = make_text("T5"), torch.tensor([[2, 7, 8, 3]])
    model = transformers.T5Model.from_pretrained(folder).encoder.eval()

    with torch.inference_mode():
        found, _ = load_text_backbone(folder, None)(ids, torch.ones_like(ids))
        assert torch.equal(found, model(input_ids=ids).last_hidden_state)


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("GPT2", {"pooling": "cls"}, r"pooling: .* a network with a class token, .*=mean\.$"),
        (
            "Reformer",
            {},
            "name: expected features of a text that depend on it, .* others each time",
        ),
        ("DPRQuestionEncoder", {}, "name: expected a network that reads the tokens of a text"),
    ],
)
def test_a_text_encoder_that_means_nothing_is_refused(
    make_text: Callable[[str], Path], tmp_path: Path, name: str, chosen: Any, message: str
) -> None:
    encoder = encoder_of(make_text(name), tmp_path, **chosen)

    with pytest.raises(EncoderError, match=r"^encoders\.text\." + message) as caught:
        encode_texts(load_posts([{"text": "bus"}]), encoder, with_tokens=False, threads=1)
    assert "\n" not in str(caught.value)


def test_the_class_token_asked_for_has_to_come_from_the_tokenizer(tiny_bert: Path) -> None:
    with pytest.raises(EncoderError, match=r"Set encoders\.text\.pooling=mean\.$"):
        load_text_backbone(tiny_bert, None, 1, lambda: TextTrial("cls", 16, end=(3,)))
    load_text_backbone(tiny_bert, None, 1, lambda: TextTrial("cls", 16, start=(2,), end=(3,)))


@pytest.mark.parametrize(
    ("value", "found"),
    [(float("nan"), "infinite or not a number"), (0.0, "found zeros"), (None, "the same of two")],
)
def test_broken_weights_are_refused(
    tiny_bert: Path, tmp_path: Path, value: float | None, found: str
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if "output.LayerNorm" in name:
            weight.fill_(0.5 if name.endswith("bias") and value is None else value or 0.0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(EncoderError, match=found):
        load_text_backbone(folder, None)


def test_features_kept_by_earlier_versions_do_not_hide_what_is_refused(
    make_text: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exporting: None
) -> None:
    encoder, posts = encoder_of(make_text("GPT2"), tmp_path, pooling="cls"), [{"text": "bus"}]
    monkeypatch.setattr(FrozenTextEncoder, "check", lambda encoder: None)
    monkeypatch.setattr(frozen, "export_session", lambda *_: None)
    monkeypatch.setattr(frozen, "run_session", lambda *_: [np.zeros(1)])
    monkeypatch.setattr("postsense.encoders.backbone.refuse_meaningless_texts", lambda *_: None)
    encode_texts(load_posts(posts), encoder, with_tokens=False, threads=1)
    monkeypatch.undo()

    with pytest.raises(EncoderError, match="a network with a class token"):
        encode_texts(load_posts(posts), encoder, with_tokens=False, threads=1)


def test_a_sound_encoder_is_tried_once(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder_of(tiny_bert, tmp_path).check()

    monkeypatch.setattr(FrozenTextEncoder, "_load", lambda encoder: pytest.fail("tried again"))
    encoder_of(tiny_bert, tmp_path).check()
    FrozenTextEncoder(parse_config({}).encoders, torch.device("cpu")).check()  # nor is the built-in


def image_encoder(folder: Path, cache: Path, **chosen: Any) -> FrozenImageEncoder:
    settings = {"encoders": {"image": {"name": str(folder), **chosen}, "cache": cache}}
    return FrozenImageEncoder(parse_config(settings).encoders, torch.device("cpu"))


def save_pictures(folder: Path, name: str, **settings: Any) -> Path:
    save_model(folder, f"{name}Model", getattr(transformers, f"{name}Config")(**settings))
    save_processor(folder, "ViT", size={"height": 32, "width": 32})
    return folder


SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Swin", {**SWIN, "window_size": 4}),
        ("ConvNext", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}),
        ("SiglipVision", {**LAYERS, "image_size": 32, "patch_size": 16, "vision_use_head": False}),
    ],
)
def test_a_class_token_that_is_not_there_is_refused(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    folder = save_pictures(tmp_path / "pictures", name, **settings)

    load_image_backbone(folder, None, "mean")
    with pytest.raises(EncoderError, match=r"Set encoders\.image\.pooling=mean\.$"):
        load_image_backbone(folder, None, "cls")


def test_a_masked_autoencoder_sees_all_of_a_picture_in_its_order(tmp_path: Path) -> None:
    sizes = {**LAYERS, "image_size": 32, "patch_size": 16}
    folder = save_pictures(tmp_path / "pictures", "ViTMAE", **sizes)
    backbone = load_image_backbone(folder, None, "mean")
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels[1] = pixels[0]
    pixels[1, :, 16:, 16:] += 1  # the last of four patches

    with torch.inference_mode():
        (first, other), (again, _) = backbone(pixels)[0], backbone(pixels)[0]

    assert first.shape == (5, 16) and torch.equal(first, again)
    moved = (first - other).abs().sum(dim=1)[1:]
    assert moved.argmax() == 3 and moved[3] > 10 * moved[:3].max()
    assert "-all-whole-mean-" in image_encoder(folder, tmp_path).key


@pytest.mark.parametrize(("side", "channels"), [(48, 3), (32, 1)])
def test_pictures_that_a_network_does_not_read_are_refused_in_a_line(
    tmp_path: Path, side: int, channels: int
) -> None:
    sizes = {**LAYERS, "image_size": side, "patch_size": 16, "num_channels": channels}
    folder = save_pictures(tmp_path / "pictures", "ViT", **sizes)

    with pytest.raises(EncoderError, match="reads colour pictures of 32 x 32 pixels") as caught:
        load_image_backbone(folder, None, "mean")
    assert "\n" not in str(caught.value)
