"""What a classifier has seen in training, kept in its model folder as hashes of posts."""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from postsense.data.seen import Seen
from postsense.errors import ModelError
from postsense.files.tensors import save_tensors
from postsense.saving.description import Description, has_members, read_description, read_raw
from postsense.saving.files import ANEW, SEEN


def write_seen(seen: Seen, folder: Path) -> None:
    """Write the hashes of the posts that a classifier has seen to its model folder."""
    keys = {name: torch.from_numpy(part) for name, part in vars(seen).items()}
    save_tensors(folder / SEEN, keys)


def read_seen(folder: Path, description: Description | None = None) -> Seen | None:
    """What a saved classifier has seen; None: not known, as of one that an earlier version saved.

    description: of the folder, if it has been read.
    Raises: ModelError: missing or damaged.
    """
    if description is None and has_members(found := read_raw(folder)):
        return read_seen_file(folder / SEEN) if found.get("seen_sha256") is not None else None
    described = description or read_description(folder)
    if SEEN not in (described.files or {}):
        return None
    return read_seen_file(folder / SEEN)


def read_seen_file(file: Path) -> Seen:
    """The hashes of posts in a file. Raises: ModelError: missing or damaged."""
    try:
        seen = Seen(**load_file(file))
    except (OSError, SafetensorError, TypeError) as error:
        raise ModelError(file, "hashes of posts", str(error), ANEW) from None
    wrong = [part for part in vars(seen).values() if part.dtype != np.int64 or part.ndim != 1]
    if wrong:
        found = f"{wrong[0].dtype} of shape {wrong[0].shape}"
        raise ModelError(file, "hashes of posts, int64 in a row", found, ANEW)
    return seen
