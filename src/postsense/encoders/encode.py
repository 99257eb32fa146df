"""Encode every text and picture once: posts → feature columns, through the feature store."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar

import numpy as np
import torch

from postsense.arrays import Array
from postsense.data.images import identity_of, read_picture
from postsense.encoders.features import Encoded, FeatureColumn, FeatureStore
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.encoders.open_stores import OpenStores
from postsense.encoders.shards import Item, ShardStore, content_key
from postsense.errors import EncoderError, PictureError
from postsense.posts import Posts
from postsense.progress import Progress, silent

Given = TypeVar("Given")
Result = TypeVar("Result")

SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = 30.0
CHUNK = 16_384  # posts whose texts or paths are Python objects at a time
LOOKAHEAD = 4  # jobs a thread may be ahead of the one whose result is taken


def encode_texts(
    posts: Posts,
    encoder: FrozenTextEncoder,
    *,
    with_tokens: bool,
    threads: int,
    progress: Progress = silent,
) -> FeatureColumn:
    """The features of the posts' texts; only texts that were never seen are computed."""
    encoder.check()
    key = encoder.key
    store = feature_store(encoder.cache, key, encoder.stores, len(posts), with_tokens=with_tokens)
    rows = [np.zeros(0, dtype=np.int64)]
    for start, texts in _chunks(posts, "text"):
        tick = _Ticker("encode texts", start, len(texts), len(posts), progress)
        rows.append(_encode_texts(texts, encoder, store, threads, tick))
    if not store.shards:  # no post has a text; one that is made up tells how wide features are
        _encode_texts(["."], encoder, store, threads, _Ticker("encode texts", 0, 1, 1, silent))
    return FeatureColumn(store, np.concatenate(rows))


def encode_pictures(
    posts: Posts,
    encoder: FrozenImageEncoder,
    *,
    with_tokens: bool,
    threads: int,
    progress: Progress = silent,
) -> tuple[FeatureColumn, dict[int, PictureError]]:
    """The features of the posts' pictures, and by position the pictures that cannot be used."""

    def encode(paths: Sequence[str]) -> list[Encoded | PictureError]:
        return _encode_files(paths, encoder)

    encoder.check()
    key = encoder.key
    store = feature_store(encoder.cache, key, encoder.stores, len(posts), with_tokens=with_tokens)

    def read(path: str) -> bytes:
        return identity_of(read_picture(path), path, encoder.policy)

    files = Files("image", "encode pictures", read, encode, encoder.batch_size)
    rows, bad = keep_files(posts, files, store, threads=threads, progress=progress)
    if not store.shards:  # as for texts; no picture file is empty, so the key is never asked for
        black = np.zeros((3, *encoder.policy.size_px), dtype=np.float32)
        store.append(np.array([content_key(b"")], dtype=np.uint64), encoder.encode([black]))
    return FeatureColumn(store, rows), bad


def feature_store(
    cache: Path, key: str, stores: OpenStores | None = None, posts: int = 0, *, with_tokens: bool
) -> FeatureStore:
    """The store, in the folder of what is kept, of the features that key names.

    stores: those that stay open; None: it is opened. posts: how many are to be encoded.
    """
    folder = cache / "features" / f"{key}-{'tokens' if with_tokens else 'pooled'}"
    opened = partial(FeatureStore, with_tokens=with_tokens)
    return opened(folder) if stores is None else stores.of(folder, opened, posts)


@dataclass(frozen=True)
class Files(Generic[Item]):
    """A column of paths, and how its files become items of a store.

    step: name of the work, for the progress. read: the bytes of a file, which are its identity;
    raises PictureError. encode: at most batch_size paths to an item or an error each.
    """

    column: str
    step: str
    read: Callable[[str], bytes]
    encode: Callable[[Sequence[str]], list[Item | PictureError]]
    batch_size: int


