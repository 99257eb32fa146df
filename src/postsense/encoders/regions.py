"""Region features that another program computed: files of a column → picture features.

A file is a .safetensors with `features` (R, D) float, one row a region of the picture, and `boxes`
(R, 4) float in [0, 1]: left, top, right, bottom as shares of the picture's width and height. It
becomes R tokens [features | boxes] of width D + 4, and their mean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from postsense.config import EncoderSettings
from postsense.data.images import read_picture
from postsense.encoders.encode import Files, feature_store, keep_files
from postsense.encoders.features import Encoded, FeatureColumn, FeatureStore
from postsense.encoders.frozen import FrozenImageEncoder
from postsense.encoders.open_stores import OpenStores
from postsense.encoders.shards import content_key
from postsense.errors import PictureError
from postsense.posts import Posts
from postsense.progress import Progress, silent

REGIONS = "regions"  # the name in encoders.image, and of the column
MAX_REGIONS = 256
BOX = 4  # left, top, right, bottom
_VERSION = 1  # raise when the same file gives other tokens: kept features become stale
_BATCH = 16  # files a thread reads at a time
_LOOKED_AT = 64  # files that decide how wide features are
_ANEW = "Write the file again, or drop the row."


def encode_regions(
    posts: Posts,
    cache: Path,
    *,
    with_tokens: bool,
    threads: int,
    progress: Progress = silent,
    stores: OpenStores | None = None,
) -> tuple[FeatureColumn, dict[int, PictureError]]:
    """The region features of the posts, and by position those that cannot be used.

    No picture is read. D is the commonest among the first sound files; one that has another cannot
    be used, nor can a post that has a picture and names no file. Half precision is kept.

    Args:
        cache: folder of what is kept. stores: those that stay open; None: the store is opened.
    """
    usual = _usual_file(posts)
    width = 0 if usual is None else usual.width
    key = f"{REGIONS}-v{_VERSION}-{width}"
    store = feature_store(cache, key, stores, len(posts), with_tokens=with_tokens)
    files = Files(REGIONS, "read regions", _read, partial(_encode_files, usual=usual), _BATCH)
    rows, bad = keep_files(posts, files, store, threads=threads, progress=progress)
    if usual is None:
        _stand_in(store)
    bad.update(_lacking(posts))
    return FeatureColumn(store, rows), bad


def image_key(settings: EncoderSettings, device: torch.device) -> str:
    """Names all that decides the features of pictures: a frozen encoder, or the form of regions.

    Raises: EncoderError: the encoder cannot be found.
    """
    if settings.image.name == REGIONS:
        return f"{REGIONS}-v{_VERSION}"
    return FrozenImageEncoder(settings, device).key


def parse_regions(data: bytes, name: str) -> Tensor:
    """The tokens [features | boxes], (R, D + 4) float32, in the bytes of a .safetensors file.

    Args:
        name: where the bytes came from, for messages.
    Raises: PictureError: not such a file, or its tensors are not as the module says.
    """
    try:
        tensors = load(data)
    except Exception as error:  # the bytes are a stranger's
        expected = "a .safetensors file of region features"
        raise PictureError(
            name, expected, f"a damaged or other file ({_reason(error)})", _ANEW
        ) from None
    missing = sorted({"features", "boxes"} - set(tensors))
    if missing:
        expected = "the tensors 'features' and 'boxes'"
        raise PictureError(name, expected, f"no {missing}", _ANEW)
    features, boxes = tensors["features"], tensors["boxes"]
    _refuse_ill_shaped(features, boxes, name)
    features, boxes = features.float(), boxes.float()
    if not torch.isfinite(features).all():
        raise PictureError(name, "finite features", "infinite ones or NaN", _ANEW)
    if not ((boxes >= 0) & (boxes <= 1)).all():  # NaN too
        lowest, highest = float(boxes.min()), float(boxes.max())
        expected = "boxes in [0, 1], as shares of the picture's width and height"
        raise PictureError(name, expected, f"{lowest:.4g} to {highest:.4g}", _ANEW)
    return torch.cat([features, boxes], dim=1)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _refuse_ill_shaped(features: Tensor, boxes: Tensor, name: str) -> None:
    shape = tuple(features.shape)
    if len(shape) != 2 or not 1 <= shape[0] <= MAX_REGIONS or not shape[1]:
        expected = f"features of shape (R, D) with R from 1 to {MAX_REGIONS}, the regions"
        raise PictureError(name, expected, f"{shape}", _ANEW)
    if tuple(boxes.shape) != (shape[0], BOX):
        expected = f"boxes of shape {(shape[0], BOX)}, one for each row of features"
        raise PictureError(name, expected, f"{tuple(boxes.shape)}", _ANEW)
    for part, tensor in (("features", features), ("boxes", boxes)):
        if not tensor.is_floating_point():
            found = str(tensor.dtype).removeprefix("torch.")
            raise PictureError(name, f"{part} of floating point", found, _ANEW)


@dataclass(frozen=True)
class _Usual:
    """A file of the width D that all must have."""

    path: str
    width: int


def _usual_file(posts: Posts) -> _Usual | None:
    """The first file of the commonest width, the earliest of equally common ones."""
    of_width: dict[int, list[str]] = {}
    for path in islice(_paths(posts), _LOOKED_AT):
        try:
            width = parse_regions(_read(path), path).shape[1] - BOX
            of_width.setdefault(width, []).append(path)
        except PictureError:
            continue  # told by keep_files, which comes to it too
    if not of_width:
        return None
    width = max(of_width, key=lambda width: len(of_width[width]))
    return _Usual(of_width[width][0], width)


def _paths(posts: Posts) -> Iterator[str]:
    for batch in posts.table.select([REGIONS]).to_batches(max_chunksize=64):
        yield from (path for path in batch[REGIONS].to_pylist() if path is not None)


def _read(path: str) -> bytes:
    try:
        return read_picture(path)
    except PictureError as error:
        expected = "a file of region features"
        if "MiB" in error.expected:
            expected = f"{expected}, {error.expected}"
        raise PictureError(path, expected, error.found, "Check the path, or write it.") from None


def _encode_files(paths: Sequence[str], usual: _Usual | None) -> list[Encoded | PictureError]:
    return [_encode(path, usual) for path in paths]


def _encode(path: str, usual: _Usual | None) -> Encoded | PictureError:
    try:
        tokens = parse_regions(_read(path), path)
    except PictureError as error:
        return error
    width = tokens.shape[1] - BOX
    if usual is not None and width != usual.width:
        expected = f"features {usual.width} wide, as in '{usual.path}'"
        return PictureError(path, expected, f"{width} wide", "Take all from one detector.")
    return Encoded(tokens.mean(dim=0).numpy(), tokens.numpy())


def _lacking(posts: Posts) -> dict[int, PictureError]:
    """By position, the posts that have a picture but no file of its regions."""
    shown = posts.table["image"].is_valid().to_numpy()
    given = posts.table[REGIONS].is_valid().to_numpy()
    errors = {}
    for row in np.flatnonzero(shown & ~given):
        errors[int(row)] = PictureError(
            posts.table["image"][int(row)].as_py(),
            f"region features of this picture in the column '{REGIONS}'",
            "none",
            "Name their file (see data.columns.regions), or leave the picture out.",
        )
    return errors


def _stand_in(store: FeatureStore) -> None:
    """One number for posts that all lack regions: it broadcasts to the width a model expects."""
    if not store.shards:
        nothing = Encoded(np.zeros(1, np.float32), np.zeros((1, 1), np.float32))
        store.append(np.array([content_key(b"")], dtype=np.uint64), [nothing])
