"""TIFF files have the pixels of the picture that was saved; what is unclear is refused."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.data.images import PicturePolicy, decode_picture, inspect_picture
from postsense.errors import PictureError

POLICY = PicturePolicy(resize_px=16, crop_px=16)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 4), dtype=np.uint8))
PAGE = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}


def encode(image: Image.Image, format: str = "TIFF", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def tiff(tags: dict[int, int | tuple[int, ...]], following: int = 0) -> bytes:
    """A file of one page whose numbers stand at its end; a tuple is type, count, value."""
    entries = b""
    for tag, value in sorted(tags.items()):
        kind = value if isinstance(value, tuple) else (4, 1, value)
        entries += struct.pack("<HHII", tag, *kind)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + entries + struct.pack("<I", following) + bytes(1000)


def refusal(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        decode_picture(data, "a", POLICY)
    return caught.value.found


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_pixels_are_those_of_the_same_picture_as_png(mode: str, compression: str | None) -> None:
    image = (NOISE.convert("RGB") if mode == "P" else NOISE).convert(mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(NOISE.convert("L")).astype(np.uint16) * 200)
    data = encode(image, compression=compression)
    assert inspect_picture(data, "a").format == "TIFF"
    pixels = decode_picture(data, "a", POLICY)
    np.testing.assert_array_equal(pixels, decode_picture(encode(image, "PNG"), "a", POLICY))


def test_inks_and_compressed_strips_of_jpeg_are_read() -> None:
    image = Image.new("RGB", (16, 16), (255, 0, 0))
    for data in (encode(image.convert("CMYK")), encode(image, compression="jpeg")):
        assert np.abs(decode_picture(data, "a", POLICY).astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_picture_stands_upright(orientation: int, compression: str | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = NOISE.convert("RGB")
    pixels = decode_picture(encode(image, exif=exif, compression=compression), "a", POLICY)
    expected = decode_picture(encode(image, "PNG", exif=exif), "a", POLICY)
    np.testing.assert_array_equal(pixels, expected)


def test_the_first_of_several_pages_counts() -> None:
    pages = [Image.new("RGB", (16, 16), color) for color in ("red", "blue", "lime")]
    data = encode(pages[0], save_all=True, append_images=pages[1:])
    assert inspect_picture(data, "a").frames == 3
    assert (decode_picture(data, "a", POLICY) == (255, 0, 0)).all()


def test_pages_that_lead_to_themselves_end() -> None:
    assert inspect_picture(tiff(PAGE, following=8), "a").frames == 1


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (Image.new("F", (16, 16), 0.5), "a TIFF picture of 32-bit samples in format 3"),
        (Image.new("I", (16, 16), 9), "a TIFF picture of 32-bit samples in format 2"),
        (Image.new("LAB", (16, 16)), "a TIFF picture of colors 8"),
    ],
)
def test_numbers_of_which_white_is_not_known_are_refused(image: Image.Image, found: str) -> None:
    assert refusal(encode(image)) == found


def test_sixteen_bits_with_white_at_zero_are_refused() -> None:
    assert refusal(tiff({**PAGE, 258: 16, 262: 0})) == (
        "a TIFF picture of 16-bit samples, 0 being white"
    )


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ({259: 50000}, "a TIFF picture of compression 50000"),
        ({256: 10_000, 257: 10_000}, "10000 x 10000 = 100 megapixels"),
        ({273: (4, 60_000, 8), 278: 15}, "a damaged file (60000 parts instead of 2)"),
        ({259: 8, 322: 60_000, 323: 60_000}, "a damaged file (tiles of 60000 x 60000)"),
        (dict.fromkeys(range(1000, 2000), 1), "a damaged file (a directory of 1009 entri"),
    ],
)
def test_a_bomb_is_refused_by_its_header(tags: dict[int, Any], found: str) -> None:
    assert refusal(tiff({**PAGE, **tags})).startswith(found)


def test_a_damaged_file_leaves_standard_error_alone(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encode(NOISE.convert("RGB"), compression="tiff_adobe_deflate"))
    data[20:60] = bytes(40)
    assert refusal(bytes(data)).startswith("a damaged file")
    assert capfd.readouterr().err == ""
