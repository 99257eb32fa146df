"""One batch, several processes: each runs a heavy network on its share of the posts."""

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def in_shares(network: Callable[..., Result], *inputs: object) -> Result:
    """network(*inputs), each process on its share of the posts; all get the results of all."""
    return network(*inputs)
