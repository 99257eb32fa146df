"""Paths as tables have them → files that are there, below the table's folder or another one.

A path as it is written always comes first. Where nothing is there, readings of it are tried, each
below the table's folder, then below the image root, and never outside of them: backslashes for
slashes, `%20` for a blank, what Label Studio exports, the last parts of a path of another machine,
other capitals, accents written otherwise.
"""

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from postsense.errors import DataError

Parts = tuple[str, ...]
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/])")
_UPLOAD, _LOCAL_FILES = "/data/upload/", "/data/local-files/"  # of Label Studio
_UPLOAD_HASH = re.compile(r"[0-9a-f]{8}-(?=.)")  # what it puts before the name of an upload
_MOST_FILES = 500_000  # below the roots, to look for an upload of Label Studio in all of them
_PLAIN = re.compile(r"(?:[^/\\.\0][^/\\\0]*/)*[^/\\.\0][^/\\\0]*")  # no `./`, no `//`
_UNASKED: Final = frozenset({"\0"})
_ASKED_SINGLY = 64  # files of a folder that are asked for one by one before it is listed


class AmbiguousPathError(ValueError):
    """Two paths of a table would be read as one file."""


class PictureFinder:
    """Finds the files that the cells of a table name.

    What was looked up is kept: a folder of which many files are asked is listed once.
    """

    def __init__(self, folder: Path, image_root: Path | None) -> None:
        """Raises: DataError: image_root is no folder."""
        self.folder = folder
        self.roots = [folder] if image_root is None else [folder, _existing(image_root)]
        self._prefix = os.path.join(folder, "")  # noqa: PTH118 (with its separator)
        self._asked: dict[str, int] = {}
        self._listed: dict[str, frozenset[str] | None] = {}
        self._folded: dict[str, dict[str, list[str]]] = {}
        self._places: dict[Parts, list[tuple[Path, bool]]] = {}
        self._taken: dict[str, str] = {}
        self._below: dict[str, list[str]] | None = None

    def find(self, name: str) -> str:
        """The path of the file; where none is found, the path as it is written, or the address.

        Raises: AmbiguousPathError: the last part alone leads to a file, as that of another path.
        """
        is_address = "://" in name and _ADDRESS.match(name) is not None
        literal = name if is_address else self._joined(name)
        if not is_address and self._is_there(literal):
            return literal
        return next(self._guesses(name, is_address), literal)

    def _joined(self, name: str) -> str:
        """The path of a name below the table's folder, or of an absolute name."""
        if _PLAIN.fullmatch(name):  # as nearly all are; a Path takes ten times as long
            return f"{self._prefix}{name}"
        return str(self.folder / name)

    def _guesses(self, name: str, is_address: bool) -> Iterator[str]:
        """Files that the name may mean, the likeliest first."""
        if name[:5].lower() == "file:":
            yield from self._of_file_address(name)
        elif is_address or name.startswith((_UPLOAD, _LOCAL_FILES)):
            yield from self._of_label_studio(name)
        if is_address:
            return
        home = str(Path(name).expanduser()) if name.startswith("~/") else name
        if home != name and self._is_there(home):
            yield home
        readings = dict.fromkeys(unquote(form) for form in (name, name.replace("\\", "/")))
        forms = list(dict.fromkeys([name, name.replace("\\", "/"), *readings]))
        for form in forms:
            if not _is_absolute(form):
                yield from self._below_roots(_parts(form))
        for form in forms:
            if _is_absolute(form):
                yield from self._by_last_parts(_parts(form), name)
        for form in forms:
            if not _is_absolute(form):
                yield from self._in_other_capitals(_parts(form))

    def _of_file_address(self, name: str) -> Iterator[str]:
        path = unquote(urlsplit(name).path)
        if _DRIVE.match(path[1:]):
            path = path[1:]
        if path.startswith("/") and self._is_there(path):
            yield path  # it says so itself, as a path that is written does
        yield from self._by_last_parts(_parts(path), name)

    def _of_label_studio(self, name: str) -> Iterator[str]:
        address = urlsplit(name)
        if address.path.startswith(_LOCAL_FILES):
            for path in parse_qs(address.query.replace("+", "%2B")).get("d", []):
                yield from self._by_last_parts(_parts(path), name)
        elif address.path.startswith(_UPLOAD):
            parts = _parts(unquote(address.path))
            original = _UPLOAD_HASH.sub("", parts[-1])
            for last in dict.fromkeys((parts[-1], original)):
                yield from self._by_last_parts((*parts[:-1], last), name)
                yield from self._anywhere_below(last, name)

    def _below_roots(self, parts: Parts) -> Iterator[str]:
        for root in self.roots if parts else ():
            path = str(root.joinpath(*parts))
            if self._is_there(path):
                yield path

    def _by_last_parts(self, parts: Parts, name: str) -> Iterator[str]:
        """Files below the roots that end as the path does, those of more parts first."""
        if not parts:
            return
        for folder, is_root in self._folders_like(parts[:-1]):
            path = str(folder / parts[-1])
            if self._is_there(path):
                yield self._claimed(path, name) if is_root else path

    def _anywhere_below(self, last: str, name: str) -> Iterator[str]:
        """The file of that name in any folder below the roots, if it is the only one."""
        if self._below is None:
            self._below = _files_below(self.roots)
        found = self._below.get(last, [])
        if len(found) == 1:
            yield self._claimed(found[0], name)

    def _claimed(self, path: str, name: str) -> str:
        """A path that was found by its last part, which no other name may lead to."""
        if self._taken.setdefault(path, name) != name:
            raise AmbiguousPathError(f"'{self._taken[path]}' and '{name}' for '{path}'")
        return path

    def _folders_like(self, parts: Parts) -> list[tuple[Path, bool]]:
        """The folders below the roots that end as the parts do, and whether it is a root itself."""
        if parts not in self._places:
            places = [
                (root.joinpath(*parts[start:]), start == len(parts))
                for start in range(len(parts) + 1)
                for root in self.roots
            ]
            self._places[parts] = [place for place in places if place[0].is_dir()]
        return self._places[parts]

    def _in_other_capitals(self, parts: Parts) -> Iterator[str]:
        """The file whose path differs in capitals alone, if it is the only one."""
        for root in self.roots if parts else ():
            places = [str(root)]
            for part in parts:
                places = [str(Path(p, name)) for p in places for name in self._like(p, part)]
            if len(places) == 1:
                yield places[0]

    def _is_there(self, path: str) -> bool:
        folder, _, name = path.rpartition(os.sep)
        listed = self._listed.get(folder, _UNASKED)
        if listed is _UNASKED:
            self._asked[folder] = self._asked.get(folder, 0) + 1
            if self._asked[folder] > _ASKED_SINGLY:
                self._listed[folder] = _names_in(folder)
            return os.path.exists(path)  # noqa: PTH110 (of many rows; does not raise)
        if listed is None or name in ("", ".", ".."):
            return os.path.exists(path)  # noqa: PTH110
        return name in listed

    def _like(self, folder: str, name: str) -> list[str]:
        """The names in a folder that differ from this one in capitals or accents' form alone."""
        if folder not in self._folded:
            names: dict[str, list[str]] = {}
            for each in sorted(_names_in(folder) or ()):
                names.setdefault(_folded(each), []).append(each)
            self._folded[folder] = names
        return self._folded[folder].get(_folded(name), [])


