"""BMP files have the pixels of the picture that they were saved from."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from postsense.data.images import PicturePolicy, decode_picture, inspect_picture
from postsense.errors import PictureError

POLICY = PicturePolicy(resize_px=16, crop_px=16)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def encode(image: Image.Image, format: str = "BMP") -> bytes:
    file = BytesIO()
    image.save(file, format)
    return file.getvalue()


def changed(data: bytes, at: int, form: str, *values: int) -> bytes:
    file = bytearray(data)
    struct.pack_into(form, file, at, *values)
    return bytes(file)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_pixels_are_those_of_the_same_picture_as_png(mode: str) -> None:
    image = NOISE.convert(mode)
    assert inspect_picture(encode(image), "a").format == "BMP"
    pixels = decode_picture(encode(image), "a", POLICY)
    np.testing.assert_array_equal(pixels, decode_picture(encode(image, "PNG"), "a", POLICY))


def test_rows_from_the_top_down_stand_the_other_way_round() -> None:
    data = changed(encode(NOISE), 22, "<i", -16)
    expected = encode(NOISE.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    assert inspect_picture(data, "a").height == 16
    np.testing.assert_array_equal(
        decode_picture(data, "a", POLICY), decode_picture(expected, "a", POLICY)
    )


def run_lengths(width: int, height: int, body: bytes) -> bytes:
    data = encode(Image.new("L", (width, 1)))[:-width]
    start = struct.unpack_from("<I", data, 10)[0]
    data = changed(data[:start], 22, "<i", height)
    return changed(data, 30, "<II", 1, len(body)) + body


def test_run_lengths_are_read() -> None:
    rows = b"".join(bytes([16, value]) + b"\0\0" for value in range(0, 240, 15))
    pixels = decode_picture(run_lengths(16, 16, rows + b"\0\1"), "a", POLICY)
    assert pixels[:, 5, 0].tolist() == [*range(225, -1, -15)]


def test_run_lengths_of_many_pixels_are_refused() -> None:
    with pytest.raises(PictureError, match="a run-length encoded BMP picture of 2000 x 501 pixels"):
        decode_picture(run_lengths(2000, 501, b"\0\1"), "a", POLICY)


def test_a_negative_width_is_refused() -> None:
    with pytest.raises(PictureError, match="megapixels"):
        decode_picture(changed(encode(NOISE), 18, "<i", -24), "a", POLICY)
