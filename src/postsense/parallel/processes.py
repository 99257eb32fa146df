"""The processes that a launcher such as `accelerate launch` started to run one command together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

from postsense.errors import RunError

LONGEST_WAIT = timedelta(days=7)  # the others wait while the main process encodes all posts
_together: ContextVar[bool] = ContextVar("together", default=False)


def available_cores() -> int:
    """Cores that this process may use; where the system does not tell, all that there are."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_count() -> int:
    """How many processes the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def is_main() -> bool:
    """Whether this process writes files and reports: it is the first of all, or alone."""
    return process_count() == 1 or os.environ.get("RANK", "0") == "0"


def are_together() -> bool:
    """Whether the processes work together at the moment, each on its share."""
    return _together.get()


@contextmanager
def together(*, cpu: bool) -> Iterator[None]:
    """Work together with the other processes, if there are any.

    All of them enter and leave, with the same posts and settings.
    cpu: whether networks run on the CPU, though there may be a GPU.
    Raises: RunError: there are more processes than GPUs.
    """
    several = process_count() > 1
    if several:
        _join(cpu=cpu)
    with _set(several):
        yield


@contextmanager
def apart() -> Iterator[None]:
    """For a while, work as if there were no other processes."""
    with _set(False):
        yield


def wait_for_all() -> None:
    """Return when all processes that work together are here."""
    if are_together():
        from accelerate import PartialState

        PartialState().wait_for_everyone()


@contextmanager
def main_first() -> Iterator[None]:
    """The main process does what is inside, then all others, who find what it wrote."""
    if not is_main():
        wait_for_all()
    yield
    if is_main():
        wait_for_all()


def part_ways() -> None:
    """Say goodbye to the other processes, before this one ends."""
    if process_count() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def _join(*, cpu: bool) -> None:
    import torch
    from accelerate import PartialState

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not cpu and here > torch.cuda.device_count():
        fix = "Start fewer processes, or set training.device=cpu."
        gpus = f"at most {torch.cuda.device_count()}, one a GPU"
        raise RunError("processes of the launcher", gpus, str(here), fix)
    state = PartialState(cpu=cpu, timeout=LONGEST_WAIT)  # makes its own GPU the current one
    if cpu:
        state.device = torch.device("cpu")  # not "cpu:0", to which tensors would be copied


@contextmanager
def _set(value: bool) -> Iterator[None]:
    before = _together.set(value)
    try:
        yield
    finally:
        _together.reset(before)
