"""Tokenizers and picture policies do what their checkpoints ask for."""

import json
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from postsense.data.images import decode_picture, normalize_pixels
from postsense.encoders.builtin import text_folder
from postsense.encoders.processors import load_tokenizer, picture_policy
from postsense.errors import EncoderError
from tiny_checkpoints import LAYERS


def test_texts_become_ids_with_special_tokens(tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(tiny_bert, 16)
    vocabulary = tokenizer.tokenizer.get_vocab()

    ids = tokenizer(["awful rain", "xyz"])

    assert ids == [[2, vocabulary["awful"], vocabulary["rain"], 3], [2, 1, 3]]
    assert tokenizer.pad_id == 0


def test_long_texts_are_cut_and_keep_their_last_special_token(tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(tiny_bert, 5)

    ids = tokenizer(["awful rain again what a lovely day"])

    assert ids == [[*load_tokenizer(tiny_bert, 16)(["awful rain again"])[0]]]


def test_no_texts_give_no_ids(tiny_bert: Path) -> None:
    assert load_tokenizer(tiny_bert, 16)([]) == []


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        ("tiny_bert", 64),
        ("tiny_clip", 24),
        ("tiny_siglip", 24),
        ("tiny_mpnet", 62),
        ("tiny_roberta", 62),
        ("tiny_xlm_roberta", 64),
        ("tiny_vilt", 20),
        ("tiny_lxmert", 48),
    ],
)
def test_more_tokens_than_the_model_reads_are_refused(
    request: pytest.FixtureRequest, name: str, longest: int
) -> None:
    folder = request.getfixturevalue(name)

    load_tokenizer(folder, longest)
    message = (
        f"encoders.text.max_length: expected at most {longest} tokens, which the model reads, "
        f"found {longest + 1}. Set encoders.text.max_length={longest}."
    )
    with pytest.raises(EncoderError, match=re.escape(message)):
        load_tokenizer(folder, longest + 1)


OFFSET = [
    "Camembert",
    "Data2VecText",
    "IBert",
    "Longformer",
    "Luke",
    "MPNet",
    "Roberta",
    "RobertaPreLayerNorm",
    "XLMRoberta",
    "XLMRobertaXL",
    "Xmod",
]
SETTINGS: dict[str, dict[str, Any]] = {
    "Longformer": {"attention_window": [4, 4]},
    "Luke": {"entity_vocab_size": 5},
    "Xmod": {"default_language": "en_XX"},
}


@pytest.mark.parametrize("family", OFFSET)
def test_models_that_count_places_from_padding_on_read_fewer_tokens(
    tiny_bert: Path, tmp_path: Path, family: str
) -> None:
    import transformers

    folder = shutil.copytree(tiny_bert, tmp_path / "checkpoint")
    sizes = {**LAYERS, "vocab_size": 20, "max_position_embeddings": 34, "pad_token_id": 1}
    config = getattr(transformers, f"{family}Config")(**sizes, **SETTINGS.get(family, {}))
    config.save_pretrained(folder)
    model, ids = getattr(transformers, f"{family}Model")(config).eval(), torch.full((1, 33), 5)

    load_tokenizer(folder, 32)
    assert model(input_ids=ids[:, :32]).last_hidden_state.isfinite().all()
    with pytest.raises(EncoderError, match="at most 32 tokens"):
        load_tokenizer(folder, 33)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=ids)


def test_a_text_checkpoint_without_its_tokenizer_is_refused(
    tiny_bert: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_bert / name, tmp_path)

    with pytest.raises(EncoderError, match="expected a checkpoint with its tokenizer, found") as e:
        load_tokenizer(tmp_path, 16)
    assert "of BertModel without one" in str(e.value) and "AutoTokenizer" in str(e.value)


def test_a_picture_checkpoint_is_refused_as_text_encoder_in_one_line(tiny_vit: Path) -> None:
    with pytest.raises(EncoderError) as caught:
        load_tokenizer(tiny_vit, 16)

    error = caught.value
    assert error.where == "encoders.text.name" and error.expected == "a checkpoint with a tokenizer"
    assert error.found.startswith(f"'{tiny_vit}' of ViTModel: ")
    assert "swap encoders.text and encoders.image" in error.fix and "\n" not in str(error)


