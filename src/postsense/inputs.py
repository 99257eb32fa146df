"""Posts → datasets: which modalities are read, encoded here or later, and which rows are bad."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from postsense.batches import (
    CommentColumn,
    InputColumn,
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
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.encoders.pixels import decode_pictures
from postsense.encoders.pretrained import (
    BUILTIN,
    cache_folder,
    text_checkpoint,
)
from postsense.encoders.processors import chosen_policy, load_tokenizer
from postsense.encoders.reading import TextReader
from postsense.encoders.regions import REGIONS, encode_regions
from postsense.errors import DataError, PictureError
from postsense.posts import Posts, joined_posts, posts_of_texts
from postsense.processes import available_cores
from postsense.progress import Progress, silent
from postsense.registry.inputs import INPUTS
from postsense.registry.table import load_object
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
        self, rows: Array, classes: Sequence[str] | None = None, *, aligns: bool = False
    ) -> PostDataset:
        """The dataset of some rows, with class numbers if the classes are given.

        aligns: whether words and pictures of its batches are compared.
        """
        contents = self.contents[rows] if aligns else None
        if classes is None:
            return PostDataset(self.columns, rows, contents=contents, aligns=aligns)
        number = {name: index for index, name in enumerate(classes)}
        names = self.posts.column("label")
        labels = np.array([number[names[row]] for row in rows], dtype=np.int64)
        return PostDataset(self.columns, rows, labels, contents=contents, aligns=aligns)

    @cached_property
    def contents(self) -> Array:
        """(N, 2) int64: numbers of the texts and of the pictures, equal where these are the same.

        -1 where a post lacks the modality. Texts are the same if they differ in case, handles,
        links and punctuation at most.
        """
        pictures: Any = self.columns.get("image")
        given = self.posts.column("text")
        texts = [clean_text(text or "") or text or "" for text in given]
        _, numbers = np.unique(np.array(texts, dtype=object), return_inverse=True)
        numbers = np.where([text is None for text in given], -1, numbers)
        return np.stack([numbers, pictures.rows], axis=1).astype(np.int64)

    @cached_property
    def content_keys(self) -> Array:
        """(N,) int64: what tells that a post was seen before, of the modalities that are read."""
        text, image = self.columns.get("text") is not None, self.columns.get("image") is not None
        return content_keys(self.posts, text=text, picture=image)


def reads_text(config: Config) -> bool:
    """Whether the model reads words."""
    return any(INPUTS[name].holds == "words" for name in config.inputs)


def columns_read(config: Config, *more: str) -> tuple[str, ...]:
    """Our names of the columns that a model reads, and of more that the caller does.

    Similar posts of a corpus are found by words and picture.
    """
    searched = ("text", "image") if config.retrieval.corpus is not None else ()
    kept = config.encoders.image.declared.column
    features = () if kept == "image" else (kept,)
    return tuple(dict.fromkeys((*searched, *config.inputs, *features, *more)))


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
) -> PreparedPosts:
    """Encode what is frozen, tokenise what is encoded in the model, and find the unusable rows.

    borrowed: hint comments of the posts and, to be pseudo-labelled, posts of the corpus.
    allowed_bad: share of the rows that may be bad, 1 where each post is answered for by itself;
        None: data.max_bad_fraction, for posts that are learned from.
    Raises: DataError: more of the rows are bad.
    """
    own = len(posts)
    if borrowed is not None and borrowed.pairs is not None:
        posts = joined_posts(posts, borrowed.pairs.posts)
    read, reasons = dict[str, InputColumn](), dict[int, str]()
    for name in config.inputs:
        prepare: Prepare = load_object(INPUTS[name].prepare)
        read[name], broken = prepare(name, posts, config, progress)
        reasons |= {row: str(error) for row, error in broken.items()}
    for row in np.flatnonzero(~_given(posts, config)):
        reasons[int(row)] = "expected a text or a picture, found neither. Add one of them."
    allowed = config.data.max_bad_fraction if allowed_bad is None else allowed_bad
    _refuse_too_many(posts, range(own), reasons, allowed, posts.name)
    lender = str(config.retrieval.corpus)
    _refuse_too_many(posts, range(own, len(posts)), reasons, allowed, lender)
    ids = posts.table["id"]
    bad = tuple(BadRow(ids[row].as_py(), reason) for row, reason in sorted(reasons.items()))
    usable = np.setdiff1d(np.arange(len(posts)), list(reasons))
    comments = None
    if config.reads_comments and borrowed is not None:
        comments = _comment_column(borrowed, len(posts), config, progress)
    return PreparedPosts(posts, PostColumns(read, comments), usable, bad, borrowed)


def _given(posts: Posts, config: Config) -> Array:
    """(N,) bool, which posts have a text or a picture, be it as its region features."""
    known = {"text", "image", config.encoders.image.declared.column}
    valid = [posts.table[name].is_valid().to_numpy() for name in known]
    given: Array = np.logical_or.reduce(valid)
    return given


def what_pictures_show(
    prepared: PreparedPosts, rows: Array, config: Config
) -> tuple[tuple[str, ...], ...] | None:
    """The likeliest ImageNet classes of the pictures of some rows, () without a picture.

    None where the model reads other features of pictures, which do not tell, or none.
    """
    settings, column = config.encoders.image, prepared.columns.get("image")
    builtin = settings.name == BUILTIN and settings.pooling == "mean"
    if not builtin or not isinstance(column, FeatureColumn):
        return None
    return tuple(attribute_words(column.store.pooled(column.rows[rows])))


Broken = Mapping[int, PictureError]
Prepare = Callable[[str, Posts, Config, Progress], tuple[InputColumn, Broken]]
"""What makes the column of an input, by its name, and says which rows of it cannot be used."""


def text_column(
    name: str, posts: Posts, config: Config, progress: Progress = silent
) -> tuple[InputColumn, Broken]:
    """The words of the posts."""
    return _text_input(posts, config, config.fusion.declared.sequences, progress), {}


def words_column(
    name: str, posts: Posts, config: Config, progress: Progress = silent
) -> tuple[InputColumn, Broken]:
    """More words, of a column of strings."""
    return _words_input(posts.column(name), config, progress=progress), {}


def image_column(
    name: str, posts: Posts, config: Config, progress: Progress = silent
) -> tuple[InputColumn, Broken]:
    """The pictures of the posts, or features of their regions."""
    return _image_input(posts, config, progress)


def attribute_column(
    name: str, posts: Posts, config: Config, progress: Progress = silent
) -> tuple[InputColumn, Broken]:
    """Words for each picture: the table's, else the likeliest ImageNet classes."""
    words: list[list[str] | None] = posts.column(name)
    if config.encoders.image.declared.column == "image":  # else pictures are not read
        _name_pictures(words, posts, config, progress)
    return _words_input([" ".join(given or ()) or None for given in words], config), {}


