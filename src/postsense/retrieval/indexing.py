"""A corpus → its index on disk; what each change of the corpus asks of it."""

from pathlib import Path

from postsense.corpus.manifest import read_manifest
from postsense.corpus.parts import refuse_links
from postsense.corpus.reading import Corpus, open_corpus
from postsense.files.disk_space import needing_room
from postsense.files.locking import writing_to
from postsense.progress import Progress, silent
from postsense.retrieval.index import Index, IndexReport, build_index, open_index

INDEX = "index"  # the index's folder in that of its corpus


def index_corpus(folder: Path, progress: Progress = silent) -> IndexReport:
    """Build the index of all posts of a corpus, in place of the one it has.

    Raises: CorpusError: no corpus, or an index below the corpus's min_recall. BusyError: another
        command writes to it.
    """
    read_manifest(folder)  # before a folder is made for the lock, where there is no corpus
    with needing_room(folder), writing_to(folder, "corpus index"):
        refuse_links(folder)
        corpus = open_corpus(folder)
        settings = corpus.manifest.settings
        return build_index(
            corpus,
            folder / INDEX,
            kind=settings.index,
            exact_below=settings.exact_below,
            min_recall=settings.min_recall,
            identity=corpus.manifest.id,
            progress=progress,
        )


def index_once(folder: Path, progress: Progress = silent) -> IndexReport | None:
    """Build the index if the corpus has none yet, as after a build that was killed."""
    return None if (folder / INDEX / "index.json").is_file() else index_corpus(folder, progress)


def index_of(corpus: Corpus) -> Index:
    """The index of an open corpus. Raises: CorpusError: missing, damaged or of another corpus."""
    return open_index(corpus.folder / INDEX, corpus, identity=corpus.manifest.id)
