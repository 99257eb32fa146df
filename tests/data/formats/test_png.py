"""PNG files: text, profiles and animations beside the picture cost nothing and change nothing."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from postsense.data.formats.png import read_png
from postsense.data.images import PicturePolicy, decode_picture, inspect_picture
from postsense.errors import PictureError

POLICY = PicturePolicy(resize_px=16, crop_px=16)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def encode(image: Image.Image = NOISE, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


def with_chunks(*chunks: bytes) -> bytes:
    """The picture with more chunks after its header."""
    data = encode()
    return data[:33] + b"".join(chunks) + data[33:]


BOMB = zlib.compress(bytes(2 << 20))


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"zTXt", b"words\0\0" + BOMB)],
        [chunk(b"iTXt", b"words\0\1\0\0\0" + BOMB)],
        [chunk(b"tEXt", b"words\0" + b"x" * (3 << 20))],
        [chunk(b"tEXt", b"words\0" + b"x" * (1 << 20))] * 40,
        [chunk(b"iCCP", b"profile\0\0" + BOMB)],
        [chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + BOMB)],
    ],
)
def test_large_texts_and_profiles_leave_the_picture_sound(chunks: list[bytes]) -> None:
    data = with_chunks(*chunks)
    pixels = decode_picture(data, "a", POLICY)
    np.testing.assert_array_equal(pixels, decode_picture(encode(), "a", POLICY))
    assert len(read_png(data).data) == len(encode())


def test_orientation_is_found_in_text_as_in_its_own_chunk() -> None:
    xmp, profile = PngInfo(), PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", 'tiff:Orientation="3"', zip=True)
    exif = Image.Exif()
    exif[0x0112] = 3
    digits = exif.tobytes().hex()
    profile.add_text("Raw profile type exif", f"\nexif\n{len(digits)}\n{digits}", zip=True)
    expected = decode_picture(encode(exif=exif), "a", POLICY)
    assert (expected != decode_picture(encode(), "a", POLICY)).any()
    for info in (xmp, profile):
        pixels = decode_picture(encode(pnginfo=info), "a", POLICY)
        np.testing.assert_array_equal(pixels, expected)


def test_frames_are_counted_and_the_default_picture_counts_as_one_if_it_is_no_frame() -> None:
    frames = {"save_all": True, "append_images": [NOISE.rotate(180), NOISE.rotate(90)]}
    for default, count in ((False, 3), (True, 3)):
        data = encode(**frames, default_image=default)
        assert inspect_picture(data, "a").frames == count
        np.testing.assert_array_equal(
            decode_picture(data, "a", POLICY), decode_picture(encode(), "a", POLICY)
        )


def test_a_palette_picture_without_a_palette_is_one_bad_picture() -> None:
    header = struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(20)))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
    assert len(data) == 70 or len(data) < 80
    with pytest.raises(PictureError, match=r"found a damaged file \(no palette\)"):
        decode_picture(data, "a", POLICY)


def test_a_chunk_that_lost_its_name_is_damage() -> None:
    data = encode(NOISE.quantize(4)).replace(b"PLTE", b"pLTE")
    with pytest.raises(PictureError, match="bad checksum in b'pLTE'"):
        decode_picture(data, "a", POLICY)
