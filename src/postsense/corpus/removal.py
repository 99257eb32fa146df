"""Posts that must go: out of every answer at once, and off the disk by compaction."""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from postsense.corpus.manifest import write_manifest
from postsense.corpus.reading import VECTORS, Corpus, open_corpus, open_posts
from postsense.corpus.vectors import PostVectors, write_shard

Array = np.ndarray[Any, Any]
_AT_ONCE = 5000  # numbers in one condition
_BLOCK = 8192


@dataclass(frozen=True)
class Removal:
    """removed: posts that are gone. unknown: ids that no post had, in the order given."""

    removed: int
    unknown: tuple[str, ...]


def remove_posts(folder: Path, ids: Collection[str]) -> Removal:
    """Remove posts with their comments; who opens the corpus from now on does not find them.

    Their numbers are not used again. `compact` takes them off the disk.

    Raises: CorpusError: no corpus, or a damaged one.
    """
    corpus = open_corpus(folder)
    number_of = dict(zip(corpus.keys().id, corpus.numbers.tolist(), strict=True))
    wanted = list(dict.fromkeys(ids))
    numbers = sorted(number_of[post_id] for post_id in wanted if post_id in number_of)
    _keep_count(corpus)
    posts = open_posts(folder)
    for start in range(0, len(numbers), _AT_ONCE):
        listed = ", ".join(map(str, numbers[start : start + _AT_ONCE]))
        posts.delete(f"number IN ({listed})")  # by number: the condition is kept until compaction
    unknown = tuple(post_id for post_id in wanted if post_id not in number_of)
    return Removal(len(numbers), unknown)


def compact(folder: Path) -> None:
    """Write the corpus again without what was removed, and delete every older version of it.

    Nobody may have the corpus open meanwhile. A compaction that was killed is run again.

    Raises: CorpusError: no corpus, or a damaged one.
    """
    corpus = open_corpus(folder)
    posts = open_posts(folder)
    posts.optimize.compact_files(materialize_deletions=True, materialize_deletions_threshold=0.0)
    open_posts(folder).cleanup_old_versions(
        older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
    )
    _compact_vectors(corpus)


def _keep_count(corpus: Corpus) -> None:
    """Remember the numbers in use, so that those of the newest posts are not used again either."""
    manifest = corpus.manifest
    next_number = max([manifest.next_number, *(corpus.numbers[-1:] + 1).tolist()])
    if next_number != manifest.next_number:
        write_manifest(corpus.folder, replace(manifest, next_number=next_number))


def _compact_vectors(corpus: Corpus) -> None:
    folder = corpus.folder / VECTORS
    vectors = PostVectors(folder)
    old = set(vectors.names)
    if vectors.size == len(corpus) and len(old) <= 1:
        return

    def blocks() -> Iterator[Array]:
        for start in range(0, len(corpus), _BLOCK):
            yield vectors.take(corpus.numbers[start : start + _BLOCK])

    name = f"{0:012d}-{corpus.version}"
    width = corpus.image_dim + corpus.text_dim
    write_shard(folder, name, corpus.numbers, width, blocks())
    for shard in old - {name}:
        shutil.rmtree(folder / shard)
    for unfinished in folder.glob(".*"):
        shutil.rmtree(unfinished)
