"""Build and open the one fused index of a corpus: exact for few posts, compressed for many."""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal, Protocol

from pydantic import BaseModel, Field, ValidationError

from postsense.arrays import Array
from postsense.errors import CorpusError
from postsense.progress import Progress, silent
from postsense.retrieval.codes import FEWEST_POSTS, build_codes
from postsense.retrieval.compressed import DEPTHS, CompressedIndex, tune
from postsense.retrieval.exact import ExactIndex
from postsense.retrieval.index_files import (
    REBUILD,
    read_codes,
    read_description,
    write_codes,
    write_description,
)
from postsense.retrieval.ranking import Hits, VectorSource
from postsense.retrieval.recall import Recall, make_recall_test

__all__ = ["Hits", "Index", "IndexReport", "VectorSource", "build_index", "open_index"]


class Index(Protocol):
    """Fused search; of every kind."""

    @property
    def kind(self) -> str: ...

    def search(self, image: Array, text: Array, alpha: Array, k: int) -> Hits:
        """The k best posts by alpha <q_img, p_img> + (1 - alpha) <q_txt, p_txt>.

        image, text: (Q, Di) and (Q, Dt) float32, unit, or zero where the query lacks the modality;
        then alpha counts as 0 or 1. A query that lacks both has no hits.
        alpha: (Q,) weight of the picture in [0, 1].
        Raises: CorpusError: wrong shapes, NaN, alpha out of range.
        """
        ...


@dataclass(frozen=True)
class IndexReport:
    """What `build_index` made; kept in index.json.

    highest: number of the last post; -1 if there is none.
    note: why it is not of the kind asked for.
    recall, probed, depth: of a compressed index, see `Recall` and `CompressedIndex`.
    bytes: of codes in memory. sha256: of index.faiss.
    """

    kind: Literal["exact", "compressed"]
    count: int
    highest: int
    seconds: float
    note: str = ""
    recall: Recall | None = None
    probed: float | None = None
    depth: int | None = None
    bytes: int = 0
    sha256: str | None = None


def build_index(
    source: VectorSource,
    folder: Path,
    *,
    kind: Literal["auto", "exact", "compressed"] = "auto",
    exact_below: int = 50_000,
    min_recall: float = 0.95,
    seed: int = 0,
    identity: str,
    progress: Progress = silent,
) -> IndexReport:
    """Make the index of all posts of the source and measure its recall.

    Args:
        kind: "auto" is exact up to exact_below posts.
        min_recall: share of the exact hits that a compressed index must find, see `Recall`.
        identity: id of the corpus; `open_index` wants the same.
    Raises: CorpusError: a compressed index stays below min_recall, or Faiss is missing.
    """
    start, count = perf_counter(), len(source.numbers)
    compressed = kind == "compressed" or (kind == "auto" and count > exact_below)
    highest = int(source.numbers[-1]) if count else -1
    folder.mkdir(parents=True, exist_ok=True)
    if compressed and count >= FEWEST_POSTS:
        report = _build_compressed(source, folder, min_recall, seed, progress, start)
    else:
        note = f"{count} posts are too few to compress; at least {FEWEST_POSTS} are needed"
        seconds = perf_counter() - start
        report = IndexReport("exact", count, highest, seconds, note if compressed else "")
    write_description(folder / "index.json", {"identity": identity, **asdict(report)})
    if report.kind == "exact":
        (folder / "index.faiss").unlink(missing_ok=True)
    return report


def open_index(folder: Path, source: VectorSource, *, identity: str) -> Index:
    """The index in folder, to search the source.

    Posts added since are scored exactly beside it; posts removed since are never found.
    Raises: CorpusError: there is none, it is damaged, or it belongs to another corpus.
    """
    description = read_description(folder / "index.json")
    if description.get("identity") != identity:
        found = f"that of '{description.get('identity')}'"
        raise CorpusError(
            folder / "index.json", f"the index of corpus '{identity}'", found, REBUILD
        )
    if description.get("kind") == "exact":
        return ExactIndex(source)
    try:
        tuned = _Tuned.model_validate(description)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise CorpusError(
            folder / "index.json", "the description of an index", f"another {place}", REBUILD
        ) from None
    codes = read_codes(folder / "index.faiss", tuned.sha256)
    width = source.image_dim + source.text_dim
    if codes.d != width:
        found = f"of {codes.d}"
        raise CorpusError(folder / "index.faiss", f"codes of {width} numbers", found, REBUILD)
    return CompressedIndex(
        source, codes, probed=tuned.probed, depth=tuned.depth, highest=tuned.highest
    )


class _Tuned(BaseModel):
    """What of a description decides the hits of a compressed index."""

    kind: Literal["compressed"]
    probed: float = Field(gt=0, le=1)
    depth: int = Field(ge=1, le=max(DEPTHS))
    highest: int = Field(ge=0)
    sha256: str


def _build_compressed(
    source: VectorSource,
    folder: Path,
    min_recall: float,
    seed: int,
    progress: Progress,
    start: float,
) -> IndexReport:
    numbers = source.numbers
    codes = build_codes(source, seed, progress)
    index = CompressedIndex(source, codes, probed=1, depth=0, highest=int(numbers[-1]))
    recall = tune(index, make_recall_test(source, seed, progress), min_recall)
    sha256 = write_codes(codes, folder / "index.faiss")
    return IndexReport(
        "compressed",
        len(numbers),
        int(numbers[-1]),
        perf_counter() - start,
        recall=recall,
        probed=index.probed,
        depth=index.depth,
        bytes=(folder / "index.faiss").stat().st_size,
        sha256=sha256,
    )
