"""GIF files: a million frames or words beside the first frame cost nothing."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.data.formats.gif import read_gif
from postsense.data.images import PicturePolicy, decode_picture, inspect_picture
from postsense.errors import PictureError

POLICY = PicturePolicy(resize_px=16, crop_px=16)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 9, (16, 24), dtype=np.uint8), "L")


def encode(**options: Any) -> bytes:
    file = BytesIO()
    NOISE.convert("P").save(file, "GIF", **options)
    return file.getvalue()


def test_frames_are_counted_up_to_a_thousand() -> None:
    assert inspect_picture(encode(), "a").frames == 1
    frames = [NOISE.rotate(180).convert("P"), NOISE.rotate(90).convert("P")]
    assert inspect_picture(encode(save_all=True, append_images=frames), "a").frames == 3
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
    assert inspect_picture(encode()[:-1] + frame * 1_000_000 + b";", "a").frames == 1000


def test_words_before_the_picture_do_not_change_it() -> None:
    data = encode(transparency=3)
    place = data.index(b"\x21\xf9")  # what is transparent
    comment = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 5000 + b"\0"
    worded = data[:place] + comment + data[place:]
    assert len(read_gif(worded).data) < 2000
    pixels = decode_picture(worded, "a", POLICY)
    np.testing.assert_array_equal(pixels, decode_picture(data, "a", POLICY))
    assert (pixels == 255).all(axis=2).any()


def test_blocks_without_end_are_refused() -> None:
    data = encode()
    place = data.index(b"\x2c\0\0\0\0")
    comment = b"\x21\xfe" + b"\x01x" * 1_000_001 + b"\0"
    with pytest.raises(PictureError, match="more than 1000000 blocks"):
        decode_picture(data[:place] + comment + data[place:], "a", POLICY)
