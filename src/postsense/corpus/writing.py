"""Selected posts and their features → the files of a corpus: vectors, centers, rows of Lance."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from postsense.arrays import Array
from postsense.corpus.checksums import FIELDS, SUMMED, file_digest, sums_column, vector_sums
from postsense.corpus.embedding import Features, column_vectors
from postsense.corpus.parts import CENTERS, POSTS, VECTORS, lance_module
from postsense.corpus.seals import SEALS
from postsense.corpus.vectors import write_shard
from postsense.files.atomic import replacing

_BLOCK = 8192  # posts whose vectors are in memory at a time


@dataclass(frozen=True)
class Sums:
    """What checksums of rows are made with. identity: of the corpus. of_vectors: (n,) uint64."""

    identity: str
    of_vectors: Array


def write_centers(folder: Path, text: Array, image: Array) -> str:
    """Write the mean vectors, (Dt,) and (Di,) float32. Returns: the digest of the file."""
    data = save({"text": text, "image": image})
    with replacing(folder / CENTERS) as temporary:
        temporary.write_bytes(data)
    return file_digest(data)


def write_vectors(
    folder: Path,
    features: Features,
    text_center: Array,
    image_center: Array,
    first: int,
    identity: str,
) -> Sums:
    """Write the vectors of posts numbered from `first` as one shard. Returns: their checksums."""
    posts = len(features.text.rows)
    dim = len(image_center) + len(text_center)
    numbers = np.arange(first, first + posts)
    sums = np.zeros(posts, np.uint64)

    def blocks() -> Iterator[Array]:
        for start in range(0, posts, _BLOCK):
            stop = min(start + _BLOCK, posts)
            image = column_vectors(features.image, start, stop, image_center)
            text = column_vectors(features.text, start, stop, text_center)
            block = np.concatenate([image, text], axis=1)
            sums[start:stop] = vector_sums(block, numbers[start:stop], identity)
            yield block

    write_shard(folder / VECTORS, f"{first:012d}", numbers, dim, blocks())
    return Sums(identity, sums)


def create_posts(folder: Path, table: pa.Table, features: Features, sums: Sums) -> None:
    """Write posts.lance anew, with numbers from 0."""
    (folder / SEALS).unlink(missing_ok=True)  # this and the posts: of a build that was killed
    shutil.rmtree(folder / POSTS, ignore_errors=True)
    rows = _reader(table, features, 0, sums)
    lance_module().write_dataset(rows, str(folder / POSTS), mode="create")


def append_posts(
    folder: Path, table: pa.Table, features: Features, first: int, sums: Sums | None
) -> None:
    """Append the posts to posts.lance, numbered from `first`: all of them or none.

    sums: None: the corpus is of a time when there were none.
    """
    rows = _reader(table, features, first, sums)
    lance_module().write_dataset(rows, str(folder / POSTS), mode="append")


def _reader(
    table: pa.Table, features: Features, first: int, sums: Sums | None
) -> pa.RecordBatchReader:
    dim = features.comments.store.dim
    kind = pa.list_(pa.list_(pa.float16(), dim))
    fields = [pa.field("number", pa.int64()), *table.schema, pa.field("comment_vectors", kind)]
    schema = pa.schema(fields)
    batches = _batches(table, features, first, schema)
    if sums is not None:
        schema = pa.schema([*schema, *FIELDS])
        batches = _summed(batches, first, sums, schema)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _batches(
    table: pa.Table, features: Features, first: int, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    comment = 0
    for start in range(0, len(table), _BLOCK):
        part = table.slice(start, _BLOCK).combine_chunks()
        counts = np.array([len(comments) for comments in part["comments"].to_pylist()])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        stop = comment + int(offsets[-1])
        vectors = column_vectors(features.comments, comment, stop, None)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        numbers = pa.array(np.arange(first + start, first + start + len(part)))
        nested = pa.ListArray.from_arrays(pa.array(offsets), flat)
        columns = [column.combine_chunks() for column in part.columns]
        arrays = [array.cast(f.type) for array, f in zip((numbers, *columns), schema, strict=False)]
        yield pa.record_batch([*arrays, nested], schema=schema)
        comment = stop


def _summed(
    batches: Iterator[pa.RecordBatch], first: int, sums: Sums, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The batches with the checksums of their rows."""
    for batch in batches:
        numbers = batch["number"].to_numpy()
        columns = [batch[name] for name in SUMMED]
        of_vectors = sums.of_vectors[numbers - first]
        added = [sums_column(columns, numbers, sums.identity), pa.array(of_vectors)]
        yield pa.record_batch([*batch.columns, *added], schema=schema)
