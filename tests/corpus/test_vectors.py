import subprocess
import sys

import numpy as np
import pytest

from postsense.corpus.vectors import PostVectors, write_shard
from postsense.errors import CorpusError


def make(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float16)


def test_vectors_come_back_by_number_from_every_shard(tmp_path):
    first, second = make(5, 0), make(3, 1)
    write_shard(tmp_path, "000000000000", np.array([0, 1, 2, 5, 9]), 8, [first[:2], first[2:]])
    write_shard(tmp_path, "000000000010", np.array([10, 11, 12]), 8, [second])
    vectors = PostVectors(tmp_path)
    taken = vectors.take(np.array([11, 5, 0, 11]))
    assert taken.tobytes() == np.stack([second[1], first[3], first[0], second[1]]).tobytes()
    assert vectors.holds(np.array([12, 9])) and not vectors.holds(np.array([3]))
    assert (vectors.dim, vectors.size) == (8, 8)


def test_a_shard_of_the_same_name_is_replaced_whole(tmp_path):
    write_shard(tmp_path, "000000000000", np.arange(4), 8, [make(4, 0)])
    write_shard(tmp_path, "000000000000", np.arange(2), 8, [make(2, 1)])
    vectors = PostVectors(tmp_path)
    assert vectors.size == 2 and vectors.take(np.arange(2)).tobytes() == make(2, 1).tobytes()


def test_a_shard_that_was_not_finished_does_not_count(tmp_path):
    def stop():
        yield make(2, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, "000000000000", np.arange(4), 8, stop())
    assert PostVectors(tmp_path).size == 0
    write_shard(tmp_path, "000000000000", np.arange(4), 8, [make(4, 0)])
    assert PostVectors(tmp_path).size == 4


def test_no_shards_hold_nothing(tmp_path):
    vectors = PostVectors(tmp_path / "none")
    assert (vectors.dim, vectors.size) == (0, 0)
    assert vectors.take(np.zeros(0, np.int64)).shape == (0, 0)


def test_a_damaged_file_is_named(tmp_path):
    write_shard(tmp_path, "000000000000", np.arange(4), 8, [make(4, 0)])
    (tmp_path / "000000000000" / "vectors.npy").write_bytes(b"no numpy")
    with pytest.raises(CorpusError, match="vectors.npy"):
        PostVectors(tmp_path)


def test_on_a_full_disk_the_process_lives_and_says_so(small_disk):
    code = """
import sys
from pathlib import Path
import numpy as np
from postsense.corpus.vectors import write_shard
try:
    blocks = (np.ones((1000, 64), np.float16) for _ in range(20))
    write_shard(Path(sys.argv[1]), "0", np.arange(20000), 64, blocks)
except OSError as error:
    print(error.strerror)
"""
    command = [sys.executable, "-c", code, str(small_disk(1024) / "vectors")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "No space left on device\n")
