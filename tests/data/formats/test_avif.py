"""AVIF files have the pixels of the picture that they were saved from; their kin are refused."""

import struct
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from postsense.data.formats.avif import read_avif
from postsense.data.images import PicturePolicy, decode_picture, inspect_picture
from postsense.errors import PictureError

POLICY = PicturePolicy(resize_px=16, crop_px=16)


def quarters() -> Image.Image:
    """Red and green above, blue and black below."""
    image = Image.new("RGB", (64, 64), "black")
    for color, place in (("red", (0, 0)), ("lime", (32, 0)), ("blue", (0, 32))):
        image.paste(color, (*place, place[0] + 32, place[1] + 32))
    return image


def encode(image: Image.Image, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, "AVIF", quality=95, subsampling="4:4:4", **options)
    return file.getvalue()


def corners(data: bytes) -> list[list[int]]:
    pixels = decode_picture(data, "a", POLICY).astype(int)[3:13:9, 3:13:9].reshape(4, 3)
    return (pixels // 128).tolist()


UPRIGHT = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright(orientation: int) -> None:
    turns = [None, None, 0, 3, 1, 5, 2, 6, 4]  # of Image.Transpose, that undo an orientation
    turn = turns[orientation]
    stored = quarters() if turn is None else quarters().transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert corners(encode(stored, exif=exif)) == UPRIGHT


def test_what_is_transparent_is_white() -> None:
    image = quarters()
    image.putalpha(Image.new("L", (64, 64), 0))
    assert corners(encode(image)) == [[1, 1, 1]] * 4


def test_an_animation_is_its_first_frame() -> None:
    data = encode(quarters(), save_all=True, append_images=[Image.new("RGB", (64, 64))] * 2)
    assert inspect_picture(data, "a").frames == 3
    assert corners(data) == UPRIGHT


def test_exif_of_any_size_is_not_looked_at() -> None:
    tags = b"".join(struct.pack(">HHII", 1000 + tag, 1, 70_000, 8) for tag in range(6000))
    data = encode(quarters(), exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0" + tags)
    assert b"Exif" not in read_avif(data).data[:500]
    assert corners(data) == UPRIGHT


@pytest.mark.parametrize(
    ("brands", "found"),
    [
        (b"heic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"mif1\0\0\0\0mif1heic", "a HEIC picture"),
        (b"mp42\0\0\0\0isommp42", "a HEIC or video file"),
    ],
)
def test_others_in_the_same_container_are_refused_by_name(brands: bytes, found: str) -> None:
    with pytest.raises(PictureError) as caught:
        inspect_picture(b"\0\0\0\x18ftyp" + brands + encode(quarters())[32:], "a")
    assert caught.value.found == found
