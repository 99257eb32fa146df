"""TIFF files, also those of several pages: the first page counts."""

import struct
from dataclasses import dataclass

from postsense.data.formats.header import MAX_COUNTED, Header, UnsupportedError

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _ROWS, _PLANES, _SAMPLE_FORMAT = 273, 277, 278, 284, 339
_TILE_WIDTH, _TILE_HEIGHT, _TILES = 322, 323, 324
_METADATA = (34665, 34853, 40965)  # directories of EXIF, of the place, of what other programs need
_INTEGERS = {1: "B", 3: "H", 4: "L", 16: "Q"}  # TIFF's type numbers
_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}  # none, fax, LZW, JPEG, Deflate, PackBits
_JPEG, _JPEG_SCAN = 7, b"\xff\xda"
_COLORS = (0, 1, 2, 3, 5, 6)  # grey, RGB, palette, CMYK, YCbCr
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_MAX_TILE = 16_000_000  # pixels, which a decoder allocates however small the picture is
_MAX_ENTRIES = 1000  # of a directory
_MAX_VALUES = 16  # of a tag that is read


def read_tiff(data: bytes) -> Header:
    """The header of a TIFF file; its decoder turns the picture upright.

    Raises: ValueError, LookupError, struct.error: damaged. UnsupportedError: a compression, or
        numbers of which it is not known what is white.
    """
    layout = _layout(data)
    page = _read_directory(data, layout, layout.first)
    width, height = page.number(_WIDTH), page.number(_HEIGHT)
    compression = page.number(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise UnsupportedError(f"a TIFF picture of compression {compression}")
    _refuse_unclear_white(page)
    pixels = _refuse_many_parts(page, width, height)
    scans = data.count(_JPEG_SCAN) if compression == _JPEG else 1
    return Header(
        width,
        height,
        _without_metadata(data, layout),
        frames=_count_pages(data, layout, page.following),
        passes=-(-scans * pixels // max(width * height, 1)),
    )


@dataclass(frozen=True)
class _Layout:
    """Byte order, form of an offset, and where the first directory begins."""

    order: str
    offset: str
    first: int

    @property
    def size(self) -> int:
        """The bytes of an offset."""
        return 8 if self.offset == "Q" else 4

    def unpack(self, form: str, data: bytes, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, data, at)


def _layout(data: bytes) -> _Layout:
    order, is_big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    offset = "Q" if is_big else "L"
    return _Layout(order, offset, *struct.unpack_from(order + offset, data, 8 if is_big else 4))


@dataclass(frozen=True)
class _Directory:
    """The entries of a page, by tag: type, count and value or its place. following: of the next."""

    data: bytes
    layout: _Layout
    entries: dict[int, tuple[int, int, bytes]]
    following: int

    def count(self, tag: int) -> int:
        """How many values a tag has."""
        return self.entries[tag][1] if tag in self.entries else 0

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The first values of a tag, or the default if it is not there."""
        if tag not in self.entries:
            return default
        kind, count, place = self.entries[tag]
        form = f"{min(count, _MAX_VALUES)}{_INTEGERS[kind]}"
        if struct.calcsize(f"={_INTEGERS[kind]}") * count <= len(place):
            return self.layout.unpack(form, place, 0)
        return self.layout.unpack(
            form, self.data, *self.layout.unpack(self.layout.offset, place, 0)
        )

    def number(self, tag: int, default: int | None = None) -> int:
        """The one value of a tag, or the default. Raises: ValueError: none, or several."""
        found = self.numbers(tag, () if default is None else (default,))
        if len(found) != 1:
            raise ValueError(f"{len(found)} values of tag {tag}")
        return found[0]


def _read_directory(data: bytes, layout: _Layout, at: int) -> _Directory:
    begin, end = _span(data, layout, at)
    entry = struct.Struct(f"{layout.order}HH{layout.offset}{layout.size}s")
    found = [*entry.iter_unpack(data[begin:end])]
    entries = {tag: (kind, count, place) for tag, kind, count, place in found}
    if len(entries) < len(found):
        raise ValueError("a tag twice")
    return _Directory(data, layout, entries, *layout.unpack(layout.offset, data, end))


def _without_metadata(data: bytes, layout: _Layout) -> bytes:
    """The file with tags of no meaning in the place of those that lead to metadata."""
    changed, size = bytearray(data), 4 + 2 * layout.size
    for at in range(*_span(data, layout, layout.first), size):
        if layout.unpack("H", data, at)[0] in _METADATA:
            struct.pack_into(layout.order + "H", changed, at, 65_000 + at // size % 500)
    return bytes(changed) if changed != data else data


def _span(data: bytes, layout: _Layout, at: int) -> tuple[int, int]:
    """Where the entries of the directory at a place begin and end."""
    counted = "Q" if layout.size == 8 else "H"
    (count,) = layout.unpack(counted, data, at)
    begin = at + struct.calcsize("=" + counted)
    end = begin + (4 + 2 * layout.size) * count
    if end > len(data) or count > _MAX_ENTRIES:
        raise ValueError(f"a directory of {count} entries")
    return begin, end


def _refuse_unclear_white(page: _Directory) -> None:
    """Refuse numbers of which it is not known which is black and which is white."""
    bits, photometric = max(page.numbers(_BITS, (1,))), page.number(_PHOTOMETRIC, 0)
    kind = max(page.numbers(_SAMPLE_FORMAT, (_UNSIGNED,)))
    if photometric not in _COLORS:
        raise UnsupportedError(f"a TIFF picture of colors {photometric}")
    if kind != _UNSIGNED or bits not in (1, 2, 4, 8, 16):
        raise UnsupportedError(f"a TIFF picture of {bits}-bit samples in format {kind}")
    if bits == 16 and photometric == _WHITE_IS_ZERO:
        raise UnsupportedError("a TIFF picture of 16-bit samples, 0 being white")


def _refuse_many_parts(page: _Directory, width: int, height: int) -> int:
    """The pixels of a strip or tile; refuses more of them than cover the picture, or large ones."""
    across, down, tag = width, min(page.number(_ROWS, height), height), _STRIPS
    if page.entries.keys() & {_TILE_WIDTH, _TILE_HEIGHT, _TILES}:
        across, down, tag = page.number(_TILE_WIDTH), page.number(_TILE_HEIGHT), _TILES
        if across * down > _MAX_TILE or _STRIPS in page.entries:
            raise ValueError(f"tiles of {across} x {down}")
    planes = page.number(_SAMPLES, 1) if page.number(_PLANES, 1) == 2 else 1
    needed = -(-width // across) * -(-height // down) * planes
    if page.count(tag) > needed:
        raise ValueError(f"{page.count(tag)} parts instead of {needed}")
    return across * down


def _count_pages(data: bytes, layout: _Layout, following: int) -> int:
    """How many pages there are, as far as the file is sound, up to MAX_COUNTED."""
    seen = {0, layout.first}
    while following not in seen and len(seen) <= MAX_COUNTED:
        seen.add(following)
        try:
            (following,) = layout.unpack(layout.offset, data, _span(data, layout, following)[1])
        except (ValueError, struct.error):
            break
    return len(seen) - 1