@pytest.mark.parametrize("config", ["as saved", "without names", "broken", "absent"])
def test_a_text_checkpoint_is_refused_as_picture_encoder_in_one_line(
    tiny_bert: Path, tmp_path: Path, config: str
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "checkpoint")
    changed = {"without names": '{"model_type": "bert"}', "broken": "{"}
    (folder / "config.json").write_text(changed.get(config, (folder / "config.json").read_text()))
    if config == "absent":
        (folder / "config.json").unlink()

    with pytest.raises(EncoderError) as caught:
        picture_policy(folder)

    error, named = caught.value, " of BertModel" if config == "as saved" else ""
    assert error.where == "encoders.image.name" and "preprocessor_config.json" in error.expected
    assert error.found.startswith(f"'{folder}'{named}: ")
    assert "swap encoders.text and encoders.image" in error.fix and "\n" not in str(error)


def smooth_picture(width: int, height: int) -> Image.Image:
    """Colours that change slowly, so that resizing rounds but does not invent."""
    x, y = np.meshgrid(np.linspace(0, 3, width), np.linspace(0, 3, height))
    colours = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=-1)
    return Image.fromarray((127 + 100 * colours).astype(np.uint8))


@pytest.mark.parametrize(
    "settings",
    [
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}},
        {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 32, "width": 32},
            "resample": 0,
        },
        {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 32, "width": 32},
            "do_normalize": False,
        },
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 40},
            "crop_size": {"height": 32, "width": 32},
        },
        {"image_processor_type": "CLIPImageProcessor", "size": 32, "crop_size": 32},
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}},
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
        {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}},
        {"image_processor_type": "BeitImageProcessor", "size": 32, "do_center_crop": False},
        {"image_processor_type": "EfficientNetImageProcessor", "size": 32, "resample": 0},
        {"image_processor_type": "EfficientNetImageProcessor", "size": 32, "include_top": False},
        {
            "image_processor_type": "EfficientNetImageProcessor",
            "size": 32,
            "rescale_factor": 1 / 127.5,
            "rescale_offset": True,
        },
        {"image_processor_type": "EfficientNetImageProcessor", "size": 32, "do_normalize": False},
    ],
)
@pytest.mark.parametrize("shape", [(60, 44), (48, 64)])
def test_pictures_become_the_pixels_of_the_checkpoints_own_processor(
    tmp_path: Path, settings: dict[str, Any], shape: tuple[int, int]
) -> None:
    from transformers import AutoImageProcessor

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    picture, policy, file = smooth_picture(*shape), picture_policy(tmp_path), BytesIO()
    picture.save(file, "PNG")

    pixels = normalize_pixels(decode_picture(file.getvalue(), "x", policy), policy)

    expected = AutoImageProcessor.from_pretrained(tmp_path)(picture, return_tensors="np")
    assert np.abs(pixels - expected["pixel_values"][0]).max() < 2.1 / 255 / min(policy.std)


@pytest.mark.parametrize("name", ["tiny_vilt", "tiny_deit"])
def test_a_square_picture_becomes_what_the_checkpoints_own_processor_makes_of_it(
    request: pytest.FixtureRequest, name: str
) -> None:
    from transformers import AutoImageProcessor

    folder, picture, file = request.getfixturevalue(name), smooth_picture(60, 60), BytesIO()
    policy = picture_policy(folder)
    picture.save(file, "PNG")

    pixels = normalize_pixels(decode_picture(file.getvalue(), "x", policy), policy)

    expected = AutoImageProcessor.from_pretrained(folder)(picture, return_tensors="np")
    assert np.abs(pixels - expected["pixel_values"][0]).max() < 2.1 / 255 / min(policy.std)


def test_of_a_long_picture_vilt_sees_the_square_in_the_middle(tiny_vilt: Path) -> None:
    pixels = np.zeros((64, 192, 3), dtype=np.uint8)
    pixels[:, 64:128] = 255
    policy, file = picture_policy(tiny_vilt), BytesIO()
    Image.fromarray(pixels).save(file, "PNG")

    seen = decode_picture(file.getvalue(), "x", policy)

    assert policy.crop_px == 32 and (seen[:, 4:-4] == 255).all()


def test_the_builtin_tokenizer_lowers_case_and_ends_its_texts() -> None:
    tokenizer = load_tokenizer(text_folder(), 8)

    (upper,), (lower,) = tokenizer(["What A DAY"]), tokenizer(["what a day"])

    words = tokenizer.tokenizer.convert_ids_to_tokens(upper)
    assert upper == lower
    assert words == ["[CLS]", "what", "a", "day", "[SEP]"]
