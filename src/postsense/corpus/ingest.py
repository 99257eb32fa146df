"""Tables of posts, and tables of comments beside them → one Arrow table of each, in input order."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postsense.config import Columns, CorpusSettings
from postsense.data.anonymization import anonymize
from postsense.data.identities import free_ids
from postsense.data.loading import load_posts
from postsense.data.reading import corpus_reading
from postsense.data.sources import RawTable, open_tables
from postsense.errors import CorpusError, DataError, nearest
from postsense.files.regular import open_regular
from postsense.posts import Posts
from postsense.progress import Progress, silent

RAW_POSTS = pa.schema(
    [
        ("source", pa.int32()),  # position of the table among the inputs
        ("row", pa.int64()),  # of the post in its table, from 0
        ("id", pa.string()),
        ("text", pa.string()),
        ("image", pa.string()),
        ("comments", pa.list_(pa.string())),
        ("created_at", pa.string()),
    ]
)
RAW_COMMENTS = pa.schema([("post", pa.string()), ("place", pa.int64()), ("comment", pa.string())])
_READ = ("text", "image", "comments")
_MAPPED = ("image", "comments", "created_at")  # may be absent from some of the tables


@dataclass(frozen=True)
class Source:
    """A file that posts or comments came from, to tell later whether it is the same."""

    path: str
    bytes: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The source in types that JSON has."""
        return asdict(self)


