"""Tokenizers and picture policies do what their checkpoints ask for."""

import json
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.data.images import decode_picture, normalize_pixels
from postsense.encoders.builtin import text_folder
from postsense.encoders.processors import load_tokenizer, picture_policy
from postsense.errors import EncoderError


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


@pytest.mark.parametrize(("name", "longest"), [("tiny_bert", 64), ("tiny_clip", 24)])
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


def test_a_roberta_reads_fewer_tokens_than_it_has_positions(
    tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "roberta")
    config = {"model_type": "roberta", "max_position_embeddings": 34, "pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config))

    load_tokenizer(folder, 32)
    with pytest.raises(EncoderError, match="at most 32 tokens"):
        load_tokenizer(folder, 33)


def test_a_checkpoint_without_a_tokenizer_is_refused_in_one_line(tiny_vit: Path) -> None:
    with pytest.raises(EncoderError, match="expected a checkpoint with a tokenizer") as caught:
        load_tokenizer(tiny_vit, 16)

    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_a_picture_policy_is_refused_in_one_line(tiny_bert: Path) -> None:
    with pytest.raises(
        EncoderError, match=r"a checkpoint with preprocessor_config\.json"
    ) as caught:
        picture_policy(tiny_bert)

    assert "\n" not in str(caught.value)


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


def test_the_builtin_tokenizer_lowers_case_and_ends_its_texts() -> None:
    tokenizer = load_tokenizer(text_folder(), 8)

    (upper,), (lower,) = tokenizer(["What A DAY"]), tokenizer(["what a day"])

    words = tokenizer.tokenizer.convert_ids_to_tokens(upper)
    assert upper == lower
    assert words == ["[CLS]", "what", "a", "day", "[SEP]"]
