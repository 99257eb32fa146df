"""What a model folder is made of: its files, their hashes, and which folders are one."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from postsense.encoders.pretrained import fingerprint_folder
from postsense.errors import ModelError
from postsense.files.json_files import read_json_file

DESCRIPTION, WEIGHTS, SEEN = "model.json", "weights.safetensors", "seen.safetensors"
MEMBERS = "members"  # the folder of the models of an ensemble
OF_ENSEMBLE = {"format", "classes", "members", "prior", "config"}  # keys of its description
ENCODERS = {"text": "text_encoder", "image": "image_encoder"}
COPIED = (".json", ".txt", ".model", ".codes")  # of an encoder's checkpoint
KEYS = {  # of every description, whatever its version
    *("format", "classes", "text_dim", "image_dim"),
    *("frozen", "weights_sha256", "own", "config"),
}
LARGEST_TEXT = 256 * 2**20  # bytes of a configuration or tokenizer
ANEW = "Train again, or copy the folder again from its source."


def folder_to_write(folder: Path, *, in_run: bool = False) -> Path:
    """The folder from the root, if a model may be written there: it is new, empty or a model's.

    in_run: it is a run's own, which may lack its description.
    Raises: ModelError: there are other files in it, it is a file or a link, the folder that this
        process works in, the home folder, one that holds these, or a disk of its own.
    """
    whole = folder.parent.resolve() / folder.name if folder.name else folder.resolve()
    found = _unfit(whole.resolve() if folder.name == ".." else whole, in_run=in_run)
    if found is not None:
        expected = "a folder that is new, empty or a model's, to write a model to"
        raise ModelError(folder, expected, found, "Name another folder.")
    return whole


def _unfit(folder: Path, *, in_run: bool) -> str | None:
    """What is wrong with a folder to write a model to, None if nothing is."""
    if folder.is_symlink():
        return "a symbolic link"
    above = next((path for path in folder.parents if path.exists() or path.is_symlink()), folder)
    if not above.is_dir():
        return f"a file, '{above}', on the way to it"
    if not folder.exists():
        return None
    if not folder.is_dir():
        return "a file"
    for name, kept in (("the working folder", Path.cwd()), ("the home folder", _home())):
        if kept is not None and kept.is_relative_to(folder):
            return f"{name}, '{kept}'" if kept == folder else f"a folder that holds {name}"
    strangers = _strangers(folder, in_run=in_run)
    if strangers:
        return f"{strangers[:5]} in it"
    return "a disk of its own" if os.path.ismount(folder) else None


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except RuntimeError:  # the system does not tell
        return None


def _strangers(folder: Path, *, in_run: bool) -> list[str]:
    """The names in a folder that no model has; all of them if its description is not ours."""
    items = sorted(folder.iterdir())
    strangers = [item.name for item in items if not _is_of_model(item)]
    if items and not strangers and not (in_run or _is_described(folder)):
        return [item.name for item in items]
    return strangers


def _is_of_model(path: Path) -> bool:
    if path.is_symlink():
        return False
    if path.name in ENCODERS.values():
        return path.is_dir() and all(
            item.suffix in COPIED and item.is_file() and not item.is_symlink()
            for item in path.iterdir()
        )
    if path.name == MEMBERS:
        return path.is_dir() and all(map(_is_of_member, path.rglob("*")))
    return path.name in (DESCRIPTION, WEIGHTS, SEEN) and path.is_file()


def _is_of_member(path: Path) -> bool:
    """Whether something below the folder of members is a member's, or a folder of such."""
    if path.is_symlink():
        return False
    numbered = path.is_dir() and path.name.isdecimal()
    inside = path.parent.name in ENCODERS.values() and path.suffix in COPIED and path.is_file()
    return numbered or inside or (path.name != MEMBERS and _is_of_model(path))


def _is_described(folder: Path) -> bool:
    try:
        description = read_json_file(folder / DESCRIPTION)
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and (
        set(description) >= KEYS or set(description) >= OF_ENSEMBLE
    )


def file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of the model beside its description, by its name in the folder.

    Raises: ModelError: a file is none, lies elsewhere behind a link, or is too large for what it
        is.
    """
    return {
        str(file.relative_to(folder).as_posix()): sha256(inside(folder, file))
        for file in _files(folder)
    }


def own_keys(folder: Path) -> dict[str, str]:
    """A hash of the configuration and tokenizer of each encoder inside the model."""
    for file in _files(folder):
        inside(folder, file)
    parts = {part: folder / name for part, name in ENCODERS.items()}
    return {part: fingerprint_folder(inside) for part, inside in parts.items() if inside.is_dir()}


def _files(folder: Path) -> Iterator[Path]:
    """The files that a model is read from, but for its description."""
    for name in (WEIGHTS, SEEN):
        if (folder / name).exists() or (folder / name).is_symlink():
            yield folder / name
    for name in ENCODERS.values():
        if (folder / name).is_dir():
            suffixes = (*COPIED, ".safetensors")
            yield from sorted(file for file in (folder / name).iterdir() if file.suffix in suffixes)


def inside(folder: Path, file: Path) -> Path:
    """The file, which is a regular one in the model folder. Raises: ModelError: it is not."""
    expected = "a file in the model folder"
    target = Path(os.path.realpath(file))
    if not target.is_relative_to(os.path.realpath(folder)):
        fix = "Copy the folder with the files that its links name, as 'cp -rL' does."
        raise ModelError(file, expected, f"a link to '{target}'", fix)
    if not file.is_file():
        raise ModelError(file, expected, "something else" if file.exists() else "none", ANEW)
    if file.suffix in COPIED and file.stat().st_size > LARGEST_TEXT:
        found = f"one of {file.stat().st_size} bytes"
        raise ModelError(file, f"{expected} of at most {LARGEST_TEXT} bytes", found, ANEW)
    return file


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