def describe_sources(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Path, size and SHA-256 of every file behind the inputs; an image folder's is its metadata.

    Raises: DataError: nothing there, or a kind of file that is not read.
    """
    files = [Path(table.name) for path in paths for table in open_tables(path)]
    return tuple(_describe(file) for file in files)


def read_posts(
    inputs: Sequence[Path],
    settings: CorpusSettings,
    *,
    separate_comments: bool,
    known: Mapping[str, str | None] | None = None,
    progress: Progress = silent,
) -> pa.Table:
    """The posts of all inputs as a table of RAW_POSTS, in their order.

    Posts of a table without ids are named by their row; where that is the id of another post, also
    by a hash of their file.

    Args:
        separate_comments: comments come from tables of their own as well.
        known: anonymised texts of the posts that the corpus has, by id.
    Raises: DataError: a table, column or id cannot be used. CorpusError: two inputs share an id,
        or a column that the settings name is in none of them.
    """
    if not inputs:
        raise CorpusError("corpus", "at least one table of posts", "none", "Name a table.")
    wants_comments = settings.require_comments and not separate_comments
    require = ("comments",) if wants_comments else ()
    loaded, optional, reading = [], ("label", "split", *_MAPPED), corpus_reading(settings)
    for number, path in enumerate(inputs):
        posts = load_posts(path, settings.columns, require, optional, reads=_READ, reading=reading)
        loaded.append(posts)
        progress("read tables", number + 1, len(inputs))
    tables = []
    for number, ids in enumerate(_ids_of(loaded, inputs, known or {})):
        table = loaded[number].table
        source = pa.repeat(pa.scalar(number, pa.int32()), len(table))
        row = pa.array(np.arange(len(table)))
        columns = [table[name] for name in RAW_POSTS.names[3:]]
        arrays = [source, row, pa.array(ids, pa.string()), *columns]
        tables.append(pa.Table.from_arrays(arrays, schema=RAW_POSTS))
    table = pa.concat_tables(tables)
    _refuse_absent(table, settings.columns, inputs)
    _refuse_shared_ids(table, inputs)
    return table


def _ids_of(
    tables: Sequence[Posts], inputs: Sequence[Path], known: Mapping[str, str | None]
) -> list[list[str]]:
    """The ids of the posts of each table; those that were made up are nobody else's."""
    each: list[list[str]] = [posts.column("id") for posts in tables]
    given = [ids for posts, ids in zip(tables, each, strict=True) if not posts.made_ids]
    taken = {post_id for ids in given for post_id in ids}
    for number, posts in enumerate(tables):
        if posts.made_ids:
            if not taken.isdisjoint(each[number]) or _are_others(posts, known):
                prefix = f"{describe_sources(inputs[number : number + 1])[0].sha256[:8]}-"
                each[number] = free_ids([prefix + row for row in each[number]], taken, prefix)
            taken.update(each[number])
    return each


def _are_others(posts: Posts, known: Mapping[str, str | None]) -> bool:
    """Whether the corpus has another post, or one without words, under the id of one of these."""
    pairs = zip(posts.column("id"), posts.column("text"), strict=True)
    same = (text is not None and known[i] == anonymize(text) for i, text in pairs if i in known)
    return not all(same)


def read_comments(
    paths: Sequence[Path], settings: CorpusSettings, progress: Progress = silent
) -> pa.Table:
    """The comments of separate tables as a table of RAW_COMMENTS; `place` counts over all of them.

    Raises: DataError: a table or one of its two columns cannot be read.
    """
    tables = [RAW_COMMENTS.empty_table()]
    for number, path in enumerate(paths):
        for raw in open_tables(path, settings.delimiter):
            tables.append(_read_comment_table(raw, settings, sum(map(len, tables))))
        progress("read comments", number + 1, len(paths))
    return pa.concat_tables(tables)


def refuse_unrelated(comments: pa.Table, posts: pa.Table, paths: Sequence[Path]) -> int:
    """How many comments are about none of the posts. Raises: CorpusError: all of them."""
    related = pc.is_in(comments["post"], posts["id"])
    strangers = len(comments) - int(pc.sum(related).as_py() or 0)
    if len(comments) and strangers == len(comments):
        first, post = comments["post"][0].as_py(), posts["id"][0].as_py()
        raise CorpusError(
            ", ".join(map(str, paths)),
            f"comments on the posts, such as '{post}'",
            f"{len(comments)} comments on other posts, the first on '{first}'",
            "comment_post names the column that holds the post's id.",
        )
    return strangers


def _describe(file: Path) -> Source:
    if file.is_dir():
        return _describe_pictures(file)
    with open_regular(file) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Source(str(file.absolute()), file.stat().st_size, digest)


def _describe_pictures(folder: Path) -> Source:
    """A folder of pictures without a table, by their names and sizes."""
    files = sorted(item for item in folder.rglob("*") if item.is_file())
    sizes = [(str(item.relative_to(folder)), item.stat().st_size) for item in files]
    digest = hashlib.sha256(repr(sizes).encode("utf-8", "surrogateescape")).hexdigest()
    return Source(str(folder.absolute()), sum(size for _, size in sizes), digest)


def _read_comment_table(raw: RawTable, settings: CorpusSettings, place: int) -> pa.Table:
    wanted = (settings.comment_post, settings.comment_text)
    values: dict[str, list[str | None]] = {name: [] for name in wanted}
    names = set[str]()
    for chunk in raw.read(wanted):
        names.update(chunk.names)
        for name in wanted:
            cells = chunk.columns.get(name, [None] * chunk.rows)
            values[name] += [_cell(cell) for cell in cells]
    if not values[wanted[0]]:
        raise DataError(raw.name, "at least one comment", "none", "Check that the table has rows.")
    for name, field in zip(wanted, ("comment_post", "comment_text"), strict=True):
        if all(value is None for value in values[name]):
            fix = f"{nearest(name, names)} {field} names the column to use."
            found = "no value in it" if name in names else "no such column"
            raise DataError(raw.name, f"a column '{name}' of comments", found, fix)
    posts, texts = values[wanted[0]], values[wanted[1]]
    places = np.arange(place, place + len(posts))
    table = pa.table([pa.array(posts), places, pa.array(texts)], schema=RAW_COMMENTS)
    return table.filter(pc.and_(table["post"].is_valid(), table["comment"].is_valid()))


def _cell(value: object) -> str | None:
    """An id or text as a string; an integral float is the integer it was before a gap joined it."""
    if isinstance(value, float):
        value = None if value != value else int(value) if value.is_integer() else value
    text = "" if value is None else str(value).strip()
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") or None


def _refuse_absent(table: pa.Table, columns: Columns, inputs: Sequence[Path]) -> None:
    """A column that the user named has to be in one of the tables."""
    for field in _MAPPED:
        name = getattr(columns, field)
        if (
            name != Columns.model_fields[field].default
            and not table[field].is_valid().to_numpy().any()
        ):
            raise CorpusError(
                ", ".join(map(str, inputs)),
                f"a column '{name}' for {field}",
                "no value in any table",
                f"columns.{field} names the column to use.",
            )


def _refuse_shared_ids(table: pa.Table, inputs: Sequence[Path]) -> None:
    if len(inputs) == 1:
        return  # load_posts has looked within each table
    counts = table["id"].value_counts()
    shared = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(shared):
        raise CorpusError(
            ", ".join(map(str, inputs)),
            "ids that one table alone uses",
            f"{len(shared)} used in several, the first '{shared[0].as_py()}'",
            "Drop the repeated posts, or give each table ids of its own.",
        )
