"""More posts into a corpus that is there, without building it again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from postsense.corpus.building import command_of, encode_selection
from postsense.corpus.checksums import numbers_digest
from postsense.corpus.dataflow import use_runner
from postsense.corpus.deduplication import Traits
from postsense.corpus.embedding import encoders_of
from postsense.corpus.manifest import read_manifest, record_states, write_manifest
from postsense.corpus.parts import POSTS, refuse_links
from postsense.corpus.reading import Corpus, open_corpus
from postsense.corpus.reports import (
    BuildReport,
    arrival_of,
    read_bad_posts,
    report_of,
    write_bad_posts,
)
from postsense.corpus.seals import seal_posts
from postsense.corpus.selection import KNOWN, Known, Selection, select_posts
from postsense.corpus.writing import append_posts, write_vectors
from postsense.data.duplicates import clean_text
from postsense.files.disk_space import needing_room
from postsense.files.locking import writing_to
from postsense.progress import Progress, silent


def add_posts(
    inputs: Sequence[Path],
    folder: Path,
    *,
    comments: Sequence[Path] = (),
    images: Path | None = None,
    ray: str | None = None,
    progress: Progress = silent,
) -> BuildReport:
    """Add posts to a corpus, with its settings and encoders; posts that are there are left alone.

    The posts come in all at once or not at all, so a killed command is given again. Comments on
    posts that the corpus already has are not added.

    images: folder where pictures are looked for that are not below the table's.
    Raises: CorpusError: no corpus, an encoder has changed, an id belongs to another post.
        DataError: a table cannot be read. BusyError: another command writes to the corpus.
    """
    use_runner(ray)
    read_manifest(folder)  # before a folder is made for the lock, where there is no corpus
    with needing_room(folder), writing_to(folder, "corpus add"):
        return _add_posts(inputs, comments, images, folder, progress)


def _add_posts(
    inputs: Sequence[Path],
    comments: Sequence[Path],
    images: Path | None,
    folder: Path,
    progress: Progress,
) -> BuildReport:
    refuse_links(folder)
    corpus = open_corpus(folder)
    settings = corpus.manifest.settings.model_copy(update={"image_root": images})
    command = command_of(inputs, comments, settings)
    encoders = encoders_of(corpus.manifest)
    selection = select_posts(inputs, comments, settings, _known(corpus), progress)
    selection, features = encode_selection(selection, encoders, settings, progress)
    first = max([corpus.manifest.next_number, *(corpus.numbers[-1:] + 1).tolist()])
    numbers = np.concatenate([corpus.numbers, np.arange(first, first + len(selection.table))])
    states = numbers_digest(corpus.numbers), numbers_digest(numbers)
    if len(selection.table):
        record_states(folder, corpus.manifest, *states)
        centers = corpus.text_center, corpus.image_center
        sums = write_vectors(folder, features, *centers, first, corpus.manifest.id)
        append_posts(folder, selection.table, features, first, sums if corpus.has_sums else None)
    seal_posts(folder / POSTS)
    _record_arrival(corpus, selection, command, first + len(selection.table), states[1])
    return report_of(selection)


def _known(corpus: Corpus) -> Known:
    keys = corpus.keys()
    texts = corpus.column("text").to_pylist()
    words = ["" if text is None else clean_text(text) for text in texts]
    traits = Traits(words, keys.image_key, corpus.column("image_hash").to_pylist())
    return Known(dict(zip(keys.id, texts, strict=True)), traits)


def _record_arrival(
    corpus: Corpus, selection: Selection, command: dict[str, Any], next_number: int, state: str
) -> None:
    """Say in corpus.json and bad_rows.jsonl what came in, now or when this command was killed."""
    manifest = corpus.manifest
    unrecorded = corpus.numbers[corpus.numbers >= manifest.next_number]
    if not len(selection.table) and not len(unrecorded):
        record_states(corpus.folder, manifest, state)
        return
    arrival = arrival_of(selection, command)
    if len(unrecorded):
        dropped = dict(selection.dropped)
        dropped[KNOWN] = dropped.get(KNOWN, 0) - len(unrecorded)
        counts = pc.list_value_length(corpus.posts(unrecorded).table["comments"])
        arrival = replace(
            arrival,
            posts=arrival.posts + len(unrecorded),
            comments=arrival.comments + int(pc.sum(counts).as_py() or 0),
            dropped={reason: count for reason, count in dropped.items() if count > 0},
        )
    write_bad_posts(corpus.folder, [*read_bad_posts(corpus.folder), *selection.bad])
    arrivals = (*manifest.arrivals, arrival)
    recorded = replace(manifest, next_number=next_number, arrivals=arrivals)
    states = (state,) if manifest.states else ()
    write_manifest(corpus.folder, replace(recorded, states=states))
