"""JPEG files: what stands beside the first picture costs nothing and changes nothing."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.data.formats.jpeg import read_jpeg
from postsense.data.images import PicturePolicy, decode_picture
from postsense.errors import PictureError

POLICY = PicturePolicy(resize_px=16, crop_px=16)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8))


def encode(image: Image.Image = NOISE, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, options.pop("format", "JPEG"), **options)
    return file.getvalue()


def with_scans(count: int, side: int = 64) -> bytes:
    """A progressive picture whose last scan is there again and again."""
    data = encode(Image.new("RGB", (side, side), "red"), progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[start:end] * (count - 10) + data[end:]


def test_scans_are_counted_and_those_of_a_thumbnail_are_not() -> None:
    assert read_jpeg(encode()).passes == 1
    assert read_jpeg(encode(progressive=True)).passes == 10
    thumbnail = b"Exif\0\0" + encode(progressive=True)
    assert read_jpeg(encode(exif=thumbnail)).passes == 1


def test_a_hundred_scans_are_the_limit() -> None:
    expected = decode_picture(with_scans(10), "a", POLICY)
    np.testing.assert_array_equal(decode_picture(with_scans(100), "a", POLICY), expected)
    with pytest.raises(PictureError, match="at most 100 scans, found 101 of 64 x 64 pixels"):
        decode_picture(with_scans(101), "a", POLICY)


def test_a_large_picture_may_have_fewer_scans() -> None:
    data = with_scans(40, side=32)
    at = data.index(b"\xff\xc2") + 5
    large = data[:at] + struct.pack(">HH", 7000, 7000) + data[at + 4 :]
    with pytest.raises(PictureError, match="at most 20 scans, found 40 of 7000 x 7000 pixels"):
        decode_picture(large, "a", POLICY)


def test_a_phones_file_of_several_pictures_is_its_first() -> None:
    several = encode(format="MPO", save_all=True, append_images=[NOISE.rotate(180)])
    assert several[:2] == b"\xff\xd8"
    expected = decode_picture(encode(), "a", POLICY)
    np.testing.assert_array_equal(decode_picture(several, "a", POLICY), expected)
    assert read_jpeg(several).passes == 1


def test_metadata_of_any_size_costs_nothing() -> None:
    segment = b"\xff\xed\xff\xffPhotoshop 3.0\0".ljust(65537, b"x")
    data = b"\xff\xd8" + segment * 100 + encode()[2:]
    assert len(read_jpeg(data).data) <= len(encode())
    expected = decode_picture(encode(), "a", POLICY)
    np.testing.assert_array_equal(decode_picture(data, "a", POLICY), expected)


def test_segments_without_end_are_refused() -> None:
    with pytest.raises(PictureError, match="more than 100000 segments"):
        decode_picture(b"\xff\xd8" + b"\xff\xfe\0\2" * 100_001 + encode()[2:], "a", POLICY)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_color_is_that_of_pillow(mode: str, progressive: bool) -> None:
    data = encode(NOISE.convert(mode), progressive=progressive, quality=95)
    with Image.open(BytesIO(data)) as image:
        image.draft("RGB", (16, 16))
        expected = image.convert("RGB").resize((20, 16), Image.Resampling.BICUBIC)
    pixels = decode_picture(data, "a", POLICY)
    np.testing.assert_array_equal(pixels, np.asarray(expected)[:, 2:18])
