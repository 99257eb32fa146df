"""Pictures cut short: refused, or used as far as they are there; what lacks is grey."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.data.images import PicturePolicy, decode_picture, identity_of
from postsense.errors import PictureError

REFUSE = PicturePolicy(resize_px=64, crop_px=64, resample="nearest")
USE = replace(REFUSE, truncated="use")
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
KINDS = [
    ("JPEG", "RGB", {"quality": 95}),
    ("JPEG", "CMYK", {"quality": 95}),
    ("PNG", "RGB", {}),
    ("PNG", "L", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "I;16", {}),
    ("PNG", "P", {}),
    ("GIF", "P", {"interlace": 0}),
    ("BMP", "RGB", {}),
]


def encode(format: str, mode: str = "RGB", **options: Any) -> bytes:
    file, image = BytesIO(), Image.fromarray(NOISE)
    if mode == "I;16":
        image = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    elif mode == "P":
        image = image.quantize(200)
    (image if mode in ("I;16", "P") else image.convert(mode)).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(("format", "mode", "options"), KINDS)
def test_what_is_there_is_decoded_and_the_rest_is_grey(
    format: str, mode: str, options: dict[str, Any]
) -> None:
    whole = encode(format, mode, **options)
    cut = whole[: len(whole) * 6 // 10]
    with pytest.raises(PictureError, match="expected a whole picture"):
        decode_picture(cut, "a", REFUSE)
    pixels = decode_picture(cut, "a", USE).astype(int)
    expected = decode_picture(whole, "a", REFUSE).astype(int)
    if format == "BMP":  # stored from the bottom up
        pixels, expected = pixels[::-1], expected[::-1]
    assert (pixels[:24] == expected[:24]).all()
    if mode == "P":  # the color of the palette that is nearest to grey
        assert (pixels[-8:] == pixels[-1, -1]).all()
    else:
        assert np.abs(pixels[-8:] - (64 if mode == "CMYK" else 128)).max() <= 2


def test_all_of_a_progressive_picture_is_there_though_less_sharp() -> None:
    whole = encode("JPEG", progressive=True)
    pixels = decode_picture(whole[: len(whole) // 2], "a", USE).astype(int)
    difference = np.abs(pixels - decode_picture(whole, "a", REFUSE))
    assert 3 < difference.mean() < 60


@pytest.mark.parametrize(("format", "mode", "options"), KINDS)
def test_whole_pictures_are_the_same_under_both_settings(
    format: str, mode: str, options: dict[str, Any]
) -> None:
    whole = encode(format, mode, **options)
    assert (decode_picture(whole, "a", USE) == decode_picture(whole, "a", REFUSE)).all()
    assert identity_of(whole, "a", USE) == identity_of(whole, "a", REFUSE) == whole


def test_a_picture_in_part_is_known_by_another_name_than_its_file() -> None:
    cut = encode("PNG")[:5000]
    assert identity_of(cut, "a", REFUSE) == cut
    assert identity_of(cut, "a", USE) != cut
    assert USE.key == REFUSE.key


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF"])
def test_nothing_of_a_picture_is_refused_under_both_settings(format: str) -> None:
    data = encode(format)
    start = data.find(b"IDAT") + 8 if format == "PNG" else 60
    with pytest.raises(PictureError):
        decode_picture(data[:start], "a", USE)


@pytest.mark.parametrize("format", ["WEBP", "AVIF"])
def test_formats_that_cannot_be_decoded_in_part_are_refused(format: str) -> None:
    with pytest.raises(PictureError, match="a damaged file"):
        decode_picture(encode(format)[:-500], "a", USE)
