"""Arrays in .npy files, mapped into memory; whatever is in a file, it is an array or refused."""

import warnings
from pathlib import Path

import numpy as np

from postsense.arrays import Array
from postsense.files.regular import UnreadableFileError, open_regular


def map_array(file: Path, *, any_order: bool = False) -> Array:
    """The array of a .npy file, row by row in it and mapped into memory.

    any_order: it may be column by column too.
    Raises: UnreadableFileError: nothing there, no regular file, or no sound one of such an array.
    """
    open_regular(file).close()  # a pipe is not waited for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of headers that NumPy has to guess at
            values: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a header is parsed as Python, and raises what Python's parser does
        found = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UnreadableFileError(file, found) from None
    if not values.ndim or not (any_order or values.flags.c_contiguous):
        raise UnreadableFileError(file, "an array in another order")
    return values
