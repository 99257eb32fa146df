import os
import random
import resource
import struct
import subprocess
import sys
import warnings
import zlib
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.data import images
from postsense.data.images import (
    PicturePolicy,
    decode_picture,
    inspect_picture,
    normalize_pixels,
    read_picture,
)
from postsense.errors import PictureError
from tolerances import rounding

SMALL = PicturePolicy(resize_px=16, crop_px=16)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def plain(mode: str, color: Any, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new(mode, size, color)


def photo(width: int = 300, height: int = 240) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def quarters() -> Image.Image:
    """Red and green above, blue and black below."""
    image = plain("RGB", "black", (64, 64))
    image.paste("red", (0, 0, 32, 32))
    image.paste("lime", (32, 0, 64, 32))
    image.paste("blue", (0, 32, 32, 64))
    return image


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises width x height; its pixels would not fit."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def slow_reference(image: Image.Image, policy: PicturePolicy) -> np.ndarray:
    """Resize the shorter side of a whole RGB picture, cut out the middle."""
    scale = policy.resize_px / min(image.size)
    size = (
        max(policy.crop_px, int(image.width * scale)),
        max(policy.crop_px, int(image.height * scale)),
    )
    pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    top, left = ((side - policy.crop_px) // 2 for side in pixels.shape[:2])
    return pixels[top : top + policy.crop_px, left : left + policy.crop_px]


def refusal(data: bytes, policy: PicturePolicy = SMALL) -> PictureError:
    with pytest.raises(PictureError) as caught:
        decode_picture(data, "post 7", policy)
    return caught.value


def test_a_picture_file_is_read_whole(tmp_path: Path) -> None:
    data = encode(photo(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    assert read_picture(str(tmp_path / "a.png")) == data


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        PictureError, match=r"a\.jpg: expected a picture file, found no such file\. Ch"
    ):
        read_picture(str(tmp_path / "a.jpg"))


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"found a folder\. Name the picture itself\."):
        read_picture(str(tmp_path))


def test_an_empty_file_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(PictureError, match=r"found an empty file\. Fetch it again"):
        read_picture(str(tmp_path / "a.jpg"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(PictureError, match="found neither a file nor a folder"):
        read_picture(str(tmp_path / "a.jpg"))


def test_a_too_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 2**20)
    (tmp_path / "a.jpg").write_bytes(bytes(3 * 2**20))
    with pytest.raises(PictureError, match=r"expected at most 1 MiB, found 3 MiB\. Save a smaller"):
        read_picture(str(tmp_path / "a.jpg"))


def test_an_unreadable_file_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_: object) -> int:
        raise PermissionError(13, "Permission denied", path)

    (tmp_path / "a.jpg").write_bytes(b"x")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(
        PictureError, match=r"found Permission denied\. Check path and permissions\."
    ):
        read_picture(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize("path", ["a\0b.jpg", "x" * 5000])
def test_an_impossible_path_is_a_bad_picture(path: str) -> None:
    with pytest.raises(PictureError, match="expected a picture file"):
        read_picture(path)


@pytest.mark.parametrize("format", images.FORMATS)
def test_the_header_tells_format_and_size(format: str) -> None:
    info = inspect_picture(encode(photo(60, 48), format), "a")
    assert (info.format, info.width, info.height, info.frames) == (format, 60, 48, 1)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_the_header_tells_the_number_of_frames(format: str) -> None:
    frames = [plain("RGB", color) for color in ("red", "blue", "white")]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:])
    assert inspect_picture(data, "a").frames == 3


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "no bytes"),
        (b"just some words", "a file that starts with b'just some wo'"),
        (b"  <html>404</html>", "a web page or an SVG drawing"),
        (b"%PDF-1.7", "a PDF document"),
        (b"BMW drives by", "a file that starts with b'BMW drives b'"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a HEIC or video file"),
    ],
)
def test_other_files_are_refused_by_name(data: bytes, found: str) -> None:
    error = refusal(data)
    assert error.where == "post 7"
    formats = ["AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"]
    assert error.expected == f"a picture in one of the formats {formats}"
    assert error.found == found
    assert error.fix == "Convert it or drop the row."


