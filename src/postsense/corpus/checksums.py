"""Checksums of what a corpus keeps, so that what changed on disk is not taken for what was said.

Every row of posts.lance has one for each of its columns (`sums`) and one for the vector of its post
(`vector_sum`); corpus.json has one of the numbers of all posts. A checksum counts for one post of
one corpus alone: rows that changed places, or come from elsewhere, do not fit. They are checked as
rows are read, so that opening a corpus does not read it all. They hold against damage, not
against somebody who writes both anew.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from postsense.arrays import Array

SUMS, VECTOR_SUM, COMMENT_VECTORS = "sums", "vector_sum", "comment_vectors"
SUMMED = (
    *("id", "text", "image", "comments", "text_key", "image_key", "image_hash"),
    *("created_at", "source", "row", COMMENT_VECTORS),
)  # the columns in the order of their checksums
FIELDS = (
    pa.field(SUMS, pa.list_(pa.uint64(), len(SUMMED))),
    pa.field(VECTOR_SUM, pa.uint64()),
)
_NOTHING = b"\xff"  # stands for null; no UTF-8, and shorter than any key


def numbers_digest(numbers: Array) -> str:
    """32 hexadecimal digits of the numbers of all posts, ascending."""
    return xxh3_128_hexdigest(np.ascontiguousarray(numbers, "<i8").data)


def file_digest(data: bytes) -> str:
    """32 hexadecimal digits of what is in a small file."""
    return xxh3_128_hexdigest(data)


def column_sums(column: pa.Array, name: str, numbers: Array, identity: str) -> Array:
    """The checksum (n,) uint64 of each value of a column of posts.lance.

    numbers: (n,) of the posts. identity: of the corpus.
    """
    seed = _seed(identity, name)
    pairs = zip(_contents(column), numbers.tolist(), strict=True)
    sums = (xxh3_64_intdigest(content, seed ^ number) for content, number in pairs)
    return np.fromiter(sums, np.uint64, len(column))


def vector_sums(vectors: Array, numbers: Array, identity: str) -> Array:
    """The checksum (n,) uint64 of each vector. vectors: (n, D) float16; numbers: (n,)."""
    seed = _seed(identity, "vectors")
    pairs = zip(_rows(vectors), numbers.tolist(), strict=True)
    sums = (xxh3_64_intdigest(content, seed ^ number) for content, number in pairs)
    return np.fromiter(sums, np.uint64, len(vectors))


def sums_column(columns: Sequence[pa.Array], numbers: Array, identity: str) -> pa.Array:
    """The column `sums` of rows given by their columns, in the order of SUMMED."""
    each = [
        column_sums(column, name, numbers, identity)
        for name, column in zip(SUMMED, columns, strict=True)
    ]
    flat = pa.array(np.stack(each, axis=1).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, len(SUMMED))


def changed_row(rows: pa.RecordBatch, numbers: Array, identity: str) -> tuple[int, str] | None:
    """Number and column of the first value that is not as it was written; None: all are.

    rows: some columns of SUMMED, and `sums`.
    """
    written = rows[SUMS].flatten().to_numpy(zero_copy_only=False).reshape(-1, len(SUMMED))
    for name in rows.schema.names:
        if name in SUMMED:
            sums = column_sums(rows[name], name, numbers, identity)
            wrong = np.flatnonzero(sums != written[:, SUMMED.index(name)])
            if len(wrong):
                return int(numbers[wrong[0]]), name
    return None


def _seed(identity: str, name: str) -> int:
    return xxh3_64_intdigest(f"{identity} {name}".encode())


def _contents(column: pa.Array) -> list[Any]:
    """The bytes of each value, whichever way Arrow has laid them out."""
    kind = column.type
    if kind == pa.list_(pa.string()):
        lists = column.cast(pa.list_(pa.binary())).to_pylist()
        return [_NOTHING if v is None else b"\0".join([b"%d" % len(v), *v]) for v in lists]
    if pa.types.is_list(kind):  # of vectors
        ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
        width = kind.value_type.list_size
        flat = column.flatten().flatten().to_numpy(zero_copy_only=False)
        data = np.ascontiguousarray(flat).view(np.uint8).data
        places = np.concatenate([[0], ends * width * flat.itemsize]).tolist()
        return [data[start:end] for start, end in pairwise(places)]
    if pa.types.is_integer(kind):
        return [_NOTHING if v is None else str(v).encode() for v in column.to_pylist()]
    if pa.types.is_string(kind):
        column = column.cast(pa.binary())
    return [_NOTHING if v is None else v for v in column.to_pylist()]


def _rows(matrix: Array) -> Iterator[memoryview]:
    """The bytes of each row."""
    data = np.ascontiguousarray(matrix).view(np.uint8).reshape(-1).data
    width = matrix.shape[1] * matrix.itemsize
    for start in range(0, len(matrix) * width, width):
        yield data[start : start + width]
