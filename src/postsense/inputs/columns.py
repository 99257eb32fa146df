"""Each input of posts → the column that makes batches of it, and hint comments likewise.

`registry.inputs` names the function of each input.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from postsense.arrays import Array
from postsense.config import Config, ImageEncoderSettings
from postsense.encoders.attributes import attribute_words
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.open_encoders import OpenEncoders
from postsense.encoders.pixels import decode_pictures
from postsense.encoders.pretrained import cache_folder
from postsense.encoders.reading import TextReader
from postsense.encoders.regions import REGIONS, encode_regions
from postsense.errors import PictureError
from postsense.inputs.batches import (
    CommentColumn,
    InputColumn,
    PixelColumn,
    TextInput,
    TokenColumn,
)
from postsense.parallel.device import pick_device
from postsense.parallel.processes import available_cores
from postsense.posts import Posts, posts_of_texts
from postsense.progress import Progress, silent
from postsense.retrieval.comments import Hint, Hints

_ATTRIBUTE_BATCH = 4096


@dataclass(frozen=True)
class Preparation:
    """The posts that are prepared, by which settings and with which encoders."""

    posts: Posts
    config: Config
    encoders: OpenEncoders
    progress: Progress = silent

    @property
    def cores(self) -> int:
        """CPU threads that encode."""
        return self.config.encoders.threads or available_cores()

    @property
    def threads(self) -> int:
        """Threads that share a frozen encoder: a GPU takes one batch at a time."""
        return self.cores if pick_device(self.config.training).type == "cpu" else 1


Broken = Mapping[int, PictureError]
Prepare = Callable[[str, Preparation], tuple[InputColumn, Broken]]
"""Makes the column of an input by its name, and says which rows cannot be used."""


def text_column(name: str, preparation: Preparation) -> tuple[InputColumn, Broken]:
    """The words of the posts."""
    return text_input(preparation, preparation.posts), {}


def words_column(name: str, preparation: Preparation) -> tuple[InputColumn, Broken]:
    """More words, of a column of strings."""
    return text_input(preparation, posts_of_texts(preparation.posts.column(name), "words")), {}


def image_column(name: str, preparation: Preparation) -> tuple[InputColumn, Broken]:
    """The pictures of the posts, or features of their regions."""
    posts, config, opened = preparation.posts, preparation.config, preparation.encoders
    settings, with_tokens = config.encoders, config.fusion.declared.sequences
    cache, progress = cache_folder(settings), preparation.progress
    how: Any = {"threads": preparation.cores, "progress": progress, "stores": opened.stores}
    if settings.image.declared.column == REGIONS:
        return encode_regions(posts, cache, with_tokens=with_tokens, **how)
    if not settings.image.runs_inside:
        encoder = opened.image(settings, pick_device(config.training), config.data.truncated)
        threads = preparation.threads
        return encode_pictures(
            posts, encoder, with_tokens=with_tokens, threads=threads, progress=progress
        )
    policy = replace(opened.policy(settings), truncated=config.data.truncated)
    pictures = decode_pictures(posts, policy, cache, **how)
    return PixelColumn(pictures.store, pictures.rows, policy), pictures.broken


def attribute_column(name: str, preparation: Preparation) -> tuple[InputColumn, Broken]:
    """Words for each picture: the table's, else the likeliest ImageNet classes."""
    words: list[list[str] | None] = preparation.posts.column(name)
    if preparation.config.encoders.image.declared.column == "image":  # else none are read
        _name_pictures(words, preparation)
    joined = posts_of_texts([" ".join(given or ()) or None for given in words], "words")
    return text_input(replace(preparation, progress=silent), joined), {}


def text_input(
    preparation: Preparation, posts: Posts, *, with_tokens: bool | None = None
) -> TextInput:
    """The texts of posts. with_tokens: whether as sequences too, None: if the fusion reads them."""
    config, opened, settings = preparation.config, preparation.encoders, preparation.config.encoders
    if not settings.text.runs_inside:
        tokens = config.fusion.declared.sequences if with_tokens is None else with_tokens
        return encode_texts(
            posts,
            opened.text(settings, pick_device(config.training)),
            with_tokens=tokens,
            threads=preparation.threads,
            progress=preparation.progress,
        )
    tokenizer = opened.tokenizer(settings)
    texts = TextReader(settings.text, lambda: tokenizer)(posts.column("text"))
    ids = [row if text else [] for row, text in zip(tokenizer(texts), texts, strict=True)]
    return TokenColumn(ids, tokenizer.pad_id)


def comment_column(hints: Hints, preparation: Preparation) -> CommentColumn:
    """The comments that posts are read with, each text once; posts beyond those given have none."""
    texts: dict[str, int] = {}
    count, posts = preparation.config.comments.count, len(preparation.posts)

    def rows_of(given: Sequence[Sequence[Hint]]) -> Array:
        rows = np.full((posts, count), -1, dtype=np.int64)
        for post, some in enumerate(given):
            for place, hint in enumerate(some[:count]):
                rows[post, place] = texts.setdefault(hint.text, len(texts))
        return rows

    rows = rows_of(hints.given)
    fresh = None if hints.fresh is None else rows_of(hints.fresh)
    words = posts_of_texts([*texts, None], "words")
    column = text_input(preparation, words, with_tokens=False)
    return CommentColumn(column, rows, blank=len(texts), fresh_rows=fresh)


def _name_pictures(words: list[list[str] | None], preparation: Preparation) -> None:
    """Put the likeliest classes in the place of words that the table lacks."""
    config, lacking = preparation.config, np.flatnonzero([not given for given in words])
    builtin = config.encoders.model_copy(update={"image": ImageEncoderSettings()})
    column, _ = encode_pictures(
        preparation.posts.take(lacking),
        preparation.encoders.image(builtin, pick_device(config.training), config.data.truncated),
        with_tokens=False,
        threads=preparation.threads,
        progress=preparation.progress,
    )
    for start in range(0, len(lacking), _ATTRIBUTE_BATCH):
        rows = lacking[start : start + _ATTRIBUTE_BATCH]
        features = column.store.pooled(column.rows[start : start + _ATTRIBUTE_BATCH])
        for row, found in zip(rows.tolist(), attribute_words(features), strict=True):
            words[row] = list(found)