def _name_pictures(
    words: list[list[str] | None], posts: Posts, config: Config, progress: Progress
) -> None:
    """Put the likeliest classes in the place of words that the table lacks."""
    lacking = np.flatnonzero([not given for given in words])
    builtin = config.encoders.model_copy(update={"image": ImageEncoderSettings()})
    column, _ = encode_pictures(
        posts.take(lacking),
        FrozenImageEncoder(builtin, pick_device(config.training), config.data.truncated),
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
    borrowed: Borrowed, posts: int, config: Config, progress: Progress
) -> CommentColumn:
    """The hint comments, each text once; posts beyond those that borrowed have none."""
    texts: dict[str, int] = {}
    rows = np.full((posts, config.comments.count), -1, dtype=np.int64)
    for post, hints in enumerate(borrowed.hints):
        for place, hint in enumerate(hints[: config.comments.count]):
            rows[post, place] = texts.setdefault(hint.text, len(texts))
    column = _words_input([*texts, None], config, with_tokens=False, progress=progress)
    return CommentColumn(column, rows, blank=len(texts))


def _words_input(
    texts: Sequence[str | None],
    config: Config,
    *,
    with_tokens: bool | None = None,
    progress: Progress = silent,
) -> TextInput:
    """with_tokens: None: if the fusion reads sequences."""
    tokens = config.fusion.declared.sequences if with_tokens is None else with_tokens
    return _text_input(posts_of_texts(texts, "words"), config, tokens, progress)


def _text_input(posts: Posts, config: Config, with_tokens: bool, progress: Progress) -> TextInput:
    settings = config.encoders
    if not settings.text.runs_inside:
        return encode_texts(
            posts,
            FrozenTextEncoder(settings, pick_device(config.training)),
            with_tokens=with_tokens,
            threads=_threads(config),
            progress=progress,
        )
    tokenizer = load_tokenizer(text_checkpoint(settings), settings.text.max_length)
    texts = TextReader(settings.text, lambda: tokenizer)(posts.column("text"))
    ids = [row if text else [] for row, text in zip(tokenizer(texts), texts, strict=True)]
    return TokenColumn(ids, tokenizer.pad_id)


def _image_input(
    posts: Posts, config: Config, progress: Progress
) -> tuple[InputColumn, dict[int, PictureError]]:
    settings, with_tokens = config.encoders, config.fusion.declared.sequences
    cache, threads = cache_folder(settings), _cores(config)
    if settings.image.declared.column == REGIONS:
        return encode_regions(
            posts, cache, with_tokens=with_tokens, threads=threads, progress=progress
        )
    if not settings.image.runs_inside:
        return encode_pictures(
            posts,
            FrozenImageEncoder(settings, pick_device(config.training), config.data.truncated),
            with_tokens=with_tokens,
            threads=_threads(config),
            progress=progress,
        )
    policy = replace(chosen_policy(settings), truncated=config.data.truncated)
    pictures = decode_pictures(posts, policy, cache, threads=threads, progress=progress)
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
