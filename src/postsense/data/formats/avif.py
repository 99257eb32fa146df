"""AVIF files, also animated ones: the first frame counts."""

from collections.abc import Iterator

from postsense.data.formats.header import Header, UnsupportedError

_BRANDS = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevx"}
_METADATA = (b"meta", b"moov")


def read_avif(data: bytes) -> Header:
    """The data of an AVIF file without its EXIF; its decoder tells the size before it decodes.

    How a picture is to be turned stands outside EXIF, which may be made to take any memory.

    Raises: UnsupportedError: the container has another kind of picture in it, or a video.
    """
    brands = _brands(data)
    if not brands & _BRANDS:
        raise UnsupportedError("a HEIC picture" if brands & _HEIC else "a HEIC or video file")
    parts, at = [], 0
    for kind, begin, end in _boxes(data):
        part = data[begin:end]
        parts += [data[at:begin], part.replace(b"Exif", b"free") if kind in _METADATA else part]
        at = end
    return Header(0, 0, b"".join([*parts, data[at:]]), frames=0, orientation=0)


def _brands(data: bytes) -> set[bytes]:
    end = min(int.from_bytes(data[:4], "big"), 1024)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the outer boxes."""
    at = 0
    for _ in range(100):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:  # 64 bits of it follow
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        end = at + size if size else len(data)
        if len(kind) < 4 or size in range(1, 8) or end > len(data):
            return
        yield kind, at, end
        at = end
