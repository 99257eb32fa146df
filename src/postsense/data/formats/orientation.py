"""EXIF and XMP of a picture file → how it must be turned to be upright."""

import re
import struct

UPRIGHT = 1
_TAG = 0x0112
_INTEGERS = {3: "H", 4: "L", 8: "h", 9: "l"}  # TIFF's type numbers: short, long, signed ones
_EXIF = b"Exif\0\0"
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation_of(exif: bytes | None, xmp: bytes | None = None) -> int:
    """The orientation, 1 to 8, that EXIF names or, where it names none, XMP; else 1.

    Damaged metadata says nothing of the pixels: 1.
    """
    try:
        found = None if exif is None else _in_exif(exif)
    except (struct.error, ValueError):
        return UPRIGHT
    if found is None and xmp is not None:
        match = _IN_XMP.search(xmp)
        found = None if match is None else int(match[1])
    return found if found is not None and 1 <= found <= 8 else UPRIGHT


def _in_exif(exif: bytes) -> int | None:
    """The orientation in the first directory; of several entries the last one counts."""
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    if exif[:2] not in (b"II", b"MM") or 42 not in exif[2:4]:
        raise ValueError("no TIFF header")
    order = "<" if exif[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}L", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    entries = exif[start + 2 : start + 2 + 12 * count]
    found = None
    for tag, kind, values, place in struct.iter_unpack(
        f"{order}HHL4s", entries[: len(entries) // 12 * 12]
    ):
        if tag == _TAG and values == 1 and kind in _INTEGERS:
            (found,) = struct.unpack_from(order + _INTEGERS[kind], place)
    return found
