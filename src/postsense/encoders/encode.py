"""Encode every text and picture once: posts → feature columns, through the feature store."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from postsense.data.images import read_picture
from postsense.data.text import normalize_text
from postsense.encoders.features import Encoded, FeatureColumn, FeatureStore, content_key
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.errors import PictureError
from postsense.posts import Posts
from postsense.progress import Progress, silent

Array = np.ndarray[Any, Any]
Result = Encoded | PictureError
Work = Callable[[Array], list[Result]]

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
    store = _open_store(encoder, with_tokens)
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
    store = _open_store(encoder, with_tokens)
    rows, bad = [np.zeros(0, dtype=np.int64)], {}
    for start, paths in _chunks(posts, "image"):
        tick = _Ticker("encode pictures", start, len(paths), len(posts), progress)
        found, failed = _encode_pictures(paths, encoder, store, threads, tick)
        rows.append(found)
        bad.update({start + post: error for post, error in failed.items()})
    if not store.shards:  # as for texts; no picture file is empty, so the key is never asked for
        black = np.zeros((3, encoder.policy.crop_px, encoder.policy.crop_px), dtype=np.float32)
        store.append(np.array([content_key(b"")], dtype=np.uint64), encoder.encode([black]))
    return FeatureColumn(store, np.concatenate(rows)), bad


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
    cleaned = [normalize_text(text, encoder.settings.normalize) if text else "" for text in texts]
    present = np.array([bool(text) for text in cleaned], dtype=bool)
    keys = np.array([content_key(text.encode()) for text in cleaned], dtype=np.uint64)
    unseen = _unseen(store, keys, present)
    if len(unseen):
        ids = dict(zip(unseen, encoder.tokenizer([cleaned[i] for i in unseen]), strict=True))

        def work(posts: Array) -> list[Result]:
            return [*encoder.encode([ids[post] for post in posts])]

        lengths = np.array([len(ids[post]) for post in unseen])
        _compute(
            store, keys, _same_length(unseen, lengths, encoder.batch_size), work, threads, tick
        )
    tick(0, 0)
    return np.where(present, store.find(keys), -1)


def _encode_pictures(
    paths: Sequence[str | None],
    encoder: FrozenImageEncoder,
    store: FeatureStore,
    threads: int,
    tick: _Ticker,
) -> tuple[Array, dict[int, PictureError]]:
    keys, bad = _picture_keys(paths, threads)
    present = np.array([path is not None for path in paths], dtype=bool)
    present[list(bad)] = False
    unseen = _unseen(store, keys, present)

    def work(posts: Array) -> list[Result]:
        return _encode_files([str(paths[post]) for post in posts], encoder)

    jobs = np.array_split(unseen, -(-len(unseen) // encoder.batch_size)) if len(unseen) else []
    failed = _compute(store, keys, jobs, work, threads, tick)
    tick(0, 0)
    rows = np.where(present, store.find(keys), -1)
    for post in np.flatnonzero(present & (rows < 0)):
        error = failed[_key(keys[post])]  # of whichever copy of the picture was decoded
        bad[int(post)] = PictureError(paths[int(post)], error.expected, error.found, error.fix)
    return rows, bad


def _encode_files(paths: Sequence[str], encoder: FrozenImageEncoder) -> list[Result]:
    prepared: list[Array | PictureError] = []
    for path in paths:
        try:
            prepared.append(encoder.prepare(read_picture(path), path))
        except PictureError as error:
            prepared.append(error)
    pixels = [item for item in prepared if not isinstance(item, PictureError)]
    encoded = iter(encoder.encode(pixels) if pixels else [])
    return [item if isinstance(item, PictureError) else next(encoded) for item in prepared]


def _picture_keys(
    paths: Sequence[str | None], threads: int
) -> tuple[Array, dict[int, PictureError]]:
    def key(path: str | None) -> tuple[int, int] | PictureError:
        try:
            return (0, 0) if path is None else content_key(read_picture(path))
        except PictureError as error:
            return error

    keys, bad = np.zeros((len(paths), 2), dtype=np.uint64), {}
    with ThreadPoolExecutor(threads) as workers:
        for post, found in enumerate(workers.map(key, paths)):
            if isinstance(found, PictureError):
                bad[post] = found
            else:
                keys[post] = found
    return keys, bad


def _open_store(encoder: FrozenTextEncoder | FrozenImageEncoder, with_tokens: bool) -> FeatureStore:
    kind = "tokens" if with_tokens else "pooled"
    folder = encoder.cache / "features" / f"{encoder.key}-{kind}"
    return FeatureStore(folder, with_tokens=with_tokens)


def _unseen(store: FeatureStore, keys: Array, present: Array) -> Array:
    """Positions of one post for each content that the store lacks. Returns (n,) int64."""
    wanted = np.flatnonzero(present & (store.find(keys) < 0))
    _, first = np.unique(keys[wanted], axis=0, return_index=True)
    return wanted[np.sort(first)]


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
    store: FeatureStore,
    keys: Array,
    jobs: Sequence[Array],
    work: Work,
    threads: int,
    tick: _Ticker,
) -> dict[tuple[int, int], PictureError]:
    """Run the jobs on several threads and keep their results; returns what failed, by key."""
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
    work: Work, jobs: Sequence[Array], threads: int
) -> Iterator[tuple[Array, list[Result]]]:
    """Results in the order of their jobs; a bounded number of jobs is under way at any time."""
    waiting: deque[tuple[Array, Future[list[Result]]]] = deque()
    with ThreadPoolExecutor(threads) as workers:
        for job in jobs:
            waiting.append((job, workers.submit(work, job)))
            if len(waiting) > threads * LOOKAHEAD:
                posts, future = waiting.popleft()
                yield posts, future.result()
        for posts, future in waiting:
            yield posts, future.result()


class _OpenShard:
    """Results on their way to the store; written when large or old enough to be worth keeping."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self._start()

    def _start(self) -> None:
        self.keys: list[Array] = []
        self.items: list[Encoded] = []
        self.bytes, self.since = 0, monotonic()

    def add(self, key: Array, item: Encoded) -> None:
        tokens = item.tokens if self.store.with_tokens else None
        self.keys.append(key)
        self.items.append(Encoded(item.pooled.copy(), None if tokens is None else tokens.copy()))
        self.bytes += 2 * (item.pooled.size + (0 if tokens is None else tokens.size))
        if self.bytes >= SHARD_BYTES or monotonic() - self.since >= SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        if self.items:
            self.store.append(np.array(self.keys, dtype=np.uint64), self.items)
        self._start()
