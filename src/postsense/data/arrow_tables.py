"""Arrow record batches → chunks, whatever types their columns have."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from postsense.data.chunks import Chunk
from postsense.errors import DataError

PICTURE_ROWS = 64  # rows at a time where cells may be pictures
_AHEAD_OF_TEXT = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


def class_names(schema: pa.Schema) -> Mapping[str, list[str]]:
    """The names of the classes of each column that Hugging Face's ClassLabel keeps as numbers."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about["info"]["features"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return dict(_named_classes(features))


def _named_classes(features: Any, prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    for name, feature in features.items() if isinstance(features, dict) else ():
        if not isinstance(feature, dict) or depth > 20:
            continue
        if feature.get("_type") == "ClassLabel":
            names = feature.get("names")
            if isinstance(names, list) and all(isinstance(each, str) for each in names):
                yield f"{prefix}{name}", names
        elif "_type" not in feature:
            yield from _named_classes(feature, f"{prefix}{name}.", depth + 1)


def field_names(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[str]:
    """The names of fields, and of those inside them with dots."""
    for field in fields:
        yield prefix + field.name
        if pa.types.is_struct(field.type):
            yield from field_names(field.type, f"{prefix}{field.name}.")


def may_hold_pictures(field: pa.Field) -> bool:
    """Whether the cells of a column are bytes, or have bytes in them."""
    if pa.types.is_struct(field.type):
        return any(may_hold_pictures(inner) for inner in field.type)
    return any(is_kind(field.type) for is_kind in _AHEAD_OF_TEXT)


def chunk_of_batch(
    where: str, batch: pa.RecordBatch, schema: pa.Schema, wanted: Collection[str], first_row: int
) -> Chunk:
    """The wanted columns of a batch. where, first_row: its table and place in it, for messages.

    Raises: DataError: a cell that is no text although its column is; the row is named.
    """
    names, classes, columns = list(field_names(schema)), class_names(schema), {}
    for name in wanted:
        if name in names:
            values = _values(where, name, _column(batch, name), first_row)
            known = classes.get(name)
            columns[name] = values if known is None else [_class_of(v, known) for v in values]
    return Chunk(batch.num_rows, columns, names)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name in batch.schema.names:
        return batch[name]
    column, *path = name.split(".")
    return pc.struct_field(batch[column], path)


def _class_of(value: Any, names: list[str]) -> Any:
    """The name of a class's number; -1 says that there is none."""
    if isinstance(value, int) and -1 <= value < len(names):
        return None if value < 0 else names[value]
    return value


def _values(where: str, name: str, array: pa.Array, first_row: int) -> list[Any]:
    try:
        return list(_readable(array).to_pylist())
    except (ValueError, OverflowError):
        pass
    values = []
    for row in range(len(array)):  # once more, for the row
        try:
            values.append(array[row].as_py())
        except UnicodeDecodeError:
            fix = "Write the file again, with text in UTF-8."
            place = f"{where} row {first_row + row}, {name}"
            raise DataError(place, "UTF-8 text", "other bytes", fix) from None
        except (ValueError, OverflowError):
            values.append(_far_time(array[row]))
    return values


def _readable(array: pa.Array) -> pa.Array:
    """The same values in a type that becomes Python's own without a loss that matters."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _readable(array.storage) if "uuid" not in str(kind) else array
    if pa.types.is_dictionary(kind):
        return array.cast(kind.value_type)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return array.cast(pa.timestamp("us", kind.tz), safe=False)
    if any(is_kind(kind) for is_kind in _AHEAD_OF_TEXT):
        return _text_in_bytes(array)
    return array


def _text_in_bytes(array: pa.Array) -> pa.Array:
    """Text of a program that does not mark it as such; other bytes, as of pictures, stay bytes."""
    try:
        return array.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return array


def _far_time(value: pa.Scalar) -> str | None:
    """The text of a time that Python cannot hold, such as one in the year 17525; else None."""
    try:
        text = str(value.cast(pa.string()).as_py())
    except (pa.ArrowException, ValueError):
        return None
    return text if text[:1].isdigit() or text[:1] == "-" else None
