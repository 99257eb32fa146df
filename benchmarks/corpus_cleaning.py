"""Posts cleaned a second: Daft as a build runs it, against one Python loop over the same functions.

    python benchmarks/corpus_cleaning.py SETS [--posts 200000]

SETS is a folder with `<set>/posts.jsonl` for sets that have comments; their posts are repeated,
each time with other words at the end, until there are so many. No picture is read, nothing encoded.
"""

import argparse
import os
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa

from postsense.config import CorpusSettings
from postsense.corpus import dataflow
from postsense.corpus.deduplication import Traits, earlier_twins
from postsense.corpus.ingest import RAW_COMMENTS, read_posts

SETS = ("mediaeval16", "caption_contest", "threads_semeval17", "threads_reddit")
COLUMNS = ("text", "image", "comments")
SETTINGS = CorpusSettings(require_image=False, require_comments=False)


def grow(folder: Path, posts: int) -> pa.Table:
    """So many posts, made of those of the sets."""
    tables = [folder / name / "posts.jsonl" for name in SETS]
    real = read_posts(tables, SETTINGS, separate_comments=False)
    rows = pa.array(np.arange(posts) % len(real))
    grown = real.take(rows)
    rounds = (np.arange(posts) // len(real)).tolist()
    texts = zip(grown["text"].to_pylist(), rounds, strict=True)
    again = [None if text is None else f"{text} round {round_}" for text, round_ in texts]
    grown = grown.set_column(3, "text", pa.array(again, pa.string()))
    return grown.set_column(1, "row", pa.array(np.arange(posts))).set_column(
        0, "source", pa.array(np.zeros(posts), pa.int32())
    )


def loop(table: pa.Table) -> list[dict[str, object]]:
    """One thread, one batch after the other."""
    rows: list[dict[str, object]] = []
    for batch in table.to_batches(max_chunksize=dataflow.BATCH):
        values = [batch[name].to_pylist() for name in COLUMNS]
        rows += dataflow.clean_rows(*values, [None] * len(batch), SETTINGS)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--posts", type=int, default=200_000)
    arguments = parser.parse_args()
    table = grow(arguments.sets, arguments.posts)
    comments = sum(len(values or ()) for values in table["comments"].to_pylist())
    print(
        f"{len(table)} posts, {comments / len(table):.1f} comments a post, {os.cpu_count()} cores"
    )

    start = perf_counter()
    looped = loop(table)
    print(f"loop:  {len(table) / (perf_counter() - start):8,.0f} posts/s")
    start = perf_counter()
    cleaned = dataflow.clean_posts(table, RAW_COMMENTS.empty_table(), SETTINGS)
    print(f"daft:  {len(table) / (perf_counter() - start):8,.0f} posts/s")
    assert cleaned.select(dataflow.CLEANED.names).to_pylist() == looped

    none = [None] * len(table)
    start = perf_counter()
    twins = earlier_twins(Traits(cleaned["words"].to_pylist(), none, none))
    seconds = perf_counter() - start
    print(f"duplicates: {seconds:.1f} s, {int((twins >= 0).sum())} of {len(table)} posts")


if __name__ == "__main__":
    main()
