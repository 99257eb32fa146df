"""The pixel store: pictures decoded once to 8 bits, on disk, found again by content."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from postsense.arrays import Array
from postsense.data.images import PicturePolicy, decode_picture, identity_of, read_picture
from postsense.encoders.encode import Files, keep_files
from postsense.encoders.open_stores import OpenStores
from postsense.encoders.shards import ShardStore
from postsense.errors import PictureError
from postsense.posts import Posts
from postsense.progress import Progress, silent

BATCH = 8  # pictures a thread decodes at a time


class PixelStore(ShardStore[Array]):
    """Pictures under one policy, memory-mapped. Its shards hold `pixels` (n, H, W, 3).

    They are uint8, or float32 where an encoder's own steps have scaled them.
    """

    def __init__(self, folder: Path, policy: PicturePolicy) -> None:
        super().__init__(folder)
        self.size_px = policy.size_px
        self.dtype = np.uint8 if policy.own is None else np.float32

    def compact(self, item: Array) -> Array:
        """The picture in memory of its own."""
        return item.copy()

    def parts_of(self, items: Sequence[Array]) -> dict[str, Array]:
        """The array of a shard of these pictures."""
        return {"pixels": np.stack(items)}

    def pixels(self, rows: Array) -> Array:
        """Pictures (n, H, W, 3) of these rows; zeros for row -1."""
        values = np.zeros((len(rows), *self.size_px, 3), dtype=self.dtype)
        for shard, selected, local in self.by_shard(rows):
            values[selected] = shard["pixels"][local]
        return values


@dataclass(frozen=True)
class DecodedPictures:
    """Pictures of N posts. rows: (N,) int64 in the store, -1 where a post has none of use.

    broken: by position, why a picture cannot be used.
    """

    store: PixelStore
    rows: Array
    broken: dict[int, PictureError]


def decode_pictures(
    posts: Posts,
    policy: PicturePolicy,
    cache: Path,
    *,
    threads: int,
    progress: Progress = silent,
    stores: OpenStores | None = None,
) -> DecodedPictures:
    """The posts' pictures as pixels; only pictures that were never seen are decoded.

    cache: folder of what is kept; a picture of 224 px takes 147 KiB there, or four times as much
        where an encoder's own steps have scaled it.
    stores: those that stay open; None: the store is opened.
    """

    def decode(paths: Sequence[str]) -> list[Array | PictureError]:
        return [_decode(path, policy) for path in paths]

    def read(path: str) -> bytes:
        return identity_of(read_picture(path), path, policy)

    def opened(folder: Path) -> PixelStore:
        return PixelStore(folder, policy)

    folder = cache / "pixels" / policy.key
    store = opened(folder) if stores is None else stores.of(folder, opened, len(posts))
    files = Files("image", "decode pictures", read, decode, BATCH)
    rows, broken = keep_files(posts, files, store, threads=threads, progress=progress)
    return DecodedPictures(store, rows, broken)


def _decode(path: str, policy: PicturePolicy) -> Array | PictureError:
    try:
        return decode_picture(read_picture(path), path, policy)
    except PictureError as error:
        return error
