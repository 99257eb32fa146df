"""Pixels are those of the checkpoint's own image processor, or it is refused."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from postsense.config.loading import parse_config, parse_kept
from postsense.data.images import PicturePolicy, decode_picture, normalize_pixels
from postsense.data.loading import load_posts
from postsense.encoders import frozen
from postsense.encoders.frozen import FrozenImageEncoder
from postsense.encoders.own_pixels import OwnPixels
from postsense.encoders.processors import picture_policy
from postsense.errors import EncoderError, PictureError
from postsense.runs.training import load_run, train_run
from tiny_checkpoints import HALF, LAYERS, SQUARE_32, save_model, save_processor

SQUARE = {"size": {"height": 32, "width": 32}}
CUT = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}


def bytes_of(width: int, height: int, mode: str = "RGB") -> bytes:
    levels = np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(levels).convert(mode).save(file, "PNG")
    return file.getvalue()


def checkpoint(folder: Path, kind: str, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_processor(folder, kind, **settings)
    return folder


OTHERS = [
    ("ViT", {**SQUARE, "do_rescale": False}),
    ("ViT", {**SQUARE, "do_rescale": False, "do_normalize": False}),
    ("ViT", {"size": {"height": 24, "width": 48}}),
    ("ViT", {**SQUARE, "resample": 4}),
    ("ViT", {**SQUARE, "resample": 5}),
    ("CLIP", {**CUT, "do_rescale": False}),
    ("CLIP", {**CUT, "do_resize": False}),
    ("CLIP", {"size": {"shortest_edge": 24}, "crop_size": {"height": 32, "width": 32}}),
    ("CLIP", {"size": {"shortest_edge": 48}, "crop_size": {"height": 24, "width": 40}}),
    ("DeiT", {"size": {"height": 36, "width": 36}, "crop_size": {"height": 32, "width": 32}}),
    ("Levit", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
    ("MobileViT", CUT),
    ("SuperPoint", {"size": {"height": 24, "width": 32}}),
]
SAME = [
    ("ViT", {**SQUARE, "rescale_factor": 1 / 127.5}),
    ("Beit", {**SQUARE, "do_center_crop": False}),
    ("Bit", CUT),
    ("CLIP", CUT),
    ("ConvNext", {"size": {"shortest_edge": 32}, "crop_pct": 0.8}),
    ("Detr", {**SQUARE, "do_pad": False}),
    ("MobileNetV2", CUT),
    ("Pvt", SQUARE),
    ("Segformer", SQUARE),
    ("Siglip", {**SQUARE, "do_normalize": False}),
]


@pytest.mark.parametrize(("kind", "settings"), [*SAME, *OTHERS])
def test_pixels_are_those_of_the_checkpoints_own_processor(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    from transformers import AutoImageProcessor

    folder = checkpoint(tmp_path / "pictures", kind, **settings)
    policy, processor = picture_policy(folder), AutoImageProcessor.from_pretrained(folder)

    for shape in ((50, 34), (35, 50), (40, 40), (20, 15)):
        data = bytes_of(*shape)
        pixels = normalize_pixels(decode_picture(data, "x", policy), policy)

        own = processor(Image.open(BytesIO(data)), return_tensors="np")
        expected = np.asarray(own["pixel_values"][0])
        assert pixels.shape == expected.shape == (3, *policy.size_px), shape
        assert np.abs(pixels - expected).max() <= 1e-5 * max(1, np.abs(expected).max()), shape


@pytest.mark.parametrize(("kind", "settings"), SAME)
def test_where_our_steps_give_the_same_they_are_taken(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    folder = checkpoint(tmp_path / "pictures", kind, **settings)

    policy = picture_policy(folder)

    assert policy.own is None and policy.key == picture_policy(folder, compared=False).key


@pytest.mark.parametrize(("kind", "settings"), OTHERS)
def test_other_pixels_are_kept_under_another_name(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    folder = checkpoint(tmp_path / "pictures", kind, **settings)
    moved = checkpoint(tmp_path / "moved", kind, **settings)
    changed = checkpoint(tmp_path / "changed", kind, **{**settings, "resample": 0})

    keys = [picture_policy(each).key for each in (folder, moved, changed)]

    assert isinstance(picture_policy(folder).own, OwnPixels)
    assert keys[0] == keys[1] != keys[2] and keys[0] != PicturePolicy().key


@pytest.mark.parametrize(
    ("kind", "settings", "found"),
    [
        ("ViT", {**SQUARE, "do_resize": False}, "whose sizes differ"),
        ("Detr", {"size": {"shortest_edge": 32, "longest_edge": 64}}, "whose sizes differ"),
        ("Vilt", {"size": {"shortest_edge": 32}, "do_rescale": False}, "not those of ViLT"),
        ("Siglip2", {}, "not (3, height, width)"),
        ("Idefics2", {}, "not (3, height, width)"),
        ("VideoMAE", {}, "not (3, height, width)"),
        ("SuperPoint", {"size": {"height": 24, "width": 32}, "do_grayscale": True}, None),
        ("ImageGPT", {}, "Clusters must be provided"),
        ("Pix2Struct", {}, "pixel_values"),
    ],
)
def test_a_processor_that_gives_no_colour_picture_of_one_size_is_refused(
    tmp_path: Path, kind: str, settings: dict[str, Any], found: str | None
) -> None:
    folder = checkpoint(tmp_path / "pictures", kind, **settings)
    if found is None:  # grey levels, three times
        assert picture_policy(folder).size_px == (24, 32)
        return
    with pytest.raises(EncoderError) as caught:
        picture_policy(folder)

    assert caught.value.where == "encoders.image.name" and found in caught.value.found
    assert f"'{folder}' with '{kind}" in caught.value.found and "\n" not in str(caught.value)


def test_one_size_set_as_advised_is_taken(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "pictures", "Detr", size={"shortest_edge": 32})
    with pytest.raises(EncoderError, match="set one size in its preprocessor_config.json"):
        picture_policy(folder)

    checkpoint(folder, "Detr", size={"height": 32, "width": 48})

    assert picture_policy(folder).size_px == (32, 48)


def test_a_picture_of_absurd_length_is_a_bad_row(tmp_path: Path) -> None:
    policy = picture_policy(checkpoint(tmp_path / "pictures", *OTHERS[5][:1], **OTHERS[5][1]))

    with pytest.raises(PictureError, match="at most 64 times the other"):
        decode_picture(bytes_of(650, 10), "long.png", policy)


def save_wide_vit(folder: Path) -> Path:
    from transformers import ViTConfig

    config = ViTConfig(**LAYERS, image_size=(16, 32), patch_size=16)
    save_model(folder, "ViTModel", config, add_pooling_layer=False)
    save_processor(folder, "ViT", **HALF, size={"height": 16, "width": 32}, do_rescale=False)
    return folder


@pytest.mark.parametrize("trainable", [False, True])
def test_pictures_that_are_not_square_are_learned_from(
    tmp_path: Path, draw_picture: Any, monkeypatch: pytest.MonkeyPatch, trainable: bool
) -> None:
    monkeypatch.setattr(frozen, "export_session", lambda *_: 1 / 0)  # torch will do
    image = {"name": str(save_wide_vit(tmp_path / "wide")), "trainable": trainable}
    encoders = {"image": image, "cache": tmp_path / "cache"}
    rows = [
        {"text": "a", "image": draw_picture(f"{n}.png", n), "label": "ab"[n % 2]} for n in range(8)
    ]
    training = {"epochs": 1, "batch_size": 4}
    config = {"encoders": encoders, "fusion": {"name": "image_only"}, "training": training}

    train_run(load_posts(rows), parse_config(config), tmp_path / "run")

    (classifier,) = load_run(tmp_path / "run")
    assert np.isfinite(classifier.predict(load_posts(rows)).probs).all()
    assert classifier.config.encoders.image.pixels == "checkpoint"


def test_models_of_earlier_versions_see_the_pixels_they_know(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "pictures", "ViT", **SQUARE_32, do_rescale=False)
    kept = {"image": {"name": str(folder)}, "cache": str(tmp_path)}
    before = parse_kept({"encoders": kept}).encoders
    (folder / "config.json").write_text("{}")

    encoder = FrozenImageEncoder(before, torch.device("cpu"))

    assert before.image.pixels == "quick" and encoder.policy.own is None
    assert encoder.policy.key == "v1-squash32-bilinear-0.5,0.5,0.5-0.5,0.5,0.5"
    builtin = parse_kept({"encoders": {"image": {"name": "builtin"}}}).encoders
    assert builtin.image.pixels == "checkpoint"
    assert json.loads((folder / "preprocessor_config.json").read_text())["do_rescale"] is False
