"""The one policy for pictures: bytes of a file into upright RGB pixels of one size, or refusal."""

import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from postsense.errors import PictureError

MAX_PIXELS = 50_000_000
MAX_BYTES = 64 * 1024 * 1024
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
POLICY_VERSION = 1  # raise when the same settings give other pixels: kept features become stale

_MAX_STRETCH = 8  # longer pictures, by side over shorter side, are never resized as a whole
# The classes are called, not Image.open: it warns of large pictures before one can refuse them,
# and silencing a warning is not safe while several threads decode.
_READERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
}
_OTHERS = {
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"%PDF": "a PDF document",
    b"<": "a web page or an SVG drawing",
}
_RESAMPLE = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
# What Pillow raises on damaged bytes, found by corrupting files at random.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
    UserWarning,  # of damaged metadata, where warnings are errors
)


@dataclass(frozen=True)
class PictureInfo:
    """What the header of a picture says; width and height before any rotation."""

    format: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True)
class PicturePolicy:
    """How a picture becomes an encoder's input: shorter side to resize_px, centre crop, scaling.

    `squash` resizes straight to crop_px x crop_px and cuts nothing off. mean and std are for pixels
    in [0, 1], red, green, blue.
    """

    resize_px: int = 256
    crop_px: int = 224
    squash: bool = False
    resample: Literal["bicubic", "bilinear", "lanczos", "nearest"] = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def key(self) -> str:
        """A short name that differs whenever the encoder's input could."""
        shape = "squash" if self.squash else f"resize{self.resize_px}-crop"
        scaling = "-".join(",".join(f"{x:.9g}" for x in part) for part in (self.mean, self.std))
        return f"v{POLICY_VERSION}-{shape}{self.crop_px}-{self.resample}-{scaling}"


