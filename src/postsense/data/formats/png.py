"""PNG files, also animated ones: the default picture counts."""

import zlib

from postsense.data.formats.header import Header
from postsense.data.formats.orientation import orientation_of

_PALETTE = 3  # kind of colors, in the header's tenth byte
_MAX_CHUNKS = 500_000
_MAX_UNPACKED = 1 << 20  # of metadata
_EXIF, _XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"


def read_png(data: bytes) -> Header:
    """The header of a PNG file; its data has the default picture alone, no text and no profile.

    Raises: ValueError, LookupError: damaged.
    """
    kept, metadata = [data[:8]], dict[bytes, bytes]()
    frames, is_first, has_pixels, is_whole, at = 0, False, False, False, 8
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data) or is_whole:
            break
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        body = data[at + 8 : end - 4]
        if kind[:1].isupper() or kind == b"tRNS":
            kept.append(data[at:end])
            has_pixels |= kind == b"IDAT"
            is_whole = kind == b"IEND"
        else:
            _refuse_damaged(data[at:end], has_pixels)
            metadata.update(_metadata(kind, body))
        if kind == b"acTL":
            frames = int.from_bytes(body[:4], "big")
        is_first |= kind == b"fcTL" and not has_pixels  # the default picture is of the animation
        at = end
    else:
        raise ValueError(f"more than {_MAX_CHUNKS} chunks")
    if data[25] == _PALETTE and not any(part[4:8] == b"PLTE" for part in kept):
        raise ValueError("no palette")
    picture = b"".join(kept)
    return Header(
        int.from_bytes(data[16:20], "big"),
        int.from_bytes(data[20:24], "big"),
        data=picture,
        frames=frames if is_first else frames + 1,
        orientation=orientation_of(metadata.get(_EXIF), metadata.get(_XMP)),
        part=None if is_whole else picture,
    )


def _refuse_damaged(chunk: bytes, has_pixels: bool) -> None:
    """Refuse a wrong checksum before the pixels, since a chunk that says of them may be renamed."""
    if not has_pixels and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise ValueError(f"bad checksum in {chunk[4:8]!r}")


def _metadata(kind: bytes, body: bytes) -> dict[bytes, bytes]:
    """EXIF or XMP under the keyword of the text that holds it; nothing in another chunk."""
    if kind == b"eXIf":
        return {_EXIF: body}
    keyword, _, rest = body.partition(b"\0")
    if keyword not in (_EXIF, _XMP) or kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return {}
    is_packed = kind == b"zTXt"
    if kind == b"iTXt":
        is_packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    elif is_packed:
        rest = rest[1:]
    text = zlib.decompressobj().decompress(rest, _MAX_UNPACKED) if is_packed else rest
    if keyword == _EXIF:  # ImageMagick's: name and length, then hexadecimal digits
        text = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    return {keyword: text}
