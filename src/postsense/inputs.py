"""Posts → datasets: which modalities are read, encoded once or trained, and which rows are bad."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from postsense.batches import ImageInput, PixelColumn, PostDataset, TextInput, TokenColumn
from postsense.config import Config
from postsense.data.images import decode_picture, read_picture
from postsense.data.text import normalize_text
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.encoders.pretrained import image_checkpoint, text_checkpoint
from postsense.encoders.processors import load_tokenizer, picture_policy
from postsense.errors import DataError, PictureError
from postsense.posts import Posts
from postsense.progress import Progress, silent

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class BadRow:
    """A post that cannot be used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class PreparedPosts:
    """Posts with what a model reads of them. usable: (n,) positions of posts that are not bad."""

    posts: Posts
    text: TextInput | None
    image: ImageInput | None
    usable: Array
    bad: tuple[BadRow, ...]

    def dataset(self, rows: Array, classes: Sequence[str] | None = None) -> PostDataset:
        """The dataset of some rows, with class numbers if the classes are given."""
        if classes is None:
            return PostDataset(self.text, self.image, rows)
        number = {name: index for index, name in enumerate(classes)}
        names = self.posts.column("label")
        labels = np.array([number[names[row]] for row in rows], dtype=np.int64)
        return PostDataset(self.text, self.image, rows, labels)


def reads_text(config: Config) -> bool:
    """Whether the fusion reads words."""
    return config.fusion.name != "image_only"


def reads_image(config: Config) -> bool:
    """Whether the fusion reads pictures."""
    return config.fusion.name != "text_only"


def reads_tokens(config: Config) -> bool:
    """Whether the fusion reads sequences beside vectors."""
    return config.fusion.name == "cross_attention"


def pick_device(config: Config) -> torch.device:
    """The GPU if there is one and the settings allow it, else the CPU."""
    gpu = config.training.device == "auto" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def prepare_posts(posts: Posts, config: Config, progress: Progress = silent) -> PreparedPosts:
    """Encode what is frozen, tokenise what is trained, and find the rows that cannot be used.

    Raises: DataError: more than data.max_bad_fraction of the rows are bad.
    """
    text = _text_column(posts, config, progress) if reads_text(config) else None
    image, broken = None, dict[int, PictureError]()
    if reads_image(config):
        image, broken = _image_column(posts, config, progress)
    reasons = {row: str(error) for row, error in broken.items()}
    empty = ~(
        posts.table["text"].is_valid().to_numpy() | posts.table["image"].is_valid().to_numpy()
    )
    for row in np.flatnonzero(empty):
        reasons[int(row)] = "expected a text or a picture, found neither. Add one of them."
    _refuse_too_many(posts, reasons, config.data.max_bad_fraction)
    ids = posts.table["id"]
    bad = tuple(BadRow(ids[row].as_py(), reason) for row, reason in sorted(reasons.items()))
    usable = np.setdiff1d(np.arange(len(posts)), list(reasons))
    return PreparedPosts(posts, text, image, usable, bad)


def _text_column(posts: Posts, config: Config, progress: Progress) -> TextInput:
    settings = config.encoders
    if not settings.text.trainable:
        return encode_texts(
            posts,
            FrozenTextEncoder(settings, pick_device(config)),
            with_tokens=reads_tokens(config),
            threads=_threads(config),
            progress=progress,
        )
    tokenizer = load_tokenizer(text_checkpoint(settings), settings.text.max_length)
    texts = [normalize_text(text or "", settings.text.normalize) for text in posts.column("text")]
    ids = [row if text else [] for row, text in zip(tokenizer(texts), texts, strict=True)]
    return TokenColumn(ids, tokenizer.pad_id)


def _image_column(
    posts: Posts, config: Config, progress: Progress
) -> tuple[ImageInput, dict[int, PictureError]]:
    settings = config.encoders
    if not settings.image.trainable:
        return encode_pictures(
            posts,
            FrozenImageEncoder(settings, pick_device(config)),
            with_tokens=reads_tokens(config),
            threads=_threads(config),
            progress=progress,
        )
    policy, broken = picture_policy(image_checkpoint(settings)), dict[int, PictureError]()
    paths: list[str | None] = posts.column("image")
    for row, path in enumerate(paths):
        progress("check pictures", row + 1, len(paths))
        try:
            if path is not None:
                decode_picture(read_picture(path), path, policy)
        except PictureError as error:
            broken[row] = error
    return PixelColumn(paths, policy), broken


def _threads(config: Config) -> int:
    if pick_device(config).type != "cpu":
        return 1
    return config.encoders.threads or len(os.sched_getaffinity(0))


def _refuse_too_many(posts: Posts, reasons: Mapping[int, str], allowed: float) -> None:
    if len(reasons) <= allowed * len(posts):
        return
    row = min(reasons)
    raise DataError(
        posts.name,
        f"at most {allowed:.0%} unusable rows",
        f"{len(reasons)} of {len(posts)}, the first '{posts[row].id}': {reasons[row]}",
        "Run 'postsense check' for the whole list, or raise data.max_bad_fraction.",
    )