def _names_in(folder: str) -> frozenset[str] | None:
    """The names in a folder; None where it cannot be listed, though files in it may be read."""
    try:
        return frozenset(os.listdir(folder or os.sep))  # noqa: PTH208
    except (OSError, ValueError):
        return None


def _folded(name: str) -> str:
    """A name without capitals, and with accents in one of the two forms that systems write."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_absolute(path: str) -> bool:
    return path.startswith(("/", "\\\\", "~/")) or _DRIVE.match(path) is not None


def _parts(path: str) -> Parts:
    """The parts of a path from its root; () if it leads out of where it starts."""
    path = _DRIVE.sub("", path) if _DRIVE.match(path) else path
    if "\0" in path:
        return ()
    parts = tuple(posixpath.normpath(path).strip("/").split("/"))
    return () if parts[0] in ("..", ".", "") else parts


def _files_below(roots: Sequence[Path]) -> dict[str, list[str]]:
    """The files below some folders by name; {} if there are too many to look at."""
    found: dict[str, list[str]] = {}
    count = 0
    for root in roots:
        for folder, _, names in os.walk(root):
            count += len(names)
            for name in names:
                found.setdefault(name, []).append(str(Path(folder, name)))
            if count > _MOST_FILES:
                return {}
    return found


def _existing(image_root: Path) -> Path:
    folder = image_root.expanduser().absolute()
    if not folder.is_dir():
        raise DataError(
            "data.image_root", "a folder of pictures", f"'{image_root}'", "Check the path."
        )
    return folder
