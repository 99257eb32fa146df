"""Posts → datasets: what a model reads of them, encoded here or later, and which rows are bad."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from postsense.arrays import Array
from postsense.config import Config
from postsense.data.bad_rows import BadRow
from postsense.data.duplicates import clean_text
from postsense.data.seen import content_keys
from postsense.encoders.attributes import attribute_words
from postsense.encoders.features import FeatureColumn
from postsense.encoders.open_encoders import OpenEncoders
from postsense.encoders.pretrained import BUILTIN
from postsense.errors import DataError
from postsense.inputs.batches import InputColumn, PostColumns, PostDataset
from postsense.inputs.columns import Preparation, Prepare, comment_column
from postsense.posts import Posts, joined_posts
from postsense.progress import Progress, silent
from postsense.registry.inputs import INPUTS
from postsense.registry.table import load_object
from postsense.retrieval.borrowing import Borrowed
from postsense.retrieval.comments import Hints, own_first


@dataclass(frozen=True)
class PreparedPosts:
    """Posts with what a model reads of them.

    posts: the user's, then those that a corpus lent. usable: (n,) positions of posts that are not
    bad. borrowed: what the corpus lent, None without one. hints: the comments that the posts are
    read with, of the user's posts alone; None where no comments are attended to. readings: the
    posts as others read them, see `inputs.readings`.
    """

    posts: Posts
    columns: PostColumns
    usable: Array
    bad: tuple[BadRow, ...]
    borrowed: Borrowed | None = None
    hints: Hints | None = None
    readings: Mapping[str, "PreparedPosts"] = field(default_factory=dict)

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

    def only(self, config: Config) -> "PreparedPosts":
        """The posts with no more than these settings read. Raises: KeyError: more was asked for."""
        if config.reads_comments:
            raise KeyError("comments that are attended to")
        read = {name: self.columns.read[name] for name in config.inputs}
        commented = self.columns.commented if config.reads_own_comments else None
        return replace(self, columns=PostColumns(read, None, commented), hints=None)

    @cached_property
    def contents(self) -> Array:
        """(N, 2) int64: numbers of the texts and of the pictures, equal where these are the same.

        -1 where a post lacks the modality. Texts are the same if they differ in case, handles,
        links and punctuation at most.
        """
        rows = getattr(self.columns.get("image"), "rows", np.full(len(self.posts), -1))
        given = self.posts.column("text")
        texts = [clean_text(text or "") or text or "" for text in given]
        _, numbers = np.unique(np.array(texts, dtype=object), return_inverse=True)
        numbers = np.where([text is None for text in given], -1, numbers)
        return np.stack([numbers, rows], axis=1).astype(np.int64)

    @cached_property
    def content_keys(self) -> Array:
        """(N,) int64: what tells that a post was seen before, of the modalities that are read."""
        text, image = (self.columns.get(name) is not None for name in ("text", "image"))
        return content_keys(self.posts, text=text, picture=image)


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
    hints = _hints(posts, config, borrowed)
    if borrowed is not None and borrowed.pairs is not None:
        posts = joined_posts(posts, borrowed.pairs.posts)
    preparation = Preparation(posts, config, opened, progress)
    read, reasons = dict[str, InputColumn](), dict[int, str]()
    for name in config.inputs:
        prepare: Prepare = load_object(INPUTS[name].prepare)
        read[name], broken = prepare(name, preparation)
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
    comments = None if hints is None else comment_column(hints, preparation)
    columns = PostColumns(read, comments, _commented(posts, config))
    return PreparedPosts(posts, columns, usable, bad, borrowed, hints)


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


def _hints(posts: Posts, config: Config, borrowed: Borrowed | None) -> Hints | None:
    """The comments that the posts are read with; None where none are attended to."""
    lent = borrowed.hints if borrowed is not None and config.borrows_comments else None
    if config.attends_own_comments:
        ids, own = posts.column("id"), posts.column("comments")
        return own_first(ids, own, lent, config.comments.count)
    return None if lent is None else Hints(lent)


def _commented(posts: Posts, config: Config) -> Array | None:
    """(N,) bool, which posts have comments of their own; None where these are not read."""
    if not config.reads_own_comments:
        return None
    return np.array([bool(texts) for texts in posts.column("comments")], dtype=bool)


def _given(posts: Posts, config: Config) -> Array:
    """(N,) bool, which posts have a text or a picture, be it as its region features."""
    known = {"text", "image", config.encoders.image.declared.column}
    valid = [posts.table[name].is_valid().to_numpy() for name in known]
    given: Array = np.logical_or.reduce(valid)
    return given


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
