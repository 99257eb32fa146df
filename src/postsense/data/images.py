"""The one policy for pictures: bytes of a file into upright RGB pixels of one size, or refusal."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from threading import Lock
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from postsense.data.decoding import load_what_is_there, on_white, upright
from postsense.data.formats.header import Header, UnsupportedError
from postsense.data.formats.orientation import orientation_of
from postsense.data.formats.recognition import FORMATS as READERS
from postsense.data.formats.recognition import format_of, guess
from postsense.errors import PictureError
from postsense.files.regular import UnreadableFileError, read_regular

MAX_PIXELS = 50_000_000
MAX_SIDE = 100_000
MAX_BYTES = 64 * 1024 * 1024
MAX_SCANS = 100
MAX_SCANNED = 1_000_000_000  # pixels, over all scans
FORMATS = tuple(READERS)
POLICY_VERSION = 1  # raise when the same settings give other pixels: kept features become stale

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_MAX_STRETCH = 8  # longer pictures, by side over shorter side, are never resized as a whole
_LARGE_PIXELS = 12_500_000
_ONE_LARGE_AT_A_TIME = Lock()
_RESAMPLE = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True)
class PictureInfo:
    """What the header of a picture says; width and height before any rotation."""

    format: str
    width: int
    height: int
    frames: int


class OwnSteps(Protocol):
    """What an encoder brings along to prepare upright RGB pictures: all steps in one.

    size_px: height and width of what it gives, (H, W, 3) float32. key: as of a policy.
    """

    @property
    def size_px(self) -> tuple[int, int]: ...

    @property
    def key(self) -> str: ...

    def __call__(self, image: Image.Image, name: str) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class PicturePolicy:
    """How a picture becomes an encoder's input: shorter side to resize_px, centre crop, scaling.

    `squash` resizes straight to crop_px x crop_px and cuts nothing off. mean and std are for pixels
    in [0, 1], red, green, blue. truncated: whether what is there of a file that is cut short is
    used; it changes no other picture, and is no part of the key. own: what takes the place of all
    of the steps, None if nothing does. exact: the longer side is rounded down exactly, as image
    processors do it; else, as for the built-in encoder from the first on, it may be a pixel short
    where it should be a whole number.
    """

    resize_px: int = 256
    crop_px: int = 224
    squash: bool = False
    resample: Literal["bicubic", "bilinear", "lanczos", "nearest"] = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    truncated: Literal["refuse", "use"] = "refuse"
    own: OwnSteps | None = None
    exact: bool = False

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the encoder's input."""
        return (self.crop_px, self.crop_px) if self.own is None else self.own.size_px

    @property
    def key(self) -> str:
        """A short name that differs whenever the encoder's input could."""
        if self.own is not None:
            return self.own.key
        shape = "squash" if self.squash else f"resize{self.resize_px}-crop"
        scaling = "-".join(",".join(f"{x:.9g}" for x in part) for part in (self.mean, self.std))
        return f"v{POLICY_VERSION}-{shape}{self.crop_px}-{self.resample}-{scaling}"


def read_picture(path: str) -> bytes:
    """Read the bytes of a picture file.

    Raises: PictureError: nothing at path, not a regular file, unreadable, empty or too large.
    """
    expected = "a picture file"
    if _ADDRESS.match(path) is not None:
        fix = "Nothing is downloaded: fetch the pictures into a folder, and name the files."
        raise PictureError(path, expected, "an address", fix)
    try:
        data = read_regular(path, MAX_BYTES)
    except UnreadableFileError as error:
        if error.errno == errno.EFBIG:
            limit = f"at most {MAX_BYTES // 2**20} MiB"
            raise PictureError(path, limit, error.found, "Save a smaller copy.") from None
        fix = "Check path and permissions."
        fix = "Name the picture itself." if error.errno == errno.EINVAL else fix
        fix = "Check the path." if error.is_missing else fix
        raise PictureError(path, expected, error.found, fix) from None
    if not data:
        raise PictureError(path, expected, "an empty file", "Fetch it again or drop the row.")
    return data


def inspect_picture(data: bytes, name: str) -> PictureInfo:
    """Read format and size from the header; no pixel is decoded.

    Args:
        name: where the bytes came from, for messages.
    Raises: PictureError: not a picture, another format than FORMATS, more than MAX_PIXELS or
        MAX_SIDE, or more scans than pictures have.
    """
    file = _read_header(data, name)
    with _guarded(name):
        image = file.undecoded(file.header.data)
    width, height = file.header.width or image.width, file.header.height or image.height
    frames = file.header.frames or int(getattr(image, "n_frames", 1))
    return PictureInfo(file.kind, width, height, frames)


def identity_of(data: bytes, name: str, policy: PicturePolicy) -> bytes:
    """What a picture is known by: its file, marked if the policy makes a picture of a part of it.

    So what is kept of such a picture is not found where files that are cut short are refused.
    """
    if policy.truncated == "refuse":
        return data
    try:
        part = _read_header(data, name).header.part
    except PictureError:
        return data  # refused under any policy
    return data if part is None else data + b"\0in part"


def decode_picture(data: bytes, name: str, policy: PicturePolicy) -> NDArray[Any]:
    """Decode the first frame, upright and on white, cut to the policy's size.

    Source: ours; for plain RGB pictures the usual resize, centre crop of ImageNet evaluation.

    Args:
        name: where the bytes came from, for messages.
    Returns: (crop_px, crop_px, 3) uint8, red green blue; with steps of the encoder's own what these
        give.
    Raises: PictureError: as inspect_picture, or the file is damaged or, unless the policy uses
        such files, cut short.
    """
    file = _read_header(data, name)
    with _ONE_LARGE_AT_A_TIME if file.is_large else nullcontext():
        try:
            with _guarded(name):
                return file.pixels(policy)
        except PictureError:
            if file.header.part is None or policy.truncated == "refuse":
                raise
        with _guarded(name):
            return file.pixels(policy, in_part=True)