def read_picture(path: str) -> bytes:
    """Read the bytes of a picture file.

    Raises: PictureError: nothing at path, not a regular file, unreadable, empty or too large.
    """
    expected = "a picture file"
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "neither a file nor a folder"
            raise PictureError(path, expected, found, "Name the picture itself.")
        if status.st_size > MAX_BYTES:
            found = f"{status.st_size / 2**20:.0f} MiB"
            limit = f"at most {MAX_BYTES // 2**20} MiB"
            raise PictureError(path, limit, found, "Save a smaller copy.")
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise PictureError(path, expected, "no such file", "Check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        found = getattr(error, "strerror", None) or str(error)
        raise PictureError(path, expected, found, "Check path and permissions.") from None
    if not data:
        raise PictureError(path, expected, "an empty file", "Fetch it again or drop the row.")
    return data


def inspect_picture(data: bytes, name: str) -> PictureInfo:
    """Read format and size from the header; no pixel is decoded.

    Args:
        name: where the bytes came from, for messages.
    Raises: PictureError: not a picture, another format than FORMATS, more than MAX_PIXELS.
    """
    image = _open(data, name)
    try:
        frames = int(getattr(image, "n_frames", 1))
    except _BROKEN as error:
        raise _damaged(name, error) from None
    return PictureInfo(str(image.format), image.width, image.height, frames)


def decode_picture(data: bytes, name: str, policy: PicturePolicy) -> NDArray[np.uint8]:
    """Decode the first frame, upright and on white, cut to the policy's size.

    Source: ours; for plain RGB pictures the usual resize, centre crop of ImageNet evaluation.

    Args:
        name: where the bytes came from, for messages.
    Returns: (crop_px, crop_px, 3), red green blue.
    Raises: PictureError: as inspect_picture, or the file is cut short or damaged.
    """
    image = _open(data, name)
    try:
        side = policy.crop_px if policy.squash else max(policy.resize_px, policy.crop_px)
        image.draft(
            "RGB", (side, side)
        )  # JPEG only: decode at 1/2, 1/4 or 1/8 where that is enough
        image.load()
    except _BROKEN as error:
        raise _damaged(name, error) from None
    _turn_upright(image)
    return np.asarray(_resize(_on_white(image), policy))


def normalize_pixels(pixels: NDArray[np.uint8], policy: PicturePolicy) -> NDArray[np.float32]:
    """Scale pixels as the encoder expects: (x / 255 - mean) / std, channels first.

    Args:
        pixels: (..., H, W, 3) in 0..255.
    Returns: (..., 3, H, W), contiguous.
    """
    scaled = np.moveaxis(pixels, -1, -3).astype(np.float32, order="C")
    scaled /= 255
    scaled -= np.asarray(policy.mean, np.float32)[:, None, None]
    scaled /= np.asarray(policy.std, np.float32)[:, None, None]
    return scaled


def _open(data: bytes, name: str) -> ImageFile:
    kind = _format(data)
    if kind is None:
        allowed = f"a picture in one of the formats {sorted(FORMATS)}"
        raise PictureError(name, allowed, _guess(data), "Convert it or drop the row.")
    try:
        _refuse_huge(name, *_early_size(kind, data))
        image = _READERS[kind](BytesIO(data))
    except _BROKEN as error:
        raise _damaged(name, error) from None
    _refuse_huge(name, *image.size)
    return image


def _format(data: bytes) -> str | None:
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return "GIF" if data[:6] in (b"GIF87a", b"GIF89a") else None


def _guess(data: bytes) -> str:
    if not data:
        return "no bytes"
    if data[4:8] == b"ftyp":
        return "an AVIF, HEIC or video file"
    start = data[:16].lstrip()
    known = (kind for magic, kind in _OTHERS.items() if start.startswith(magic))
    return next(known, f"a file that starts with {data[:12]!r}")


def _refuse_huge(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS / 1e6:.0f} megapixels"
        found = f"{width} x {height} = {width * height / 1e6:.4g} megapixels"
        raise PictureError(name, limit, found, "Save a smaller copy.")


def _early_size(kind: str, data: bytes) -> tuple[int, int]:
    """Size of the formats whose canvas Pillow allocates or measures while it opens them."""
    if kind == "WEBP":
        return _webp_size(data)
    return _gif_size(data) if kind == "GIF" else (0, 0)


def _webp_size(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":  # extended: 24 bits each, less one
        return _uint24(data, 24) + 1, _uint24(data, 27) + 1
    if data[12:16] == b"VP8L":  # lossless: 14 bits each, less one
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _uint24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _gif_size(data: bytes) -> tuple[int, int]:
    """The canvas, grown by a first frame that reaches beyond it."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while data[at] != 0x2C:  # image descriptor
        if data[at] == 0x21:  # an extension: two bytes, then blocks that begin with their length
            at += 2
            while data[at]:
                at += data[at] + 1
        at += 1
    left, top, frame_width, frame_height = struct.unpack_from("<4H", data, at + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def _turn_upright(image: ImageFile) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except _BROKEN:
        return  # damaged EXIF says nothing about the pixels, which were decoded before


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16"):
        image = _to_eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(layers, mask=layers.getchannel("A"))
    return page


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey levels scaled to 8 bits; Pillow's own conversion may clip at 255."""
    levels = np.asarray(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        levels = np.where(levels == transparent, 65535, levels)
    eight_bits = (levels.clip(0, 65535).astype(np.float32) / 257).round()
    return Image.fromarray(eight_bits.astype(np.uint8))


def _resize(image: Image.Image, policy: PicturePolicy) -> Image.Image:
    crop, resample = policy.crop_px, _RESAMPLE[policy.resample]
    if policy.squash:
        return image.resize((crop, crop), resample)
    scale = policy.resize_px / min(image.size)
    width, height = (max(crop, int(side * scale)) for side in image.size)
    left, top = (width - crop) // 2, (height - crop) // 2
    if max(image.size) <= _MAX_STRETCH * min(image.size):
        resized = image.resize((width, height), resample)
        return resized.crop((left, top, left + crop, top + crop))
    # The same crop without the long intermediate; not always taken, since the box is rounded to
    # single precision and a few pixels would differ by one from the usual two steps.
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + crop) * x, (top + crop) * y)
    return image.resize((crop, crop), resample, box=box)


def _damaged(name: str, error: Exception) -> PictureError:
    reason = str(error) or type(error).__name__
    return PictureError(
        name, "a whole picture", f"a damaged file ({reason})", "Fetch it again or drop the row."
    )
