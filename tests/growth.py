"""How time grows with the work, which says the same on a fast, a slow and a busy machine."""

import time
from collections.abc import Callable
from typing import Any


def assert_in_proportion(work: Callable[[Any], object], small: Any, large: Any, times: int) -> None:
    """Work that is `times` as large takes less than halfway from `times` to its square as long.

    It is the time of this process that counts. Sorting, and memory that is farther off, take their
    part of what is allowed; with 16 times the work that is 4 times the proportion.
    """
    few = min(_seconds(work, small) for _ in range(3))
    many = _seconds(work, large)
    limit = times**1.5 * max(few, 1e-3)
    assert many < limit, f"{many:.3f} s for {times} times the work of {few:.3f} s"


def _seconds(work: Callable[[Any], object], given: Any) -> float:
    began = time.process_time()
    work(given)
    return time.process_time() - began