def pixels_of_image(image: Image.Image, policy: PicturePolicy) -> NDArray[np.float32]:
    """An upright RGB picture as the encoder's input, (3, H, W), by the steps of the policy."""
    return normalize_pixels(np.asarray(_resize(image, policy)), policy)


def normalize_pixels(pixels: NDArray[Any], policy: PicturePolicy) -> NDArray[np.float32]:
    """Scale pixels as the encoder expects: (x / 255 - mean) / std, channels first.

    Args:
        pixels: (..., H, W, 3) in 0..255; of steps of the encoder's own, which scale, what these
            gave.
    Returns: (..., 3, H, W), contiguous.
    """
    scaled = np.moveaxis(pixels, -1, -3).astype(np.float32, order="C")
    if policy.own is not None:
        return scaled
    scaled /= 255
    scaled -= np.asarray(policy.mean, np.float32)[:, None, None]
    scaled /= np.asarray(policy.std, np.float32)[:, None, None]
    return scaled


@dataclass(frozen=True)
class _PictureFile:
    """A file whose header is fit to be decoded."""

    name: str
    kind: str
    header: Header

    @property
    def is_large(self) -> bool:
        """Whether it takes so much memory, or as AVIF so many threads, that it is decoded alone."""
        reduced = self.kind == "JPEG" and self.header.passes == 1  # while it is decoded
        pixels = self.header.width * self.header.height
        return self.kind == "AVIF" or (not reduced and pixels > _LARGE_PIXELS)

    def undecoded(self, data: bytes) -> ImageFile:
        """An image of which no pixel is decoded. Raises: PictureError: too large."""
        image = READERS[self.kind].reader(BytesIO(data))
        _refuse_huge(self.name, *image.size)
        return image

    def pixels(self, policy: PicturePolicy, *, in_part: bool = False) -> NDArray[Any]:
        """What decode_picture returns, of the whole picture or of the part that is there."""
        part = self.header.part if in_part else None
        image = self.undecoded(self.header.data if part is None else part)
        if policy.own is None:  # JPEG only: decode at 1/2, 1/4 or 1/8 if that is enough
            side = policy.crop_px if policy.squash else max(policy.resize_px, policy.crop_px)
            image.draft("RGB", (side, side))
        if part is None:
            image.load()
        else:
            load_what_is_there(image)
        orientation = self.header.orientation or orientation_of(image.info.get("exif"))
        page = on_white(upright(image, orientation))
        return (
            np.asarray(_resize(page, policy)) if policy.own is None else policy.own(page, self.name)
        )


def _read_header(data: bytes, name: str) -> _PictureFile:
    """The format of a picture file and its header, if they are fit to be decoded."""
    kind = format_of(data)
    try:
        if kind is None:
            raise UnsupportedError(guess(data))
        with _guarded(name):
            header = READERS[kind].read_header(data)
    except UnsupportedError as error:
        allowed = f"a picture in one of the formats {sorted(FORMATS)}"
        raise PictureError(name, allowed, str(error), "Convert it or drop the row.") from None
    _refuse_huge(name, header.width, header.height)
    _refuse_costly(name, header)
    return _PictureFile(name, kind, header)


def _refuse_huge(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS / 1e6:.0f} megapixels"
        found = f"{width} x {height} = {width * height / 1e6:.4g} megapixels"
        raise PictureError(name, limit, found, "Save a smaller copy.")
    if max(width, height) > MAX_SIDE:
        found = f"{width} x {height}"
        raise PictureError(name, f"at most {MAX_SIDE} pixels a side", found, "Save a smaller copy.")


def _refuse_costly(name: str, header: Header) -> None:
    """Refuse a picture whose file makes a decoder go over it again and again."""
    allowed = min(MAX_SCANS, MAX_SCANNED // max(header.width * header.height, 1))
    if header.passes > allowed:
        found = f"{header.passes} of {header.width} x {header.height} pixels"
        raise PictureError(name, f"at most {allowed} scans", found, "Save a copy that has fewer.")


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    """Whatever a decoder raises on the bytes of a stranger is about this one picture."""
    try:
        yield
    except (PictureError, UnsupportedError):
        raise
    except MemoryError:
        fix = "Save a smaller copy, or free memory."
        raise PictureError(name, "a picture that fits in memory", "no room", fix) from None
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise PictureError(
            name, "a whole picture", f"a damaged file ({reason})", "Fetch it again or drop the row."
        ) from None


def _resize(image: Image.Image, policy: PicturePolicy) -> Image.Image:
    crop, resample = policy.crop_px, _RESAMPLE[policy.resample]
    if policy.squash:
        return image.resize((crop, crop), resample)
    width, height = (max(crop, _scaled(side, min(image.size), policy)) for side in image.size)
    left, top = (width - crop) // 2, (height - crop) // 2
    if max(image.size) <= _MAX_STRETCH * min(image.size):
        resized = image.resize((width, height), resample)
        return resized.crop((left, top, left + crop, top + crop))
    # The same crop without the long intermediate; not always taken, since the box is rounded to
    # single precision and a few pixels would differ by one from the usual two steps.
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + crop) * x, (top + crop) * y)
    return image.resize((crop, crop), resample, box=box)


def _scaled(side: int, shorter: int, policy: PicturePolicy) -> int:
    if policy.exact:
        return policy.resize_px * side // shorter
    return int(side * (policy.resize_px / shorter))
