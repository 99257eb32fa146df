"""WEBP files, also animated ones: the first frame counts."""

import struct

from postsense.data.formats.header import MAX_PARTS, Header
from postsense.data.formats.orientation import orientation_of

_HAS_XMP, _HAS_EXIF = 4, 8  # flags of the extended header


def read_webp(data: bytes) -> Header:
    """The header of a WEBP file; the size is that of the canvas, which decoders allocate.

    Raises: ValueError, struct.error: damaged.
    """
    width, height = _size(data)
    metadata, frames, at = dict[bytes, bytes](), 0, 12
    for _ in range(MAX_PARTS):
        kind, length = data[at : at + 4], data[at + 4 : at + 8]
        if len(length) < 4:
            break
        end = at + 8 + int.from_bytes(length, "little")
        frames += kind == b"ANMF"
        if kind in (b"EXIF", b"XMP "):
            metadata.setdefault(kind, data[at + 8 : end])
        at = end + end % 2
    else:
        raise ValueError(f"more than {MAX_PARTS} chunks")
    flags = data[20] if data[12:16] == b"VP8X" else 0
    exif = metadata.get(b"EXIF") if flags & _HAS_EXIF else None
    xmp = metadata.get(b"XMP ") if flags & _HAS_XMP else None
    turned = orientation_of(exif, xmp)
    return Header(width, height, data, frames=max(frames, 1), orientation=turned)


def _size(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":  # 24 bits each, less one
        return _uint24(data, 24) + 1, _uint24(data, 27) + 1
    if data[12:16] == b"VP8L":  # lossless: 14 bits each, less one
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _uint24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")
