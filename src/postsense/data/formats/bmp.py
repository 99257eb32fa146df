"""BMP files, from the top down or from the bottom up, plain or run-length encoded."""

import struct

from postsense.data.formats.header import Header, UnsupportedError

BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes, which tell the versions apart
_ENCODED = (1, 2)  # run lengths of 8 and 4 bits
_MAX_ENCODED = 1_000_000  # pixels: their decoder is slow


def read_bmp(data: bytes) -> Header:
    """The header of a BMP file.

    Raises: struct.error: damaged. UnsupportedError: run lengths of many pixels.
    """
    start, header = struct.unpack_from("<II", data, 10)
    if header == BMP_HEADERS[0]:
        width, height, _, bits = struct.unpack_from("<4H", data, 18)
        return _plain(data, start, width, height, bits)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    width, height = width & 0xFFFFFFFF, abs(height)  # a negative width is refused as a huge one
    if compression not in _ENCODED:
        return _plain(data, start, width, height, bits)
    if width * height > _MAX_ENCODED:
        raise UnsupportedError(f"a run-length encoded BMP picture of {width} x {height} pixels")
    longest = 3 * (width + 2) * (height + 1)  # a run for each pixel, and line ends
    return Header(width, height, data[: start + longest])


def _plain(data: bytes, start: int, width: int, height: int, bits: int) -> Header:
    """The header of one whose rows follow each other, each of whole 32-bit words."""
    end = start + (width * bits + 31) // 32 * 4 * height
    return Header(width, height, data[:end], part=data if len(data) < end else None)
