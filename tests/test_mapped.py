import os
import tokenize
from pathlib import Path

import numpy as np
import pytest

from postsense.files.mapped import map_array
from postsense.files.regular import UnreadableFileError

VALUES = np.arange(12, dtype=np.float16).reshape(3, 4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "values.npy", VALUES)
    return tmp_path / "values.npy"


def test_an_array_is_mapped_as_it_is_in_the_file(file: Path) -> None:
    values = map_array(file)
    assert isinstance(values, np.memmap) and values.tolist() == VALUES.tolist()


def test_no_header_makes_it_fail_otherwise(file: Path) -> None:
    sound = file.read_bytes()
    for place in range(128):  # of the header, which NumPy reads as Python
        for bit in (1, 2, 16):
            file.write_bytes(sound[:place] + bytes([sound[place] ^ bit]) + sound[place + 1 :])
            try:
                assert map_array(file).nbytes <= VALUES.nbytes
            except UnreadableFileError as error:
                assert error.found and "\n" not in error.found


def test_a_header_that_does_not_end_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"}", b" "))
    with pytest.raises((SyntaxError, tokenize.TokenError)):
        np.load(file)
    with pytest.raises(UnreadableFileError):
        map_array(file)


def test_objects_columns_and_pipes_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "columns.npy", np.asfortranarray(VALUES))
    os.mkfifo(tmp_path / "pipe.npy")
    for name, found in (
        ("objects", "Array can't be memory-mapped"),
        ("columns", "an array in another order"),
        ("pipe", "a pipe"),
        ("none", "no such file"),
    ):
        with pytest.raises(UnreadableFileError) as caught:
            map_array(tmp_path / f"{name}.npy")
        assert found in caught.value.found
