"""What the bytes of a picture file say of the picture before a pixel is decoded."""

from dataclasses import dataclass

MAX_PARTS = 100_000  # segments, chunks or blocks of a file that are looked at
MAX_COUNTED = 1000  # frames or pages: more are not counted


class UnsupportedError(Exception):
    """A file of a kind that is not decoded, sound as it may be. str: which kind."""


@dataclass(frozen=True)
class Header:
    """Size, frames and what a decoder is to be given.

    width, height: as stored, before any rotation. data: the file without what says nothing of its
    first picture, so that a decoder spends no time and memory on it. orientation: as in EXIF, 1 to
    8; 1 where the decoder itself turns the picture. passes: how often all pixels are gone over.
    part: of a file that ends before its picture, what is to be decoded to get what is there.
    Size, frames and orientation are 0 where the decoder tells them without decoding.
    """

    width: int
    height: int
    data: bytes
    frames: int = 1
    orientation: int = 1
    passes: int = 1
    part: bytes | None = None
