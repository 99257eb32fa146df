"""Posts → datasets: which modalities are read, encoded here or later, and which rows are bad."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from postsense.batches import (
    CommentColumn,
    ImageInput,
    PixelColumn,
    PostColumns,
    PostDataset,
    TextInput,
    TokenColumn,
)
from postsense.config import Config, ImageEncoderSettings, TrainingSettings
from postsense.data.duplicates import clean_text
from postsense.data.seen import content_keys
from postsense.encoders.attributes import attribute_words
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.features import FeatureColumn
from postsense.encoders.open_encoders import OpenEncoders
from postsense.encoders.pixels import decode_pictures
from postsense.encoders.pretrained import BUILTIN, cache_folder
from postsense.encoders.reading import TextReader
from postsense.encoders.regions import REGIONS, encode_regions
from postsense.errors import DataError, PictureError
from postsense.posts import Posts, joined_posts, posts_of_texts
from postsense.processes import available_cores
from postsense.progress import Progress, silent
from postsense.retrieval.borrowing import Borrowed

Array = np.ndarray[Any, Any]
_ATTRIBUTE_BATCH = 4096


@dataclass(frozen=True)
class BadRow:
    """A post that cannot be used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class PreparedPosts:
    """Posts with what a model reads of them.

    posts: the user's, then those that a corpus lent. usable: (n,) positions of posts that are not
    bad. borrowed: what the corpus lent, None without one.
    """

    posts: Posts
    columns: PostColumns
    usable: Array
    bad: tuple[BadRow, ...]
    borrowed: Borrowed | None = None

    def dataset(
        self, rows: Array, classes: Sequence[str] | None = None, *, with_contents: bool = False
    ) -> PostDataset:
        """The dataset of some rows, with class numbers if the classes are given."""
        contents = self.contents[rows] if with_contents else None
        if classes is None:
            return PostDataset(self.columns, rows, contents=contents)
        number = {name: index for index, name in enumerate(classes)}
        names = self.posts.column("label")
        labels = np.array([number[names[row]] for row in rows], dtype=np.int64)
        return PostDataset(self.columns, rows, labels, contents=contents)

    @cached_property
    def contents(self) -> Array:
        """(N, 2) int64: numbers of the texts and of the pictures, equal where these are the same.

        -1 where a post lacks the modality. Texts are the same if they differ in case, handles,
        links and punctuation at most.
        """
        assert self.columns.image is not None
        given = self.posts.column("text")
        texts = [clean_text(text or "") or text or "" for text in given]
        _, numbers = np.unique(np.array(texts, dtype=object), return_inverse=True)
        numbers = np.where([text is None for text in given], -1, numbers)
        return np.stack([numbers, self.columns.image.rows], axis=1).astype(np.int64)

    @cached_property
    def content_keys(self) -> Array:
        """(N,) int64: what tells that a post was seen before, of the modalities that are read."""
        text, image = self.columns.text is not None, self.columns.image is not None
        return content_keys(self.posts, text=text, picture=image)


def reads_text(config: Config) -> bool:
    """Whether the fusion reads words."""
    return config.fusion.name != "image_only"


def reads_image(config: Config) -> bool:
    """Whether the fusion reads pictures."""
    return config.fusion.name != "text_only"


def reads_tokens(config: Config) -> bool:
    """Whether the fusion reads sequences beside vectors."""
    reading = ("cross_attention", "co_memory", "hierarchical", "lxmert", "cross_modal")
    return config.fusion.name in reading


def reads_attributes(config: Config) -> bool:
    """Whether the fusion reads words for what the picture shows."""
    return config.fusion.name == "hierarchical"


def reads_comments(config: Config) -> bool:
    """Whether the model reads hint comments: there is a corpus to take them from."""
    return config.retrieval.corpus is not None and config.comments.count > 0


def reads_pairs(config: Config) -> bool:
    """Whether a loss compares words and pictures of a batch."""
    return config.losses.aligns or config.losses.itm > 0


