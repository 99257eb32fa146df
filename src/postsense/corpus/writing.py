"""Selected posts and their features → the files of a corpus: vectors, centers, rows of Lance."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from postsense.atomic import replacing
from postsense.corpus.embedding import Features, column_vectors
from postsense.corpus.reading import CENTERS, POSTS, VECTORS, lance_module
from postsense.corpus.vectors import write_shard

Array = np.ndarray[Any, Any]
_BLOCK = 8192  # posts whose vectors are in memory at a time


def write_centers(folder: Path, text: Array, image: Array) -> None:
    """Write the mean vectors, (Dt,) and (Di,) float32."""
    with replacing(folder / CENTERS) as temporary:
        save_file({"text": text, "image": image}, temporary)


def write_vectors(
    folder: Path, features: Features, text_center: Array, image_center: Array, first: int
) -> None:
    """Write the vectors of posts numbered from `first` as one shard."""
    posts = len(features.text.rows)
    dim = len(image_center) + len(text_center)

    def blocks() -> Iterator[Array]:
        for start in range(0, posts, _BLOCK):
            stop = min(start + _BLOCK, posts)
            image = column_vectors(features.image, start, stop, image_center)
            text = column_vectors(features.text, start, stop, text_center)
            yield np.concatenate([image, text], axis=1)

    numbers = np.arange(first, first + posts)
    write_shard(folder / VECTORS, f"{first:012d}", numbers, dim, blocks())


def create_posts(folder: Path, table: pa.Table, features: Features) -> None:
    """Write posts.lance anew, with numbers from 0."""
    shutil.rmtree(folder / POSTS, ignore_errors=True)  # of a build that was killed
    rows = _reader(table, features, first=0)
    lance_module().write_dataset(rows, str(folder / POSTS), mode="create")


def append_posts(folder: Path, table: pa.Table, features: Features, first: int) -> None:
    """Append the posts to posts.lance, numbered from `first`: all of them or none."""
    rows = _reader(table, features, first)
    lance_module().write_dataset(rows, str(folder / POSTS), mode="append")


def _reader(table: pa.Table, features: Features, first: int) -> pa.RecordBatchReader:
    dim = features.comments.store.dim
    kind = pa.list_(pa.list_(pa.float16(), dim))
    fields = [pa.field("number", pa.int64()), *table.schema, pa.field("comment_vectors", kind)]
    schema = pa.schema(fields)
    return pa.RecordBatchReader.from_batches(schema, _batches(table, features, first, schema))


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
