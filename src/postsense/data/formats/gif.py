"""GIF files, also animated ones: the first frame counts."""

import struct

from postsense.data.formats.header import MAX_COUNTED, Header

_MAX_BLOCKS = 1_000_000
_FRAME, _EXTENSION, _CONTROL, _END = 0x2C, 0x21, 0xF9, 0x3B


def read_gif(data: bytes) -> Header:
    """The header of a GIF file; its data ends with the first frame, and has no comments.

    The size is that of the canvas, grown by a first frame that reaches beyond it.

    Raises: ValueError, LookupError, struct.error: damaged.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    reader = _Reader(data, 13 + _palette_bytes(flags))
    kept, control = [data[: reader.at]], b""
    while data[reader.at] != _FRAME:
        if data[reader.at] == _END:
            raise ValueError("no picture in it")
        begin = reader.at
        reader.skip_other()
        if data[begin : begin + 2] == bytes([_EXTENSION, _CONTROL]) and data[begin + 3] & 1:
            control = b"\x21\xf9\x04" + data[begin + 3 : begin + 7] + b"\0"  # what is transparent
    begin = reader.at
    left, top, frame_width, frame_height = struct.unpack_from("<4H", data, begin + 1)
    is_whole = reader.skip_frame()
    kept += [control, data[begin : reader.at], b";" if is_whole else b""]
    picture = b"".join(kept)
    return Header(
        max(width, left + frame_width),
        max(height, top + frame_height),
        data=picture,
        frames=1 + reader.count_frames(),
        part=None if is_whole else picture,
    )


class _Reader:
    """A place in a file, which moves over its parts."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at, self.blocks = data, at, 0

    def skip_other(self) -> None:
        """Move over an extension, or over a byte that begins nothing."""
        if self.data[self.at] == _EXTENSION:
            self.at += 2
            self._skip_blocks()
        else:
            self.at += 1
            self._count_block()

    def skip_frame(self) -> bool:
        """Move over a frame; False, at the end of the file, if that comes before the frame's."""
        try:
            self.at += 11 + _palette_bytes(self.data[self.at + 9])
            self._skip_blocks()
        except IndexError:
            self.at = len(self.data)
            return False
        return True

    def count_frames(self) -> int:
        """How many frames follow, as far as the file is sound, up to MAX_COUNTED in all."""
        count = 0
        try:
            while count < MAX_COUNTED - 1 and self.data[self.at] != _END:
                if self.data[self.at] == _FRAME:
                    count += 1
                    self.skip_frame()
                else:
                    self.skip_other()
        except (IndexError, ValueError):
            return count
        return count

    def _skip_blocks(self) -> None:
        """Move over blocks that begin with their length, up to the empty one."""
        while length := self.data[self.at]:
            self.at += length + 1
            self._count_block()
        self.at += 1

    def _count_block(self) -> None:
        self.blocks += 1
        if self.blocks > _MAX_BLOCKS:
            raise ValueError(f"more than {_MAX_BLOCKS} blocks")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
