"""An opened picture file → its pixels, whole or as far as they are there, upright and on white."""

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP_PIXELS = 1_000_000  # that are put on white at a time
_GREY: dict[str, float | tuple[float, ...]] = {
    "1": 255,
    "L": 128,
    "LA": (128, 255),
    "I;16": 32768,
    "RGB": (128, 128, 128),
    "RGBA": (128, 128, 128, 255),
    "CMYK": (0, 0, 0, 127),
}


def load_what_is_there(image: ImageFile) -> None:
    """Decode a picture whose file is cut short; what lacks is grey.

    Raises: OSError: it is damaged in another way, or nothing of it is there.
    """
    grey = _nearest_to_grey(image) if image.mode == "P" else _GREY[image.mode]
    image.im = Image.new(image.mode, image.size, grey).im
    try:
        image.load()
    except OSError as error:
        if "truncated" not in str(error):
            raise
        image.tile = []
    if all(low == high for low, high in np.reshape(image.getextrema(), (-1, 2))):
        raise OSError("nothing of the picture is there")


def _nearest_to_grey(image: Image.Image) -> int:
    assert image.palette is not None
    channels = len(image.palette.rawmode or image.palette.mode)
    colors = np.frombuffer(bytes(image.palette.palette), np.uint8).reshape(-1, channels)
    return int(np.abs(colors[:, :3].astype(int) - 128).sum(axis=1).argmin())


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned and mirrored as its EXIF orientation, 1 to 8, asks for."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def on_white(image: Image.Image) -> Image.Image:
    """The picture in RGB, what is transparent being white; worked on in strips, to spare memory."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    page = Image.new("RGB", image.size, "white")
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        _put_on(page, strip, top)
    return page


def _put_on(page: Image.Image, strip: Image.Image, top: int) -> None:
    if strip.mode in ("I", "I;16", "I;16B"):
        strip = _to_eight_bits(strip)
    if not strip.has_transparency_data:
        page.paste(strip.convert("RGB"), (0, top))
        return
    layers = strip.convert("RGBA")
    page.paste(layers, (0, top), mask=layers.getchannel("A"))


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey levels scaled to 8 bits; Pillow's own conversion may clip at 255."""
    levels = np.asarray(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        levels = np.where(levels == transparent, 65535, levels)
    eight_bits = (levels.clip(0, 65535).astype(np.float32) / 257).round()
    return Image.fromarray(eight_bits.astype(np.uint8))
