"""Posts that must go: out of every answer at once, and off the disk by compaction."""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from postsense.arrays import Array
from postsense.corpus.checksums import numbers_digest
from postsense.corpus.manifest import read_manifest, record_states, write_manifest
from postsense.corpus.parts import POSTS, VECTORS, open_posts, reading_posts, refuse_links
from postsense.corpus.reading import Corpus, open_corpus
from postsense.corpus.seals import seal_posts
from postsense.corpus.vectors import PostVectors, write_shard
from postsense.files.disk_space import needing_room
from postsense.files.locking import writing_to

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

    Raises: CorpusError: no corpus, or a damaged one. BusyError: another command writes to it.
    """
    read_manifest(folder)  # before a folder is made for the lock, where there is no corpus
    with needing_room(folder), writing_to(folder, "corpus remove"):
        refuse_links(folder)
        corpus = open_corpus(folder)
        number_of = dict(zip(corpus.keys().id, corpus.numbers.tolist(), strict=True))
        wanted = list(dict.fromkeys(ids))
        numbers = sorted(number_of[post_id] for post_id in wanted if post_id in number_of)
        _keep_count(corpus)
        _delete(folder, np.array(numbers, np.int64), corpus.numbers)
    unknown = tuple(post_id for post_id in wanted if post_id not in number_of)
    return Removal(len(numbers), unknown)


def compact(folder: Path) -> None:
    """Write the corpus again without what was removed, and delete every older version of it.

    Who has the corpus open meanwhile is told so when it reads on, and opens it again. A compaction
    that was killed is run again.

    Raises: CorpusError: no corpus, or a damaged one. BusyError: another command writes to it.
    """
    read_manifest(folder)
    with needing_room(folder), writing_to(folder, "corpus compact"):
        refuse_links(folder)
        corpus = open_corpus(folder)
        with reading_posts(folder, corpus.version):
            _compact_posts(corpus)
        seal_posts(folder / POSTS)
        record_states(folder, corpus.manifest, numbers_digest(corpus.numbers))
        corpus.close()
        _compact_vectors(open_corpus(folder))


def _compact_posts(corpus: Corpus) -> None:
    folder = corpus.folder
    posts = open_posts(folder, corpus.text_dim)
    posts.optimize.compact_files(materialize_deletions=True, materialize_deletions_threshold=0.0)
    open_posts(folder, corpus.text_dim).cleanup_old_versions(
        older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
    )


def _delete(folder: Path, numbers: Array, before: Array) -> None:
    """Delete posts, which numbers are left being written down ahead of each step."""
    manifest = read_manifest(folder)
    posts = open_posts(folder, manifest.text_dim)
    for start in range(0, len(numbers), _AT_ONCE):
        block = numbers[start : start + _AT_ONCE]
        after = np.setdiff1d(before, block, assume_unique=True)
        manifest = record_states(folder, manifest, numbers_digest(before), numbers_digest(after))
        listed = ", ".join(map(str, block.tolist()))
        with reading_posts(folder, int(posts.version)):
            posts.delete(f"number IN ({listed})")  # by number: it is kept until compaction
        before = after
    seal_posts(folder / POSTS)
    record_states(folder, manifest, numbers_digest(before))


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
            yield np.concatenate(corpus.vectors(corpus.numbers[start : start + _BLOCK]), axis=1)

    name = f"{0:012d}-{corpus.version}"
    width = corpus.image_dim + corpus.text_dim
    write_shard(folder, name, corpus.numbers, width, blocks())
    vectors.close()
    corpus.close()
    for shard in old - {name}:
        shutil.rmtree(folder / shard)
    for unfinished in folder.glob(".[0-9]*"):
        shutil.rmtree(unfinished)