def columns_read(config: Config, *more: str) -> tuple[str, ...]:
    """Our names of the columns that a model reads, and of more that the caller does."""
    read = {
        "text": reads_text(config) or config.retrieval.corpus is not None,
        "image": reads_image(config) or config.retrieval.corpus is not None,
        "attributes": reads_attributes(config),
        REGIONS: config.encoders.image.name == REGIONS,
    }
    return (*(name for name, needed in read.items() if needed), *more)


def pick_device(settings: TrainingSettings) -> torch.device:
    """The GPU if there is one and the settings allow it, else the CPU."""
    gpu = settings.device == "auto" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def prepare_posts(
    posts: Posts,
    config: Config,
    progress: Progress = silent,
    borrowed: Borrowed | None = None,
    *,
    allowed_bad: float | None = None,
    encoders: OpenEncoders | None = None,
) -> PreparedPosts:
    """Encode what is frozen, tokenise what is encoded in the model, and find the unusable rows.

    borrowed: hint comments of the posts and, to be pseudo-labelled, posts of the corpus.
    allowed_bad: share of the rows that may be bad, 1 where each post is answered for by itself;
        None: data.max_bad_fraction, for posts that are learned from.
    encoders: those that are open; None: they are opened for these posts.
    Raises: DataError: more of the rows are bad.
    """
    own, opened = len(posts), OpenEncoders() if encoders is None else encoders
    if borrowed is not None and borrowed.pairs is not None:
        posts = joined_posts(posts, borrowed.pairs.posts)
    text = None
    if reads_text(config):
        text = _text_input(posts, config, opened, reads_tokens(config), progress)
    image, broken = None, dict[int, PictureError]()
    if reads_image(config):
        image, broken = _image_column(posts, config, opened, progress)
    reasons = {row: str(error) for row, error in broken.items()}
    for row in np.flatnonzero(~_given(posts, config)):
        reasons[int(row)] = "expected a text or a picture, found neither. Add one of them."
    allowed = config.data.max_bad_fraction if allowed_bad is None else allowed_bad
    _refuse_too_many(posts, range(own), reasons, allowed, posts.name)
    lender = str(config.retrieval.corpus)
    _refuse_too_many(posts, range(own, len(posts)), reasons, allowed, lender)
    ids = posts.table["id"]
    bad = tuple(BadRow(ids[row].as_py(), reason) for row, reason in sorted(reasons.items()))
    usable = np.setdiff1d(np.arange(len(posts)), list(reasons))
    attributes, comments = None, None
    if reads_attributes(config):
        attributes = _attribute_column(posts, config, opened, progress)
    if reads_comments(config) and borrowed is not None:
        comments = _comment_column(borrowed, len(posts), config, opened, progress)
    return PreparedPosts(
        posts, PostColumns(text, image, attributes, comments), usable, bad, borrowed
    )


def _given(posts: Posts, config: Config) -> Array:
    """(N,) bool, which posts have a text or a picture, be it as its region features."""
    columns = ("text", "image", REGIONS)
    known = columns if config.encoders.image.name == REGIONS else columns[:2]
    valid = [posts.table[name].is_valid().to_numpy() for name in known]
    given: Array = np.logical_or.reduce(valid)
    return given


def what_pictures_show(
    prepared: PreparedPosts, rows: Array, config: Config
) -> tuple[tuple[str, ...], ...] | None:
    """The likeliest ImageNet classes of the pictures of some rows, () without a picture.

    None where the model reads other features of pictures, which do not tell, or none.
    """
    settings, column = config.encoders.image, prepared.columns.image
    builtin = settings.name == BUILTIN and settings.pooling == "mean"
    if not builtin or not isinstance(column, FeatureColumn):
        return None
    return tuple(attribute_words(column.store.pooled(column.rows[rows])))


def _attribute_column(
    posts: Posts, config: Config, opened: OpenEncoders, progress: Progress
) -> TextInput:
    """Words for each picture: the table's, else the likeliest ImageNet classes."""
    words: list[list[str] | None] = posts.column("attributes")
    if config.encoders.image.name != REGIONS:  # else pictures are not read
        _name_pictures(words, posts, config, opened, progress)
    return _words_column([" ".join(given or ()) or None for given in words], config, opened)