def test_fifty_megapixels_are_the_limit() -> None:
    assert inspect_picture(png_of_size(10_000, 5_000), "a").width == 10_000
    error = refusal(png_of_size(10_000, 5_001))
    assert error.expected == "at most 50 megapixels"
    assert error.found == "10000 x 5001 = 50.01 megapixels"
    assert error.fix == "Save a smaller copy."


@pytest.mark.parametrize("size", [(1, 100_001), (50_000_000, 1)])
def test_a_picture_like_a_thread_is_refused(size: tuple[int, int]) -> None:
    error = refusal(png_of_size(*size))
    assert error.expected == "at most 100000 pixels a side"
    assert error.found == f"{size[0]} x {size[1]}"


MEASURE = """
import resource, sys, zlib
from postsense.data.images import PicturePolicy, decode_picture
width, height = int(sys.argv[1]), int(sys.argv[2])
def chunk(kind, body):
    checksum = zlib.crc32(kind + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + kind + body + checksum
header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 6, 0, 0, 0])
packer = zlib.compressobj(1)
rows = [packer.compress(bytes(1 + 4 * width)) for _ in range(height)]
pixels = chunk(b"IDAT", b"".join([*rows, packer.flush()]))
data = bytes.fromhex("89504e470d0a1a0a") + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
before = resource.getrusage(resource.RUSAGE_SELF)
policy = PicturePolicy(crop_px=224, squash=sys.argv[3] == "squash")
assert (decode_picture(data, "a", policy) == 255).all()
after = resource.getrusage(resource.RUSAGE_SELF)
print((after.ru_maxrss - before.ru_maxrss) / 1024, after.ru_utime - before.ru_utime)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height", "how"), [(7071, 7071, "crop"), (500, 100_000, "squash")]
)
def test_the_largest_pictures_take_no_more_than_the_docs_say(
    width: int, height: int, how: str
) -> None:
    command = [sys.executable, "-c", MEASURE, str(width), str(height), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mebibytes, seconds = map(float, done.stdout.split())
    assert mebibytes < 600
    assert seconds < 20  # on a machine that may be busy


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
def test_a_bomb_is_refused_without_warning_or_memory(side: int) -> None:
    data = png_of_size(side, side)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "megapixels" in refusal(data).found
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 50_000


def test_a_webp_bomb_is_refused_by_its_header() -> None:
    width, height = 12_000, 5_000
    lossy = bytearray(encode(plain("RGB", "red"), "WEBP"))
    lossy[26:30] = struct.pack("<HH", width, height)
    lossless = bytearray(encode(plain("RGB", "red"), "WEBP", lossless=True))
    lossless[21:25] = struct.pack("<I", width - 1 | (height - 1) << 14)
    extended = bytearray(encode(plain("RGBA", (9, 9, 9, 9)), "WEBP"))
    extended[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    for data in (lossy, lossless, extended):
        assert refusal(bytes(data)).found == "12000 x 5000 = 60 megapixels"


def test_a_gif_frame_larger_than_its_canvas_counts() -> None:
    data = bytearray(encode(plain("RGB", "red"), "GIF", comment=b"words before the frame"))
    frame = data.index(b"\x2c\0\0\0\0\x10\0\x10\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 10_000, 10_000)
    assert refusal(bytes(data)).found == "10000 x 10000 = 100 megapixels"


@pytest.mark.parametrize("size", [(300, 240), (224, 224), (31, 47), (1200, 900), (256, 257)])
def test_a_plain_picture_is_resized_and_cropped_as_usual(size: tuple[int, int]) -> None:
    image = photo(*size)
    pixels = decode_picture(encode(image, "PNG"), "a", PicturePolicy())
    np.testing.assert_array_equal(pixels, slow_reference(image, PicturePolicy()))


@pytest.mark.parametrize("size", [(40, 4000), (2000, 100)])
def test_a_long_picture_is_cropped_before_it_is_resized(size: tuple[int, int]) -> None:
    image = photo(*size)
    pixels = decode_picture(encode(image, "PNG"), "a", PicturePolicy()).astype(int)
    assert np.abs(pixels - slow_reference(image, PicturePolicy())).max() <= 2


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_extreme_shapes_need_little_memory(size: tuple[int, int]) -> None:
    pixels = decode_picture(encode(plain("RGB", (10, 20, 30), size), "PNG"), "a", PicturePolicy())
    assert pixels.shape == (224, 224, 3)
    assert (pixels == (10, 20, 30)).all()


def test_squash_keeps_the_edges() -> None:
    image = photo(400, 100)
    policy = PicturePolicy(crop_px=50, squash=True, resample="bilinear")
    expected = np.asarray(image.resize((50, 50), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode_picture(encode(image, "PNG"), "a", policy), expected)


def test_a_large_jpeg_is_decoded_small_and_looks_the_same() -> None:
    image = photo().resize((2000, 1600), Image.Resampling.BICUBIC)
    pixels = decode_picture(encode(image, "JPEG", quality=95), "a", PicturePolicy())
    difference = np.abs(pixels.astype(int) - slow_reference(image, PicturePolicy()))
    assert difference.mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_turns_the_picture_upright(orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = quarters().transpose(undo[orientation]) if orientation > 1 else quarters()
    for format in ("JPEG", "PNG", "WEBP"):
        pixels = decode_picture(encode(stored, format, exif=exif), "a", SMALL).astype(int)
        expected = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 0, 0]]]
        assert np.abs(pixels[3:13:9, 3:13:9] - expected).max() < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_damaged_exif_does_not_cost_the_picture() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"
    data = encode(plain("RGB", "red"), "JPEG", exif=exif)
    assert decode_picture(data, "a", SMALL)[0, 0, 0] > 250


@pytest.mark.parametrize(
    "image",
    [
        plain("RGBA", (200, 0, 0, 0)),
        plain("LA", (0, 0)),
    ],
)
def test_transparent_is_white(image: Image.Image) -> None:
    assert (decode_picture(encode(image, "PNG"), "a", SMALL) == 255).all()


def test_half_transparent_is_mixed_with_white() -> None:
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        data = encode(plain("RGBA", (200, 0, 100, 51)), format, **options)
        assert decode_picture(data, "a", SMALL)[5, 5].tolist() == [244, 204, 224]


def test_palettes_keep_colors_and_transparency() -> None:
    image = plain("P", 0)
    image.putpalette([200, 10, 20, 0, 0, 255])
    image.paste(1, (8, 0, 16, 16))
    for format in ("PNG", "GIF"):
        pixels = decode_picture(encode(image, format, transparency=1), "a", SMALL)
        assert pixels[8, 2].tolist() == [200, 10, 20]
        assert pixels[8, 13].tolist() == [255, 255, 255]


def test_a_palette_with_an_alpha_for_each_color_is_mixed() -> None:
    image = plain("P", 1)
    image.putpalette([0, 0, 0, 0, 0, 0])
    pixels = decode_picture(encode(image, "PNG", transparency=bytes([255, 51])), "a", SMALL)
    assert (pixels == 204).all()


@pytest.mark.parametrize("transparent", [(9, 9, 9), None])
def test_a_transparent_color_of_an_rgb_picture_is_white(
    transparent: tuple[int, ...] | None,
) -> None:
    data = encode(plain("RGB", (9, 9, 9)), "PNG", transparency=transparent)
    assert (decode_picture(data, "a", SMALL) == (9 if transparent is None else 255)).all()


def test_cmyk_becomes_rgb() -> None:
    for ink, color in (((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))):
        pixels = decode_picture(encode(plain("CMYK", ink), "JPEG", quality=100), "a", SMALL)
        assert np.abs(pixels.astype(int) - color).max() <= 3


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    levels = np.repeat(np.array([[0, 128, 257, 25700, 32896, 65535]], np.uint16), 6, axis=0)
    policy = PicturePolicy(resize_px=6, crop_px=6, resample="nearest")
    pixels = decode_picture(encode(Image.fromarray(levels), "PNG"), "a", policy)
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 100, 128, 255]
    assert (pixels == pixels[..., :1]).all()


def test_transparent_sixteen_bit_grey_is_white() -> None:
    image = Image.fromarray(np.full((16, 16), 1000, np.uint16))
    pixels = decode_picture(encode(image, "PNG", transparency=1000), "a", SMALL)
    assert (pixels == 255).all()


def test_one_bit_and_grey_become_rgb() -> None:
    for mode, color, value in (("1", 1, 255), ("1", 0, 0), ("L", 77, 77)):
        assert (decode_picture(encode(plain(mode, color), "PNG"), "a", SMALL) == value).all()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame(format: str) -> None:
    frames = [plain("RGB", color) for color in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert (decode_picture(data, "a", SMALL) == (255, 0, 0)).all()


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize(
    ("format", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("GIF", {})],
)
def test_a_file_cut_short_is_refused(format: str, options: dict[str, Any], kept: float) -> None:
    data = encode(photo(), format, **options)
    error = refusal(data[: int(kept * len(data))], PicturePolicy())
    assert error.expected == "a whole picture"
    assert error.found.startswith("a damaged file (")
    assert error.fix == "Fetch it again or drop the row."


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), zlib.error("x")])
@pytest.mark.parametrize("step", ["load", "convert", "resize", "crop"])
def test_whatever_a_decoder_raises_is_one_bad_picture(
    error: Exception, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    data = encode(plain("LA", (9, 9), (40, 30)), "PNG")
    monkeypatch.setattr(Image.Image, step, fail)
    assert refusal(data).where == "post 7"


@pytest.mark.parametrize("format", images.FORMATS)
def test_random_damage_gives_a_picture_or_a_refusal(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data, rng = encode(photo(60, 48), format, exif=exif), random.Random(0)
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 3, 9))):
            damaged[rng.randrange(12, min(len(data), 400))] = rng.randrange(256)
        with suppress(PictureError):
            inspect_picture(bytes(damaged), "a")
        with suppress(PictureError):
            decode_picture(bytes(damaged), "a", replace(SMALL, truncated="use"))


def test_the_policy_key_is_stable_and_tells_policies_apart() -> None:
    policies = [
        PicturePolicy(),
        PicturePolicy(resize_px=224),
        PicturePolicy(squash=True),
        PicturePolicy(crop_px=192),
        PicturePolicy(resample="lanczos"),
        PicturePolicy(mean=(0.485, 0.456, 0.406)),
        PicturePolicy(std=(0.229, 0.224, 0.225)),
    ]
    assert policies[0].key == "v1-resize256-crop224-bicubic-0.5,0.5,0.5-0.5,0.5,0.5"
    assert len({policy.key for policy in policies}) == len(policies)


def test_normalized_pixels_equal_the_formula() -> None:
    policy = PicturePolicy(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    scaled = normalize_pixels(pixels, policy)
    assert scaled.shape == (2, 3, 5, 7)
    assert scaled.dtype == np.float32
    assert scaled.flags.c_contiguous
    for channel in range(3):
        expected = (pixels[..., channel] / 255 - policy.mean[channel]) / policy.std[channel]
        np.testing.assert_allclose(scaled[:, channel], expected, atol=rounding(2, scale=3))


def test_black_and_white_become_minus_one_and_one_by_default() -> None:
    for color, value in ((0, -1), (255, 1)):
        scaled = normalize_pixels(np.full((4, 4, 3), color, np.uint8), PicturePolicy())
        assert (scaled == value).all()


@pytest.mark.real
def test_real_posts_equal_the_published_recipe(real_data: Path) -> None:
    policy = PicturePolicy()
    for path in sorted((real_data / "mvsa_single" / "images").glob("*.jpg"))[::100]:
        with Image.open(path) as image:
            image.draft("RGB", (256, 256))
            expected = slow_reference(image.convert("RGB"), policy)
        pixels = decode_picture(read_picture(str(path)), str(path), policy)
        np.testing.assert_array_equal(pixels, expected)
        recipe = (expected.astype(np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.5
        np.testing.assert_array_equal(normalize_pixels(pixels, policy), recipe)
