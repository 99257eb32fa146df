"""Posts → batches of tensors: features of frozen encoders, ids and pixels for trained ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from postsense.arrays import Array
from postsense.data.images import PicturePolicy, normalize_pixels
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.pixels import PixelStore
from postsense.registry.inputs import INPUTS


@dataclass(frozen=True)
class TokenIds:
    """Texts for a trained encoder. ids: (B, T) int64; mask: (B, T) bool, all False: no text."""

    ids: Tensor
    mask: Tensor

    def to(self, device: torch.device | str) -> "TokenIds":
        """The same ids on another device."""
        return TokenIds(self.ids.to(device), self.mask.to(device))

    def take(self, rows: Tensor) -> "TokenIds":
        """Some of the texts. rows: (n,) int64, or (B,) bool."""
        return TokenIds(self.ids[rows], self.mask[rows])

    @property
    def present(self) -> Tensor:
        """(B,) bool, which texts have words."""
        return self.mask.any(dim=1)


@dataclass(frozen=True)
class Pixels:
    """Pictures for a trained encoder. pixels: (B, 3, H, W); present: (B,) bool."""

    pixels: Tensor
    present: Tensor

    def to(self, device: torch.device | str) -> "Pixels":
        """The same pixels on another device."""
        return Pixels(self.pixels.to(device), self.present.to(device))

    def take(self, rows: Tensor) -> "Pixels":
        """Some of the pictures. rows: (n,) int64, or (B,) bool."""
        return Pixels(self.pixels[rows], self.present[rows])


@dataclass(frozen=True)
class Comments:
    """Hint comments of B posts. texts: B * C of them, post by post; present: (B, C) bool."""

    texts: Embeddings | TokenIds
    present: Tensor

    def to(self, device: torch.device | str) -> "Comments":
        """The same comments on another device."""
        return Comments(self.texts.to(device), self.present.to(device))

    def take(self, rows: Tensor) -> "Comments":
        """The comments of some of the posts. rows: (n,) int64."""
        width = self.present.shape[1]
        places = rows[:, None] * width + torch.arange(width, device=rows.device)
        return Comments(self.texts.take(places.flatten()), self.present[rows])


Read = Embeddings | TokenIds | Pixels


@dataclass(frozen=True)
class PostBatch:
    """B posts: a mapping from what was read of them to its embeddings, token ids or pixels.

    read: by the names of `registry.inputs`, in their order. comments: None if none are read.
    labels: (B,) int64 or None. targets: (B, K) soft labels, weights: (B,) how much each counts.
    contents: (B, 2) int64, numbers of the text and of the picture, equal where these are the same;
    None where the image-text losses do not look. aligns: whether losses compare words and pictures
    of the batch, so that the model gives their vectors. swaps: (B,) int64, the post whose words
    the model is shown with each picture, to tell whether they match; None: it is not asked.
    is_standardized: what is read as embeddings has been scaled, see `PostModel.standardized`.
    """

    read: Mapping[str, Read]
    comments: Comments | None = None
    labels: Tensor | None = None
    targets: Tensor | None = None
    weights: Tensor | None = None
    contents: Tensor | None = None
    aligns: bool = False
    swaps: Tensor | None = None
    is_standardized: bool = False

    def __getitem__(self, name: str) -> Any:
        """What was read under this name. Raises: KeyError: it was not."""
        return self.read[name]

    def present(self, name: str) -> Tensor:
        """(B,) bool, the posts that have this input."""
        return self.read[name].present

    @property
    def has_both(self) -> Tensor:
        """(B,) bool, the posts that have words and a picture."""
        return self.present("text") & self.present("image")

    def to(self, device: torch.device | str) -> "PostBatch":
        """The same batch on another device."""
        read = {name: part.to(device) for name, part in self.read.items()}
        others: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor | Comments)
        }
        return replace(self, read=read, **others)


class InputColumn(Protocol):
    """One input of N posts that makes batches.

    FeatureColumn, of texts or pictures, TokenColumn and PixelColumn do.
    """

    def batch(self, posts: Array) -> Read: ...


class TextInput(Protocol):
    """A column of texts that makes batches; FeatureColumn and TokenColumn do.

    lengths: (N,) int64, the tokens that are read of each text; None: a text is one vector.
    """

    @property
    def lengths(self) -> Array | None: ...

    def batch(self, posts: Array) -> Embeddings | TokenIds: ...


class TokenColumn:
    """Token ids of N texts, kept as one flat array; an empty text has none."""

    def __init__(self, ids: Sequence[Sequence[int]], pad_id: int) -> None:
        self.offsets = np.cumsum([0, *(len(row) for row in ids)])
        self.flat = np.fromiter((token for row in ids for token in row), dtype=np.int32)
        self.pad_id = pad_id

    @property
    def lengths(self) -> Array:
        """(N,) int64, the tokens of each text."""
        return np.diff(self.offsets)

    def batch(self, posts: Array) -> TokenIds:
        """Ids padded to the longest text of the batch."""
        rows = [self.flat[self.offsets[post] : self.offsets[post + 1]] for post in posts]
        length = max(1, *(len(row) for row in rows))
        ids = np.full((len(rows), length), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=bool)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = True
        return TokenIds(torch.from_numpy(ids), torch.from_numpy(mask))


@dataclass(frozen=True)
class PixelColumn:
    """Pictures of N posts, decoded once. rows: (N,) int64, -1 where a post has none."""

    store: PixelStore
    rows: Array
    policy: PicturePolicy

    def batch(self, posts: Array) -> Pixels:
        """Normalised pixels; zeros, marked absent, where a post has no picture."""
        rows = self.rows[posts]
        present = rows >= 0
        values = normalize_pixels(self.store.pixels(rows), self.policy)
        values[~present] = 0
        # convolutions train a fifth faster on a CPU if a pixel's colours lie side by side
        pixels = torch.from_numpy(values).contiguous(memory_format=torch.channels_last)
        return Pixels(pixels, torch.from_numpy(present))


class CommentColumn:
    """Hint comments of N posts: rows (N, C) of a column of texts, -1 where a post has fewer.

    The column's last text is empty and stands for comments that are not there. fresh_rows: the
    same of posts that nobody has commented on; None: they are read with no others.
    """

    def __init__(
        self, texts: TextInput, rows: Array, blank: int, fresh_rows: Array | None = None
    ) -> None:
        self.texts, self.rows, self.blank, self.fresh_rows = texts, rows, blank, fresh_rows

    def batch(self, posts: Array, fresh: Array | None = None) -> Comments:
        """The comments of the posts at these positions. posts: (B,) int.

        fresh: (B,) bool, those shown as if nobody had commented on them.
        """
        rows = self.rows[posts]
        if fresh is not None and self.fresh_rows is not None:
            rows = np.where(fresh[:, None], self.fresh_rows[posts], rows)
        present = rows >= 0
        texts = self.texts.batch(np.where(present, rows, self.blank).ravel())
        return Comments(texts, torch.from_numpy(present))


@dataclass(frozen=True)
class PostColumns:
    """What a model reads of N posts, by the names of `registry.inputs`, and their hint comments.

    commented: (N,) bool, the posts that have comments of their own; None where none are read.
    """

    read: Mapping[str, InputColumn]
    comments: CommentColumn | None = None
    commented: Array | None = None

    def get(self, name: str) -> InputColumn | None:
        """The column of this input; None if it is not read."""
        return self.read.get(name)


@dataclass(frozen=True)
class PostDataset(Dataset[PostBatch]):
    """n posts that make batches: indexed with an array of positions, not with one position.

    rows: (n,) positions in the columns. comment_rows: (n,) positions of the posts whose comments
    they have, None: their own. labels: (n,) class numbers. targets: (n, K); weights: (n,).
    contents: (n, 2), and aligns, as in PostBatch. fresh: (n,) bool, the posts that are shown as if
    nobody had commented on them; None: none is.
    """

    columns: PostColumns
    rows: Array
    labels: Array | None = None
    comment_rows: Array | None = None
    targets: Array | None = None
    weights: Array | None = None
    contents: Array | None = None
    aligns: bool = False
    fresh: Array | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Array | None:
        """(n,) int64, the tokens of each post's text; None if no tokens are read."""
        lengths = getattr(self.columns.get("text"), "lengths", None)
        return None if lengths is None else lengths[self.rows]

    @property
    def encodes_words(self) -> bool:
        """Whether the text encoder runs in the model, on token ids."""
        return isinstance(self.columns.get("text"), TokenColumn)

    def __getitem__(self, posts: Array) -> PostBatch:
        rows = self.rows[posts]
        columns, comment_rows = self.columns, rows
        if self.comment_rows is not None:
            comment_rows = self.comment_rows[posts]
        fresh, comments = None if self.fresh is None else self.fresh[posts], columns.comments
        return PostBatch(
            read={
                name: _without_comments(column.batch(rows), name, fresh)
                for name, column in columns.read.items()
            },
            comments=None if comments is None else comments.batch(comment_rows, fresh),
            labels=_taken(self.labels, posts),
            targets=_taken(self.targets, posts),
            weights=_taken(self.weights, posts),
            contents=_taken(self.contents, posts),
            aligns=self.aligns,
        )

    def loader(self, batches: Sequence[Array], workers: int = 0) -> DataLoader[PostBatch]:
        """Loads these batches in their order, with any number of worker processes."""
        return DataLoader(self, sampler=batches, batch_size=None, num_workers=workers)


def _without_comments(part: Read, name: str, fresh: Array | None) -> Read:
    """What was read, as if nobody had commented on some of the posts. fresh: (B,) bool."""
    if fresh is None or INPUTS[name].column != "comments" or not isinstance(part, Embeddings):
        return part
    shown = part.present & torch.from_numpy(~fresh)
    return replace(part, pooled=part.pooled * shown[:, None], present=shown)


def _taken(values: Array | None, posts: Array) -> Tensor | None:
    return None if values is None else torch.from_numpy(values[posts])
