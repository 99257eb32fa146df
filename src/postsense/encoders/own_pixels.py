"""Pictures as a checkpoint's own image processor prepares them, and whether ours are the same."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from postsense.arrays import Array
from postsense.data.images import POLICY_VERSION, PicturePolicy, pixels_of_image
from postsense.encoders.pretrained import reason_of
from postsense.errors import EncoderError, PictureError

_SHAPES = ((90, 60), (61, 90), (77, 77), (24, 18))  # width and height of pictures to compare by
_TOLERANCE = 0.1 / 255  # of the range of values: a tenth of a level of grey
_LONGEST = 64  # longer side over shorter side; a processor may resize all of a picture


@dataclass(frozen=True)
class OwnPixels:
    """What a checkpoint's image processor makes of an upright RGB picture. key: names all of it."""

    processor: Any = field(compare=False)
    size_px: tuple[int, int]
    key: str

    def __call__(self, image: Image.Image, name: str) -> Array:
        """(H, W, 3) float32. Raises: PictureError: not of a picture that long."""
        if max(image.size) > _LONGEST * min(image.size):
            limit, found = f"a side at most {_LONGEST} times the other", f"{image.size}"
            raise PictureError(name, limit, found, "Cut it or drop the row.")
        return np.ascontiguousarray(np.moveaxis(_pixels(self.processor, image), 0, -1))


def agreed_policy(processor: Any, policy: PicturePolicy | None, folder: Path) -> PicturePolicy:
    """Our policy where it gives what the checkpoint's processor gives, else that processor.

    policy: what the processor's settings come to, None if that cannot be said.
    Deviation: pictures of a batch have one size, so that no post's result depends on the others'.
    ViLT's processor keeps the shape of a picture and pads; here its centre is cut out as a square.

    Raises: EncoderError: the processor gives anything but 3 colours at one size.
    """
    kind = type(processor).__name__
    square = kind.startswith("Vilt")
    pictures = [_noise(*shape) for shape in _SHAPES if not square or shape[0] == shape[1]]
    try:
        own = [_pixels(processor, picture) for picture in pictures]
    except Exception as error:  # processors of transformers raise anything
        raise _no_pixels(folder, f"'{kind}': {reason_of(error)}") from None
    shapes = sorted({pixels.shape for pixels in own})
    if len(shapes) > 1:
        sizes = " and ".join(f"{height} x {width}" for _, height, width in shapes[:2])
        raise _no_pixels(folder, f"'{kind}', whose sizes differ: {sizes}")
    if policy is not None and all(
        _same(pixels_of_image(picture, policy), pixels)
        for picture, pixels in zip(pictures, own, strict=True)
    ):
        return policy
    if square:
        raise _no_pixels(folder, f"'{kind}' with settings that are not those of ViLT")
    height, width = shapes[0][1:]
    return PicturePolicy(
        resize_px=height, crop_px=height, own=OwnPixels(processor, (height, width), _key(processor))
    )


def _pixels(processor: Any, image: Image.Image) -> Array:
    """(3, H, W) float32. Raises: ValueError: it gives something else, such as patches."""
    output = processor(image, return_tensors="np")
    pixels = np.asarray(output["pixel_values"])
    if pixels.ndim != 4 or pixels.shape[:2] != (1, 3):
        raise ValueError(f"pixels of shape {pixels.shape[1:]}, which are not (3, height, width)")
    if not np.asarray(output.get("pixel_mask", 1)).all():
        raise ValueError("padding, which the network has to be told of")
    values: Array = pixels[0].astype(np.float32)
    return values


def _noise(width: int, height: int) -> Image.Image:
    """Colours at random, of which no other way to resize or cut makes the same."""
    levels = np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(levels)


def _same(pixels: Array, own: Array) -> bool:
    allowed = _TOLERANCE * float(own.max() - own.min())
    return pixels.shape == own.shape and bool(np.abs(pixels - own).max() <= allowed)


def _key(processor: Any) -> str:
    settings = json.dumps([type(processor).__name__, processor.to_dict()], sort_keys=True)
    digest = hashlib.blake2b(settings.encode(), digest_size=16).hexdigest()
    return f"v{POLICY_VERSION}-own-{digest}"


def _no_pixels(folder: Path, found: str) -> EncoderError:
    return EncoderError(
        "encoders.image.name",
        "a checkpoint whose image processor gives 3 colours of every picture at one size",
        f"'{folder}' with {found}",
        "Name another checkpoint, or set one size in its preprocessor_config.json.",
    )
