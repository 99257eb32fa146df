"""What reading posts takes, opened once: encoders, their stores and the corpus that lends."""

from contextlib import suppress
from pathlib import Path

from postsense.config import RetrievalSettings
from postsense.corpus.parts import traces
from postsense.encoders.open_encoders import OpenEncoders
from postsense.encoders.open_stores import OpenStores
from postsense.retrieval.indexing import INDEX
from postsense.retrieval.released import RELEASED
from postsense.retrieval.search import Searcher, open_searcher

Traces = list[tuple[str, int, int]]


class Opened:
    """Encoders and searchers that stay open from call to call, one call at a time."""

    def __init__(self) -> None:
        self.encoders = OpenEncoders(OpenStores())
        self._searchers: dict[tuple[Path, RetrievalSettings], tuple[Traces, Searcher]] = {}

    def searcher(self, folder: Path, settings: RetrievalSettings) -> Searcher:
        """The searcher of a corpus as it is now: opened again after every change on disk.

        Raises: CorpusError: as `open_searcher`.
        """
        key, now = (folder, settings), _traces(folder)
        before = self._searchers.get(key)
        if before is not None and before[0] == now:
            return before[1]
        self._forget(key)
        searcher = open_searcher(folder, settings)
        self._searchers[key] = now, searcher
        return searcher

    def close(self) -> None:
        """Write what was computed and let go of all files; the next call opens them again."""
        for key in list(self._searchers):
            self._forget(key)
        self.encoders.close()

    def _forget(self, key: tuple[Path, RetrievalSettings]) -> None:
        before = self._searchers.pop(key, None)
        if before is not None:
            before[1].corpus.close()


def _traces(folder: Path) -> Traces:
    """What changes with a corpus or one of its indexes: names, times and sizes of files."""
    found = [(name, time, 0) for name, time in traces(folder)]
    for file in (*folder.glob(f"{INDEX}/*"), *folder.glob(f"{RELEASED}/*")):
        with suppress(OSError):  # it has just gone
            state = file.stat()
            found.append((f"{file.parent.name}/{file.name}", state.st_mtime_ns, state.st_size))
    return sorted(found)
