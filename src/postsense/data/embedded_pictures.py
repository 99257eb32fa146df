"""Pictures that are inside a table → files named by their content, kept in the cache folder."""

import binascii
import hashlib
import os
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from postsense.config import EncoderSettings
from postsense.data.images import MAX_BYTES
from postsense.errors import DataError

FOLDER = "pictures"
_ENDINGS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"RIFF", ".webp"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_STRUCT = {"bytes", "path"}


class PictureKeeper:
    """Writes pictures of a table below `<cache>/pictures`; equal ones are one file."""

    def __init__(self, cache: Path | None) -> None:
        """cache: None: the default one, which is not looked for before there is a picture."""
        self.cache = cache

    def path_of(self, value: Any) -> str | None:
        """The file of the picture in a cell; None if the cell is no picture, but a path say.

        Bytes are kept as they are, whatever they are; pixels as PNG, which loses nothing.
        Raises: DataError: the cache folder cannot be written to.
        """
        if isinstance(value, Image.Image) and _is_its_file(value):
            return str(Path(value.filename).absolute())  # type: ignore[attr-defined]
        data = _bytes_of(value)
        return None if data is None else self._keep(data)

    def _keep(self, data: bytes) -> str:
        folder = EncoderSettings(cache=self.cache).cache_folder / FOLDER
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        path = folder / digest[:2] / f"{digest}{_ending(data)}"
        try:
            if not (path.is_file() and path.stat().st_size == len(data)):
                _write(path, data)
        except OSError as error:
            fix = "Name another folder in POSTSENSE_CACHE, or in encoders.cache."
            expected = "a folder to keep the table's pictures in"
            raise DataError(folder, expected, error.strerror or str(error), fix) from None
        return str(path.absolute())


def path_in_struct(value: Any) -> Any:
    """The path in a cell of Hugging Face's {bytes, path}; another cell as it is."""
    is_struct = isinstance(value, Mapping) and value.keys() <= _STRUCT
    return value.get("path") if is_struct else value


def _bytes_of(value: Any) -> bytes | None:
    """The bytes of the picture that a cell holds, None if it holds none."""
    if isinstance(value, Mapping) and value.keys() <= _STRUCT:
        inner = value.get("bytes")
        return _decoded(inner) if isinstance(inner, str) else _bytes_of(inner)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, BytesIO):
        return value.getvalue()
    if isinstance(value, Image.Image):
        return _png(value)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3):
        return _png_of_array(value)
    if isinstance(value, str) and value[:11].lower() == "data:image/":
        head, _, data = value.partition(",")
        return _decoded(data) if head.endswith(";base64") else None
    return None


def _decoded(text: str) -> bytes:
    """The bytes that base64 stands for; other text as it is, which is no picture then."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode("utf-8", "replace")


def _is_its_file(image: Image.Image) -> bool:
    """Whether a picture that was opened from a file still shows what is in it."""
    name = getattr(image, "filename", "")
    if not (isinstance(name, str | os.PathLike) and name and Path(name).is_file()):
        return False
    try:
        with Image.open(name) as again:
            same = again.size == image.size and again.mode == image.mode
            return same and again.tobytes() == image.tobytes()
    except Exception:  # whatever a damaged file does to its decoder
        return False


def _png(image: Image.Image) -> bytes:
    """The picture as PNG, turned as its EXIF says when read; no picture if it cannot be decoded."""
    file = BytesIO()
    try:
        kept = _writable(image)
        kept.save(file, "PNG", compress_level=1, exif=image.getexif())
    except Exception as error:  # whatever a damaged file does to its decoder
        return f"not a whole picture: {error}".encode()
    return file.getvalue()


def _writable(image: Image.Image) -> Image.Image:
    """The picture in a mode that PNG has and that is read as the same levels."""
    if image.mode in _PNG_MODES:
        return image
    if image.mode == "I":
        return Image.fromarray(np.asarray(image).clip(0, 65535).astype(np.uint16))
    return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB")


def _png_of_array(pixels: np.ndarray[Any, Any]) -> bytes | None:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        return None
    return _png(Image.fromarray(np.ascontiguousarray(pixels))) if pixels.size else b""


def _ending(data: bytes) -> str:
    return next((ending for start, ending in _ENDINGS if data.startswith(start)), ".bin")


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all. Not forced to the disk, file by file: what is lost is written again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as stream:
            if len(data) <= MAX_BYTES:
                stream.write(data)
            else:
                stream.truncate(len(data))  # to be refused by its size, and to take up no space
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
