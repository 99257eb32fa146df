"""Raw posts → posts with clean words and known pictures, on Daft: in this process or on Ray."""

import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from postsense.config import CorpusSettings
from postsense.corpus.cleaning import clean_comments
from postsense.corpus.deduplication import picture_hash, picture_key
from postsense.corpus.language import ANY, language_probabilities, plain_words
from postsense.data.anonymization import anonymize
from postsense.data.duplicates import MIN_WORDS, clean_text, fingerprint_picture
from postsense.data.images import read_picture
from postsense.errors import CorpusError, PictureError
from postsense.extras import brought_by
from postsense.progress import Progress, silent

NO_CONTENT, NO_PICTURE, LANGUAGE = "neither text nor picture", "no picture", "language"
NO_WORDS, NO_COMMENTS = "no words", "no comments"
FOREIGN = 0.2  # probability of the language below which a comment of MIN_WORDS words is dropped
_MORE = pa.list_(pa.struct([("place", pa.int64()), ("comment", pa.string())]))
BATCH, PICTURES = 4096, 64  # posts cleaned, pictures looked at, at a time
PROCESSES_FROM = 100_000  # posts; fewer are done before the processes of their own have started

CLEANED = pa.struct(
    [
        ("text", pa.string()),
        ("words", pa.string()),
        ("comments", pa.list_(pa.string())),
        ("reason", pa.string()),  # why the post is dropped; null: it is kept
        ("empty_comments", pa.int64()),
        ("repeated_comments", pa.int64()),
        ("foreign_comments", pa.int64()),
    ]
)
INSPECTED = pa.struct([("key", pa.binary(16)), ("hash", pa.binary(16)), ("problem", pa.string())])


def use_runner(ray: str | None) -> None:
    """Run Daft on a Ray cluster if its address is given. Raises: CorpusError: that cannot be."""
    daft = _daft()
    if ray is None:
        return
    try:
        daft.set_runner_ray(ray, noop_if_initialized=True)
    except ImportError:
        raise CorpusError("ray", "the package 'ray'", "none", "pip install 'daft[ray]'") from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CorpusError("ray", "the address of a cluster", f"'{ray}'", str(error)) from None


def clean_posts(
    posts: pa.Table, comments: pa.Table, settings: CorpusSettings, progress: Progress = silent
) -> pa.Table:
    """The posts with the columns of CLEANED, in the order of (source, row).

    Args:
        posts: of ingest.RAW_POSTS. comments: of ingest.RAW_COMMENTS, joined to the posts by id.
    """
    daft = _daft()
    frame = daft.from_arrow(posts)
    if len(comments):
        frame = frame.join(_by_post(comments), left_on="id", right_on="post", how="left")
    else:
        frame = frame.with_column("more", daft.lit(None).cast(daft.DataType.from_arrow_type(_MORE)))
    clean = _batch_function(clean_rows, CLEANED, settings, len(posts) >= PROCESSES_FROM)
    column = daft.col
    kept = [column(name) for name in ("source", "row", "id", "image", "created_at")]
    cleaned = clean(column("text"), column("image"), column("comments"), column("more"))
    frame = frame.into_batches(BATCH).select(*kept, cleaned)
    table = _collect(frame, "clean posts", len(posts), progress)
    return table.sort_by([("source", "ascending"), ("row", "ascending")])


def inspect_pictures(paths: Sequence[str], progress: Progress = silent) -> list[dict[str, Any]]:
    """For each file its INSPECTED: content key, picture hash, and what is wrong with it."""
    daft = _daft()
    inspect = _batch_function(inspect_rows, INSPECTED)
    frame = daft.from_arrow(pa.table({"path": pa.array(paths, pa.string())}))
    frame = frame.into_batches(PICTURES).select(daft.col("path"), inspect(daft.col("path")))
    done = _collect(frame, "check pictures", len(paths), progress).to_pylist()
    found = {row.pop("path"): row for row in done}
    return [found[path] for path in paths]


