"""Digests of the files that Lance keeps posts in, looked at before Lance reads them.

A damaged file can end the process inside Lance, so that the checksums of rows come too late. Files
of a large corpus are not read whole whenever it is opened: of those the ends are looked at, where
Lance keeps how a file is laid out, and the rows as they are read.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from os import SEEK_END
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from xxhash import xxh3_128

from postsense.errors import CorpusError
from postsense.files.atomic import write_json
from postsense.files.regular import UnreadableFileError, open_regular, read_regular

SEALS = "posts.seals.json"
WHOLE_UP_TO = 4 * 2**30  # bytes of all files together
_END = 2**18  # bytes
_BLOCK = 2**22  # bytes in memory at a time
_THREADS = 4
_LARGEST_BYTES = 2**28
Seal = tuple[str, str]  # of the whole file, and of its end
_FORM = TypeAdapter(dict[str, Seal])


def seal_posts(posts: Path) -> None:
    """Write down the digests of all files that Lance reads of a dataset.

    A file never changes, so that those sealed before are not read again. A file that a killed
    command has left has no seal until the next command.
    """
    files = chain(
        *(sorted(posts.glob(f"{part}/*")) for part in ("data", "_deletions", "_versions"))
    )
    names = [file.relative_to(posts).as_posix() for file in files if file.suffix != ".json"]
    known = _read(posts)
    fresh = [name for name in names if name not in known]
    with ThreadPoolExecutor(_THREADS) as workers:
        made = dict(zip(fresh, workers.map(_seal, [posts / name for name in fresh]), strict=True))
    seals = {name: known[name] if name in known else made[name] for name in names}
    if seals != known:
        write_json(posts.with_name(SEALS), seals)


def check_seals(posts: Path, restore: str) -> None:
    """Refuse a dataset of which a file has changed; files without a seal are taken as they are.

    Raises: CorpusError: with the advice `restore`.
    """
    files = [(posts / name, seal) for name, seal in _read(posts).items()]
    there = [item for item in files if item[0].is_file()]
    whole = sum(file.stat().st_size for file, _ in there) <= WHOLE_UP_TO
    with ThreadPoolExecutor(_THREADS) as workers:
        sound = workers.map(lambda item: _fits(*item, whole=whole), there)
        for (file, _), is_sound in zip(there, sound, strict=True):
            if not is_sound:
                raise CorpusError(file, "the file that was written", "a changed one", restore)


def _read(posts: Path) -> dict[str, Seal]:
    """The seals by path of the file in the dataset; none where they were never written."""
    file = posts.with_name(SEALS)
    try:
        return _FORM.validate_json(read_regular(file, _LARGEST_BYTES))
    except UnreadableFileError as error:
        if error.is_missing:
            return {}
        found = error.found
    except ValidationError:
        found = "something else"
    fix = "Restore it from a copy, or delete it: files are then taken as they are."
    raise CorpusError(file, "digests of the files of posts.lance", found, fix)


def _fits(file: Path, seal: Seal, *, whole: bool) -> bool:
    try:
        return _digest(file) == seal[0] if whole else _end_digest(file) == seal[1]
    except OSError:  # a compaction has just taken it off the disk
        return not file.exists()


def _seal(file: Path) -> Seal:
    return _digest(file), _end_digest(file)


def _digest(file: Path) -> str:
    digest = xxh3_128()
    with open_regular(file) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _end_digest(file: Path) -> str:
    with open_regular(file) as stream:
        stream.seek(max(0, stream.seek(0, SEEK_END) - _END))
        return xxh3_128(stream.read()).hexdigest()