def keep_files(
    posts: Posts,
    files: Files[Item],
    store: ShardStore[Item],
    *,
    threads: int,
    progress: Progress = silent,
) -> tuple[Array, dict[int, PictureError]]:
    """Rows (N,) int64 in the store of the posts' files, and by position those of no use.

    A row is -1 where a post names no file; equal contents have one row and are encoded once.
    """
    rows, bad = [np.zeros(0, dtype=np.int64)], dict[int, PictureError]()
    for start, paths in _chunks(posts, files.column):
        tick = _Ticker(files.step, start, len(paths), len(posts), progress)
        found, failed = _keep_files(paths, files, store, threads, tick)
        rows.append(found)
        bad.update({start + post: error for post, error in failed.items()})
    return np.concatenate(rows), bad


def _chunks(posts: Posts, column: str) -> Iterator[tuple[int, list[str | None]]]:
    """The column in pieces, so that memory does not grow with the number of posts."""
    for start in range(0, len(posts), CHUNK):
        yield start, posts.table[column].slice(start, CHUNK).to_pylist()


@dataclass
class _Ticker:
    """Progress of one chunk, told in posts of the whole column."""

    step: str
    start: int
    size: int
    total: int
    progress: Progress

    def __call__(self, done: int, todo: int) -> None:
        self.progress(self.step, self.start + self.size - todo + done, self.total)


def _encode_texts(
    texts: Sequence[str | None],
    encoder: FrozenTextEncoder,
    store: FeatureStore,
    threads: int,
    tick: _Ticker,
) -> Array:
    cleaned = encoder.reader(texts)
    present = np.array([bool(text) for text in cleaned], dtype=bool)
    keys = np.array([content_key(text.encode()) for text in cleaned], dtype=np.uint64)
    unseen = store.unseen(keys, present)
    if len(unseen):
        ids = dict(zip(unseen, encoder.tokenizer([cleaned[i] for i in unseen]), strict=True))

        def work(posts: Array) -> list[Encoded | PictureError]:
            return [*encoder.encode([ids[post] for post in posts])]

        lengths = np.array([len(ids[post]) for post in unseen])
        jobs = _same_length(unseen, lengths, encoder.batch_size)
        _compute(store, keys, jobs, work, threads, tick)
    tick(0, 0)
    return np.where(present, store.find(keys), -1)


