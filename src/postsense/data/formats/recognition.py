"""First bytes of a file → its format, and how files of that format are read."""

import ctypes
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO

from PIL import _imaging
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from postsense.data.formats.avif import read_avif
from postsense.data.formats.bmp import BMP_HEADERS, read_bmp
from postsense.data.formats.gif import read_gif
from postsense.data.formats.header import Header
from postsense.data.formats.jpeg import read_jpeg
from postsense.data.formats.png import read_png
from postsense.data.formats.tiff import read_tiff
from postsense.data.formats.webp import read_webp


def _open_tiff(data: BytesIO) -> TiffImageFile:
    _silence_libtiff()
    return TiffImageFile(data)


@cache
def _silence_libtiff() -> None:
    """Keep libtiff from writing what is wrong with a file to standard error; we tell it too."""
    with suppress(OSError, AttributeError):  # it is hidden in the library that uses it
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


@dataclass(frozen=True)
class Format:
    """How files of a format are read: their header by us, their pixels by a class of Pillow.

    The classes are called, not Image.open: it warns of large pictures before one can refuse them,
    and silencing a warning is not safe while several threads decode.
    """

    read_header: Callable[[bytes], Header]
    reader: Callable[[BytesIO], ImageFile]


FORMATS: Mapping[str, Format] = {
    "JPEG": Format(read_jpeg, JpegImageFile),
    "PNG": Format(read_png, PngImageFile),
    "WEBP": Format(read_webp, WebPImageFile),
    "GIF": Format(read_gif, GifImageFile),
    "AVIF": Format(read_avif, AvifImageFile),
    "BMP": Format(read_bmp, BmpImageFile),
    "TIFF": Format(read_tiff, _open_tiff),
}
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_OTHERS = {
    b"%PDF": "a PDF document",
    b"<": "a web page or an SVG drawing",
    b"\0\0\0\x0cjP": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"\0\0\1\0": "an icon",
    b"8BPS": "a Photoshop document",
}


def format_of(data: bytes) -> str | None:
    """The name of the format in FORMATS; None: none of them."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":  # a container, also of others
        return "AVIF"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in BMP_HEADERS:
        return "BMP"
    return next((name for start, name in _STARTS.items() if data.startswith(start)), None)


def guess(data: bytes) -> str:
    """What a file of no format in FORMATS may be, for people."""
    if not data:
        return "no bytes"
    start = data[:16].lstrip()
    for magic, kind in _OTHERS.items():
        if data.startswith(magic) or start.startswith(magic):
            return kind
    return f"a file that starts with {data[:12]!r}"
