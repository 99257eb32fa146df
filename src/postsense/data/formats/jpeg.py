"""JPEG files, also those of phones that hold several pictures (MPO): the first picture counts."""

import re
from collections.abc import Iterator

from postsense.data.formats.header import MAX_PARTS, Header
from postsense.data.formats.orientation import orientation_of

_MARKER = re.compile(rb"\xff+([\x02-\xcf\xd8-\xfe])")  # but for stuffed bytes and restarts
_START_CODE, _END_CODE, _SCAN = 0xD8, 0xD9, 0xDA
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the three are tables
_APPLICATION, _METADATA, _COMMENT = range(0xE0, 0xF0), 0xE1, 0xFE
_COLORS = (0xE0, 0xEE)  # JFIF and Adobe: what the numbers are colors of
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_END = b"\xff\xd9"  # after a file that is cut short: a decoder paints grey what it lacks
_MAX_EXIF = 1 << 20


def read_jpeg(data: bytes) -> Header:
    """The header of a JPEG file; its data has no metadata.

    Raises: ValueError: damaged.
    """
    kept, exif, xmp, size = [data[:2]], b"", None, (0, 0)
    for code, begin, end in _segments(data, 2):
        if code == _SCAN:
            break
        if code == _END_CODE or end > len(data):
            raise ValueError("no picture in it")
        body = data[end - _length(data, begin + 2) + 2 : end]
        if code in _SIZES:
            size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
        elif code == _METADATA and body.startswith(_EXIF) and len(exif) < _MAX_EXIF:
            exif += body.removeprefix(_EXIF)
        elif code == _METADATA and body.startswith(_XMP):
            xmp = body.removeprefix(_XMP)
        if code in _COLORS or not (code in _APPLICATION or code == _COMMENT):
            kept.append(data[begin:end])
    else:
        raise ValueError("no picture in it")
    passes, cut = _scans(data, begin)
    tables = b"".join(kept)
    return Header(
        *size,
        data=tables + data[begin:],
        orientation=orientation_of(exif or None, xmp),
        passes=passes,
        part=None if cut is None else tables + data[begin:cut] + _END,
    )


def _scans(data: bytes, start: int) -> tuple[int, int | None]:
    """How many scans follow; in a file that is cut short, where its last whole segment ends."""
    count = 0
    for code, begin, end in _segments(data, start):
        if code == _END_CODE:
            return count, None
        if end > len(data):
            return count, begin
        count += code == _SCAN
    return count, len(data)


def _segments(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Code, begin and end of each segment; its end may be beyond that of the file."""
    for _ in range(MAX_PARTS):
        match = _MARKER.search(data, at)
        if match is None:
            return
        code, at = match[1][0], match.end()
        if code == _START_CODE:
            continue
        begin = at - 2
        at += 0 if code == _END_CODE else max(_length(data, at), 2)
        yield code, begin, at
    raise ValueError(f"more than {MAX_PARTS} segments")


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