def _keep_files(
    paths: Sequence[str | None],
    files: Files[Item],
    store: ShardStore[Item],
    threads: int,
    tick: _Ticker,
) -> tuple[Array, dict[int, PictureError]]:
    keys, bad = _file_keys(paths, files.read, threads)
    present = np.array([path is not None for path in paths], dtype=bool)
    present[list(bad)] = False
    unseen = store.unseen(keys, present)

    def work(posts: Array) -> list[Item | PictureError]:
        return files.encode([str(paths[post]) for post in posts])

    jobs = np.array_split(unseen, -(-len(unseen) // files.batch_size)) if len(unseen) else []
    failed = _compute(store, keys, jobs, work, threads, tick)
    tick(0, 0)
    rows = np.where(present, store.find(keys), -1)
    for post in np.flatnonzero(present & (rows < 0)):
        error = failed.get(_key(keys[post]))  # of whichever copy of the file was encoded
        if error is None:
            raise _not_kept(store.folder)
        bad[int(post)] = PictureError(paths[int(post)], error.expected, error.found, error.fix)
    return rows, bad


def _not_kept(folder: Path) -> EncoderError:
    expected, found = "what has just been written there", "something else when it was read again"
    return EncoderError(folder, expected, found, "Check the disk, or set encoders.cache=FOLDER.")


def _encode_files(
    paths: Sequence[str], encoder: FrozenImageEncoder
) -> list[Encoded | PictureError]:
    prepared: list[Array | PictureError] = []
    for path in paths:
        try:
            prepared.append(encoder.prepare(read_picture(path), path))
        except PictureError as error:
            prepared.append(error)
    pixels = [item for item in prepared if not isinstance(item, PictureError)]
    encoded = iter(encoder.encode(pixels) if pixels else [])
    return [item if isinstance(item, PictureError) else next(encoded) for item in prepared]


def _file_keys(
    paths: Sequence[str | None], read: Callable[[str], bytes], threads: int
) -> tuple[Array, dict[int, PictureError]]:
    def key(path: str | None) -> tuple[int, int] | PictureError:
        try:
            return (0, 0) if path is None else content_key(read(path))
        except PictureError as error:
            return error

    keys, bad = np.zeros((len(paths), 2), dtype=np.uint64), {}
    for post, found in enumerate(_each(key, paths, threads)):
        if isinstance(found, PictureError):
            bad[post] = found
        else:
            keys[post] = found
    return keys, bad


def _each(
    function: Callable[[Given], Result], items: Sequence[Given], threads: int
) -> Iterator[Result]:
    """The function of each item, in order; one item is not worth a thread."""
    if len(items) <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as workers:
        yield from workers.map(function, items)


def _same_length(posts: Array, lengths: Array, batch_size: int) -> list[Array]:
    """Batches of posts whose texts have equally many tokens, longest first: nothing is padded."""
    order = np.argsort(-lengths, kind="stable")
    groups = np.split(posts[order], np.flatnonzero(np.diff(lengths[order])) + 1)
    return [
        group[start : start + batch_size]
        for group in groups
        for start in range(0, len(group), batch_size)
    ]


def _compute(
    store: ShardStore[Item],
    keys: Array,
    jobs: Sequence[Array],
    work: Callable[[Array], list[Item | PictureError]],
    threads: int,
    tick: _Ticker,
) -> dict[tuple[int, int], PictureError]:
    """Run the jobs on several threads and keep their results; returns what failed, by key."""
    if len(jobs):
        store.open_for_writing()
    failed: dict[tuple[int, int], PictureError] = {}
    todo, done = sum(len(job) for job in jobs), 0
    shard = _OpenShard(store)
    try:
        for posts, results in _in_order(work, jobs, threads):
            for post, result in zip(posts, results, strict=True):
                if isinstance(result, PictureError):
                    failed[_key(keys[post])] = result
                else:
                    shard.add(keys[post], result)
            done += len(posts)
            tick(done, todo)
    finally:
        shard.write()  # an interrupted command keeps what it has computed
    return failed


def _key(row: Array) -> tuple[int, int]:
    return int(row[0]), int(row[1])


def _in_order(
    work: Callable[[Array], list[Item | PictureError]], jobs: Sequence[Array], threads: int
) -> Iterator[tuple[Array, list[Item | PictureError]]]:
    """Results in the order of their jobs; a bounded number of jobs is under way at any time."""
    if len(jobs) <= 1:  # not worth a thread
        with _one_torch_thread():
            yield from ((job, work(job)) for job in jobs)
        return
    waiting: deque[tuple[Array, Future[list[Item | PictureError]]]] = deque()
    with _one_torch_thread(), ThreadPoolExecutor(threads) as workers:
        for job in jobs:
            waiting.append((job, workers.submit(work, job)))
            if len(waiting) > threads * LOOKAHEAD:
                posts, future = waiting.popleft()
                yield posts, future.result()
        for posts, future in waiting:
            yield posts, future.result()


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Jobs share the cores as they are: sums would depend on how many work on one of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _OpenShard(Generic[Item]):
    """Results on their way to the store; written when large or old enough to be worth keeping."""

    def __init__(self, store: ShardStore[Item]) -> None:
        self.store = store
        self._start()

    def _start(self) -> None:
        self.keys: list[Array] = []
        self.items: list[Item] = []
        self.bytes, self.since = 0, monotonic()

    def add(self, key: Array, item: Item) -> None:
        self.keys.append(key)
        self.items.append(self.store.compact(item))
        self.bytes += self.items[-1].nbytes
        if self.bytes >= SHARD_BYTES or monotonic() - self.since >= SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        if self.items:
            self.store.append(np.array(self.keys, dtype=np.uint64), self.items)
        self._start()