def _name_pictures(
    words: list[list[str] | None],
    posts: Posts,
    config: Config,
    opened: OpenEncoders,
    progress: Progress,
) -> None:
    """Put the likeliest classes in the place of words that the table lacks."""
    lacking = np.flatnonzero([not given for given in words])
    builtin = config.encoders.model_copy(update={"image": ImageEncoderSettings()})
    column, _ = encode_pictures(
        posts.take(lacking),
        opened.image(builtin, pick_device(config.training), config.data.truncated),
        with_tokens=False,
        threads=_threads(config),
        progress=progress,
    )
    for start in range(0, len(lacking), _ATTRIBUTE_BATCH):
        rows = lacking[start : start + _ATTRIBUTE_BATCH]
        features = column.store.pooled(column.rows[start : start + _ATTRIBUTE_BATCH])
        for row, found in zip(rows.tolist(), attribute_words(features), strict=True):
            words[row] = list(found)


def _comment_column(
    borrowed: Borrowed, posts: int, config: Config, opened: OpenEncoders, progress: Progress
) -> CommentColumn:
    """The hint comments, each text once; posts beyond those that borrowed have none."""
    texts: dict[str, int] = {}
    rows = np.full((posts, config.comments.count), -1, dtype=np.int64)
    for post, hints in enumerate(borrowed.hints):
        for place, hint in enumerate(hints[: config.comments.count]):
            rows[post, place] = texts.setdefault(hint.text, len(texts))
    column = _words_column([*texts, None], config, opened, with_tokens=False, progress=progress)
    return CommentColumn(column, rows, blank=len(texts))


def _words_column(
    texts: Sequence[str | None],
    config: Config,
    opened: OpenEncoders,
    *,
    with_tokens: bool = True,
    progress: Progress = silent,
) -> TextInput:
    return _text_input(posts_of_texts(texts, "words"), config, opened, with_tokens, progress)


def _text_input(
    posts: Posts, config: Config, opened: OpenEncoders, with_tokens: bool, progress: Progress
) -> TextInput:
    settings = config.encoders
    if not settings.text.runs_inside:
        return encode_texts(
            posts,
            opened.text(settings, pick_device(config.training)),
            with_tokens=with_tokens,
            threads=_threads(config),
            progress=progress,
        )
    tokenizer = opened.tokenizer(settings)
    texts = TextReader(settings.text, lambda: tokenizer)(posts.column("text"))
    ids = [row if text else [] for row, text in zip(tokenizer(texts), texts, strict=True)]
    return TokenColumn(ids, tokenizer.pad_id)


def _image_column(
    posts: Posts, config: Config, opened: OpenEncoders, progress: Progress
) -> tuple[ImageInput, dict[int, PictureError]]:
    settings, with_tokens = config.encoders, reads_tokens(config)
    cache, threads = cache_folder(settings), _cores(config)
    how: Any = {"threads": threads, "progress": progress, "stores": opened.stores}
    if settings.image.name == REGIONS:
        return encode_regions(posts, cache, with_tokens=with_tokens, **how)
    if not settings.image.runs_inside:
        return encode_pictures(
            posts,
            opened.image(settings, pick_device(config.training), config.data.truncated),
            with_tokens=with_tokens,
            threads=_threads(config),
            progress=progress,
        )
    policy = replace(opened.policy(settings), truncated=config.data.truncated)
    pictures = decode_pictures(posts, policy, cache, **how)
    return PixelColumn(pictures.store, pictures.rows, policy), pictures.broken


def _threads(config: Config) -> int:
    """Threads that share a frozen encoder: a GPU takes one batch at a time."""
    return _cores(config) if pick_device(config.training).type == "cpu" else 1


def _cores(config: Config) -> int:
    return config.encoders.threads or available_cores()


def _refuse_too_many(
    posts: Posts, rows: range, reasons: Mapping[int, str], allowed: float, name: str
) -> None:
    bad = [row for row in reasons if row in rows]
    if len(bad) <= allowed * len(rows):
        return
    row = min(bad)
    raise DataError(
        name,
        f"at most {allowed:.0%} unusable rows",
        f"{len(bad)} of {len(rows)}, the first '{posts[row].id}': {reasons[row].rstrip('.')}",
        "Mend them, or raise data.max_bad_fraction: the others are used and these listed.",
    )