def clean_rows(
    texts: Sequence[str | None],
    images: Sequence[str | None],
    comments: Sequence[Sequence[str] | None],
    more: Sequence[Sequence[dict[str, Any]] | None],
    settings: CorpusSettings,
) -> list[dict[str, Any]]:
    """One CLEANED a post. more: comments from other tables, each with its place among them."""
    anonymous = [None if text is None else anonymize(text) for text in texts]
    words = ["" if text is None else clean_text(text) for text in anonymous]
    reasons = _reasons(anonymous, images, settings)
    cleaned = [
        clean_comments(_in_order(nested, joined) if reason is None else (), own)
        for nested, joined, own, reason in zip(comments, more, words, reasons, strict=True)
    ]
    readable = _readable([kept for kept, _, _ in cleaned], settings)
    rows = []
    for post, (kept, empty, repeated) in enumerate(cleaned):
        if reasons[post] is None and not readable[post] and settings.require_comments:
            reasons[post] = NO_COMMENTS
        rows.append(
            {
                "text": anonymous[post],
                "words": words[post],
                "comments": readable[post],
                "reason": reasons[post],
                "empty_comments": empty,
                "repeated_comments": repeated,
                "foreign_comments": len(kept) - len(readable[post]),
            }
        )
    return rows


def inspect_rows(paths: Sequence[str]) -> list[dict[str, Any]]:
    """One INSPECTED a path."""
    return [_inspect(path) for path in paths]


def _inspect(path: str) -> dict[str, Any]:
    try:
        data = read_picture(path)
        fingerprint = fingerprint_picture(data, path)
    except PictureError as error:
        return {"key": None, "hash": None, "problem": str(error)}
    return {"key": picture_key(data), "hash": picture_hash(fingerprint), "problem": None}


def _reasons(
    texts: Sequence[str | None], images: Sequence[str | None], settings: CorpusSettings
) -> list[str | None]:
    """Why each post is dropped for its own sake, None for those that stay."""
    likely: Sequence[float | None] = [1.0] * len(texts)
    if settings.language != ANY:
        likely = language_probabilities([plain_words(t or "") for t in texts], settings.language)
    reasons: list[str | None] = []
    for text, image, probability in zip(texts, images, likely, strict=True):
        if text is None and image is None:
            reasons.append(NO_CONTENT)
        elif image is None and settings.require_image:
            reasons.append(NO_PICTURE)
        elif probability is not None and probability < settings.min_language_confidence:
            reasons.append(LANGUAGE)
        elif probability is None and image is None:
            reasons.append(NO_WORDS)
        else:
            reasons.append(None)
    return reasons


def _readable(comments: Sequence[list[str]], settings: CorpusSettings) -> list[list[str]]:
    """The comments without those of some words that are hardly in the language."""
    if settings.language == ANY:
        return list(comments)
    flat = [comment for kept in comments for comment in kept if _is_long(comment)]
    likely = dict(zip(flat, language_probabilities(flat, settings.language), strict=True))
    foreign = {text for text, share in likely.items() if share is not None and share < FOREIGN}
    return [[comment for comment in kept if comment not in foreign] for kept in comments]


def _is_long(comment: str) -> bool:
    """Whether there are enough words to tell the language."""
    return comment.count(" ") + 1 >= MIN_WORDS


def _collect(frame: Any, step: str, total: int, progress: Progress) -> pa.Table:
    """The rows of a frame, in an order that Daft leaves open."""
    batches: list[pa.RecordBatch] = []
    done = 0
    for batch in frame.to_arrow_iter():
        batches.append(batch)
        done += len(batch)
        progress(step, done, total)
    return pa.Table.from_batches(batches, frame.schema().to_pyarrow_schema())


def _in_order(nested: Sequence[str] | None, joined: Sequence[dict[str, Any]] | None) -> list[str]:
    ordered = sorted(joined or (), key=lambda item: int(item["place"]))
    return [*(nested or ()), *(item["comment"] for item in ordered)]


def _by_post(comments: pa.Table) -> Any:
    """Comments of each post as `more`, in an order that Daft leaves open."""
    daft = _daft()
    column, together = daft.col, daft.functions.to_struct
    item = together(place=column("place"), comment=column("comment"))
    frame = daft.from_arrow(comments).select(column("post"), item.alias("more"))
    return frame.groupby("post").agg(column("more").list_agg())


def _batch_function(
    function: Any,
    kind: pa.StructType,
    settings: CorpusSettings | None = None,
    use_process: bool = False,
) -> Any:
    """A Daft function over whole columns that gives the fields of `kind` as columns."""
    daft = _daft()

    def run(*columns: Any) -> pa.Array:
        values = [column.to_arrow().to_pylist() for column in columns]
        rows = function(*values) if settings is None else function(*values, settings)
        return pa.array(rows, kind)

    dtype = daft.DataType.from_arrow_type(kind)
    return daft.func.batch(return_dtype=dtype, unnest=True, use_process=use_process)(run)


def _daft() -> Any:
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")  # read when daft is imported; ours is shown
    os.environ.setdefault("DAFT_SHOW_QUERY_ID", "0")
    with brought_by("corpus", "daft"):
        import daft
        import daft.functions
    return daft
