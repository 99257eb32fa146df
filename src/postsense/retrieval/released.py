"""Retrieval as published with CAST: two indexes of 8-byte codes, the intersection of their answers.

Source: Xu & Li 2022, Comment-Aware Self-Training, section 3.2 and its released code. For each
modality a Faiss IndexIVFPQ finds the R posts nearest by squared L2 distance of the codes; the posts
in both lists are sorted by alpha * d_img + (1 - alpha) * d_txt, distances kept as float16(d / 100).
Deviation: vectors are the corpus's, centered and of unit length, where the code's are raw. 270,000
cells for 27.8 million posts become one for 103 posts. R, 100,000 there, is a tenth of the corpus:
the intersection of smaller shares is empty in a small corpus. The cells probed hold 10 R posts, as
there; here that is all of them. A query whose lists share no post, for which the code has no
answer, gets its text list; so does one without a picture, and one without words its picture list.
Lists shorter than R end there; the code crashes on their padding.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from postsense.arrays import Array
from postsense.corpus.reading import Corpus
from postsense.errors import BusyError, CorpusError
from postsense.extras import load_faiss
from postsense.files.locking import writing_to
from postsense.progress import Progress, silent
from postsense.retrieval.index_files import (
    REBUILD,
    read_codes,
    read_description,
    write_codes,
    write_description,
)
from postsense.retrieval.ranking import Hits, VectorSource, check_queries
from postsense.retrieval.sampling import Modality, draw_vectors, present_vectors

RELEASED = "released"  # the index's folder in that of its corpus
POSTS_PER_CELL = 103
CODE_BYTES = 8
NEAREST_SHARE = 0.1  # R as a share of the corpus
FEWEST_NEAREST = 100  # R in a corpus of fewer than 1,000 posts
PROBED_PER_NEAREST = 10  # posts in the probed cells for each of the R, as published
TRAINING_PER_CELL = 32  # posts drawn to learn the cells
CENTROIDS = 256  # of each of the eight parts of a code
QUERY_BLOCK = 16  # queries whose two lists are in memory at a time
MODALITIES: tuple[Modality, Modality] = ("image", "text")


@dataclass(frozen=True)
class ReleasedIndex:
    """The two indexes; None where no post has the modality. nearest: R."""

    source: VectorSource
    image: Any
    text: Any
    nearest: int

    kind = "released"

    def search(self, image: Array, text: Array, alpha: Array, k: int) -> Hits:
        """The k best posts of each query in the lists' intersection; fewer where it is smaller.

        Scores are minus the weighted squared distances of the codes.
        Raises: CorpusError: bad queries.
        """
        queries = check_queries(self.source, image, text, alpha)
        hits = Hits(
            np.full((len(queries), k), -1, dtype=np.int64),
            np.full((len(queries), k), -np.inf, dtype=np.float32),
        )
        for start in range(0, len(queries), QUERY_BLOCK):
            block = queries[start : start + QUERY_BLOCK]
            lists = zip(
                _nearest(self.image, block.image, self.nearest),
                _nearest(self.text, block.text, self.nearest),
                strict=True,
            )
            for row, (by_image, by_text) in enumerate(lists):
                both = _joined(by_image, by_text, float(block.alpha[row]))
                best = np.lexsort((both.numbers, both.distances))[:k]
                hits.numbers[start + row, : len(best)] = both.numbers[best]
                hits.scores[start + row, : len(best)] = -both.distances[best]
        return hits


@dataclass(frozen=True)
class _List:
    """Posts near a query: numbers (m,) int64 and squared distances (m,) float32."""

    numbers: Array
    distances: Array


def build_released(
    source: VectorSource,
    *,
    seed: int = 0,
    posts_per_cell: int = POSTS_PER_CELL,
    progress: Progress = silent,
) -> ReleasedIndex:
    """Train and fill the two indexes of all posts of the source.

    posts_per_cell: posts for each coarse cell; learning cells takes the square of their number.
    Raises: CorpusError: Faiss is missing.
    """
    image, text = (
        _build(source, modality, seed, posts_per_cell, progress) for modality in MODALITIES
    )
    return ReleasedIndex(source, image, text, _list_length(len(source.numbers)))


def open_released_index(corpus: Corpus, progress: Progress = silent) -> ReleasedIndex:
    """The published index of a corpus as it is now; built where it is not kept in its folder.

    Raises: CorpusError: Faiss is missing.
    """
    folder = corpus.folder / RELEASED
    posts = hashlib.sha256(corpus.numbers.astype("<i8").tobytes()).hexdigest()
    made_from = {"identity": corpus.manifest.id, "posts": posts}
    try:
        return _read(corpus, folder, made_from)
    except CorpusError:
        index = build_released(corpus, progress=progress)
    with suppress(BusyError, OSError):  # what cannot be kept now is built again the next time
        _write(index, corpus.folder, folder, made_from)
    return index


def _write(index: ReleasedIndex, corpus: Path, folder: Path, made_from: dict[str, str]) -> None:
    sha256 = {}
    with writing_to(corpus, "retrieval.fidelity=released"):
        for name, part in (("image", index.image), ("text", index.text)):
            if part is not None:
                sha256[name] = write_codes(part, folder / f"{name}.faiss")
        write_description(folder / "released.json", {**made_from, "sha256": sha256})


def _read(corpus: Corpus, folder: Path, made_from: dict[str, str]) -> ReleasedIndex:
    """The kept index. Raises: CorpusError: there is none of these posts, or it is damaged."""
    file = folder / "released.json"
    description = read_description(file)
    if {name: description.get(name) for name in made_from} != made_from:
        raise CorpusError(file, "the index of these posts", "that of others", REBUILD)
    sha256 = description.get("sha256")
    if not isinstance(sha256, dict):
        raise CorpusError(file, "checksums of two indexes", "none", REBUILD)
    image, text = (
        read_codes(folder / f"{name}.faiss", sha256[name]) if name in sha256 else None
        for name in MODALITIES
    )
    return ReleasedIndex(corpus, image, text, _list_length(len(corpus)))


def _list_length(count: int) -> int:
    """R of a corpus of count posts."""
    return min(count, max(FEWEST_NEAREST, int(NEAREST_SHARE * count)))


def _build(
    source: VectorSource, modality: Modality, seed: int, posts_per_cell: int, progress: Progress
) -> Any:
    """The index of one modality; None if no post has it."""
    faiss, count = load_faiss(), len(source.numbers)
    cells = max(1, count // posts_per_cell)
    training = draw_vectors(source, modality, CENTROIDS + cells * TRAINING_PER_CELL, seed)
    if not len(training):
        return None
    training = _padded(np.resize(training, (max(len(training), CENTROIDS), training.shape[1])))
    cells = min(cells, len(training))
    width = training.shape[1]
    index = faiss.IndexIVFPQ(faiss.IndexFlatL2(width), width, cells, CODE_BYTES, 8)
    index.cp.seed = index.pq.cp.seed = seed + 1
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    index.train(training)
    for numbers, vectors in present_vectors(source, modality):
        index.add_with_ids(_padded(vectors), numbers)
        progress(f"index {modality}", index.ntotal, count)
    index.nprobe = min(cells, -(-PROBED_PER_NEAREST * _list_length(count) * cells // count))
    return index


def _padded(vectors: Array) -> Array:
    """(n, D) float32 with zeros to the next width that the parts of a code divide."""
    width = -(-vectors.shape[1] // CODE_BYTES) * CODE_BYTES
    return np.pad(vectors.astype(np.float32), ((0, 0), (0, width - vectors.shape[1])))


def _nearest(index: Any, vectors: Array, count: int) -> list[_List]:
    """The posts nearest to each query; none for one that lacks the modality."""
    nobody = _List(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    if index is None:
        return [nobody] * len(vectors)
    distances, numbers = index.search(_padded(vectors), count)
    return [
        _kept(own, near) if asked else nobody
        for own, near, asked in zip(numbers, distances, np.any(vectors, axis=1), strict=True)
    ]


def _kept(numbers: Array, distances: Array) -> _List:
    """A list without padding, its distances rounded as the published files of them are."""
    there = numbers >= 0
    rounded = (distances[there] / 100).astype(np.float16).astype(np.float32)
    return _List(numbers[there], 100 * rounded)


def _joined(image: _List, text: _List, alpha: float) -> _List:
    """The posts of both lists with their weighted distance, or those of the one that is left."""
    numbers, of_image, of_text = np.intersect1d(
        image.numbers, text.numbers, assume_unique=True, return_indices=True
    )
    if len(numbers):
        weighted = alpha * image.distances[of_image] + (1 - alpha) * text.distances[of_text]
        return _List(numbers, weighted)
    return text if len(text.numbers) else image
