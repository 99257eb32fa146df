"""Raw tables → the posts a corpus keeps, and for all others why not."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postsense.config import CorpusSettings
from postsense.corpus.cleaning import comment_words
from postsense.corpus.dataflow import NO_CONTENT, clean_posts, inspect_pictures
from postsense.corpus.deduplication import Traits, earlier_twins, words_key
from postsense.corpus.ingest import read_comments, read_posts, refuse_unrelated
from postsense.corpus.language import check_language
from postsense.data.anonymization import anonymize
from postsense.errors import CorpusError
from postsense.progress import Progress, silent

UNREADABLE, DUPLICATE, KNOWN = "unreadable picture", "duplicate", "already there"
SELECTED = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("image", pa.string()),
        ("comments", pa.list_(pa.string())),
        ("text_key", pa.binary(16)),
        ("image_key", pa.binary(16)),
        ("image_hash", pa.binary(16)),
        ("created_at", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
    ]
)


@dataclass(frozen=True)
class BadPost:
    """A post that cannot be used, where it stands and why."""

    id: str
    source: str
    row: int
    reason: str


@dataclass(frozen=True)
class Known:
    """The posts that are there already: their ids with their texts, and what tells them apart."""

    texts: dict[str, str | None]
    traits: Traits


NOTHING_KNOWN = Known({}, Traits([], [], []))


@dataclass(frozen=True)
class Selection:
    """table: of SELECTED, in input order. read: posts in the inputs. dropped: posts by reason."""

    table: pa.Table
    read: int
    dropped: dict[str, int]
    dropped_comments: dict[str, int]
    bad: tuple[BadPost, ...]

    def record(self) -> dict[str, Any]:
        """All but the table, in types that JSON has."""
        record = {name: value for name, value in vars(self).items() if name != "table"}
        return {**record, "bad": [asdict(post) for post in self.bad]}


def select_posts(
    inputs: Sequence[Path],
    comments: Sequence[Path],
    settings: CorpusSettings,
    known: Known = NOTHING_KNOWN,
    progress: Progress = silent,
) -> Selection:
    """Read, clean and filter the posts, and drop those that say and show what an earlier one does.

    An earlier post gets the comments of the copies that go, unless it was known before.

    Raises: DataError, CorpusError: an input cannot be used, or too many of its posts are bad.
    """
    check_language(settings.language)
    separate = bool(comments)
    raw = read_posts(
        inputs, settings, separate_comments=separate, known=known.texts, progress=progress
    )
    extra = read_comments(comments, settings, progress)
    strangers = refuse_unrelated(extra, raw, comments)
    fresh = raw.filter(pa.array(_unknown(raw, known), pa.bool_()))
    cleaned = clean_posts(fresh, extra, settings, progress)
    dropped = Counter({KNOWN: len(raw) - len(fresh)})
    dropped.update(reason for reason in cleaned["reason"].to_pylist() if reason is not None)
    names = ("empty", "repeated", "foreign")
    lost = {name: int(pc.sum(cleaned[f"{name}_comments"]).as_py() or 0) for name in names}
    lost["about no post"] = strangers
    good, bad = _with_pictures(cleaned, inputs, progress)
    dropped[UNREADABLE] = sum(post.reason != _EMPTY for post in bad)
    usable = len(good) + len(raw) - len(fresh)
    refuse_too_many(bad, usable + len(bad), settings)
    table, twins, repeated = _without_twins(good, known, inputs)
    dropped[DUPLICATE] = twins
    lost["repeated"] += repeated
    counted = {reason: count for reason, count in dropped.items() if count}
    return Selection(table, len(raw), counted, lost, bad)


_EMPTY = "expected a text or a picture, found neither. Add one of them."


def refuse_too_many(bad: Sequence[BadPost], posts: int, settings: CorpusSettings) -> None:
    """Raises: CorpusError: more than settings.max_bad_fraction of the posts are bad."""
    if len(bad) <= settings.max_bad_fraction * posts:
        return
    raise CorpusError(
        bad[0].source,
        f"at most {settings.max_bad_fraction:.0%} unusable posts",
        f"{len(bad)} of {posts}, the first '{bad[0].id}': {bad[0].reason.rstrip('.')}",
        "Run 'postsense check' for the whole list, or raise max_bad_fraction.",
    )


def refuse_nothing(selection: Selection, inputs: Sequence[Path]) -> None:
    """Raises: CorpusError: no post is left; the message says what dropped how many."""
    if not len(selection.table):
        reasons = ", ".join(f"{reason} {count}" for reason, count in selection.dropped.items())
        raise CorpusError(
            ", ".join(map(str, inputs)),
            "posts to keep",
            f"none of {selection.read} (dropped: {reasons})",
            "Keep more: --keep-without-picture, --keep-without-comments, --language any.",
        )


def _unknown(raw: pa.Table, known: Known) -> list[bool]:
    """Which posts have an id of their own. Raises: CorpusError: one that another post has."""
    unknown = []
    for post_id, text in zip(raw["id"].to_pylist(), raw["text"].to_pylist(), strict=True):
        unknown.append(post_id not in known.texts)
        if not unknown[-1] and known.texts[post_id] != (None if text is None else anonymize(text)):
            raise CorpusError(
                f"post '{post_id}'",
                "an id that no other post of the corpus has",
                "one that a post with another text has",
                "Give the post an id of its own, or remove the older one first.",
            )
    return unknown


def _with_pictures(
    cleaned: pa.Table, inputs: Sequence[Path], progress: Progress
) -> tuple[pa.Table, tuple[BadPost, ...]]:
    """The posts that stay, with image_key and image_hash, and those that cannot be used."""
    kept = cleaned.filter(cleaned["reason"].is_null())
    images = kept["image"].to_pylist()
    paths = sorted({path for path in images if path is not None})
    found = dict(zip(paths, inspect_pictures(paths, progress), strict=True))
    looked = [found[path] if path is not None else {} for path in images]
    problems = pa.array([look.get("problem") for look in looked], pa.string())
    for name in ("key", "hash"):
        values = pa.array([look.get(name) for look in looked], pa.binary(16))
        kept = kept.append_column(f"image_{name}", values)
    empty = cleaned.filter(pc.fill_null(pc.equal(cleaned["reason"], NO_CONTENT), False))
    broken = kept.filter(problems.is_valid())
    reasons = [_EMPTY] * len(empty) + [problem for problem in problems.to_pylist() if problem]
    rows = [*_places(empty, inputs), *_places(broken, inputs)]
    bad = [BadPost(*row, reason) for row, reason in zip(rows, reasons, strict=True)]
    return kept.filter(problems.is_null()), tuple(sorted(bad, key=lambda post: post.row))


def _places(table: pa.Table, inputs: Sequence[Path]) -> list[tuple[str, str, int]]:
    ids, sources, rows = (table[name].to_pylist() for name in ("id", "source", "row"))
    files = [str(inputs[source]) for source in sources]
    return list(zip(ids, files, rows, strict=True))


def _without_twins(
    good: pa.Table, known: Known, inputs: Sequence[Path]
) -> tuple[pa.Table, int, int]:
    """The table of SELECTED, how many posts went as copies, how many comments were repeated."""
    words, pictures, hashes, comments = (
        good[name].to_pylist() for name in ("words", "image_key", "image_hash", "comments")
    )
    before = len(known.traits)
    traits = Traits(words, pictures, hashes).after(known.traits)
    twins = earlier_twins(traits, known=before)[before:]
    stays, repeated = twins < 0, 0
    copies = defaultdict(list)
    for post in np.flatnonzero(twins >= before).tolist():
        copies[int(twins[post]) - before].append(post)
    for twin, posts in copies.items():
        said = [comment for post in (twin, *posts) for comment in comments[post]]
        comments[twin] = _without_repeated(said, words[twin])
        repeated += len(said) - len(comments[twin])
    columns = {
        "comments": pa.array(comments, pa.list_(pa.string())),
        "text_key": pa.array([words_key(own) for own in words], pa.binary(16)),
        "source": pa.array([str(inputs[source]) for source in good["source"].to_pylist()]),
    }
    arrays = [columns[n] if n in columns else good[n] for n in SELECTED.names]
    arrays = [array.cast(field.type) for array, field in zip(arrays, SELECTED, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=SELECTED).filter(pa.array(stays))
    return table, int((~stays).sum()), repeated


def _without_repeated(comments: Sequence[str], post_words: str) -> list[str]:
    """The comments that say something else than those before them, and than the post."""
    merged = {post_words: ""}
    for comment in comments:
        merged.setdefault(comment_words(comment), comment)
    del merged[post_words]
    return list(merged.values())
