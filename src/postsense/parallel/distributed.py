"""One batch, several processes: each runs a heavy network on its share of the posts.

The processes that `accelerate launch` starts run the same program on the same batches. What goes
through `split_across_processes` is split between them; everything else each computes for itself, on
the whole batch, so that losses that compare its posts see all of them. So a tensor outside of it is
the same in every process, and so is its gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import reduce
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from postsense.parallel.processes import apart, are_together, is_main

_MARK = "ran_in_shares"  # of a weight, from the forward pass until its gradients are summed


def split_across_processes(network: Callable[..., Any], *inputs: Any) -> Any:
    """network(*inputs), each process on its share of the posts; all get the results of all.

    Shares are consecutive posts, as equal as can be. Their gradients come back: to the inputs those
    of all posts, to the weights those of the share, which `add_up_gradients` sums. A network that
    compares the posts of a batch, as BatchNorm does in training, is not split.

    Args:
        network: a module or a method of one, whose weights are used nowhere else. It may draw
            random numbers, not those that it would draw alone.
        inputs: tensors, dataclasses of them with `.take(rows)`, or None; B posts, on the first
            axis.
    Returns: a dataclass of tensors, or a tuple of them, or None in the place of one.
    """
    module: Any = network if isinstance(network, nn.Module) else getattr(network, "__self__", None)
    if not are_together() or _compares_posts(module):
        return network(*inputs)
    sizes = _share_sizes(_posts_of(inputs))
    copied = _with_gradients_of_all(inputs)
    start, size = sum(sizes[: dist.get_rank()]), sizes[dist.get_rank()]
    # a process without posts computes one, and keeps nothing of it: the others wait for it
    rows = torch.arange(start, start + size) if size else torch.zeros(1, dtype=torch.int64)
    with apart(), _own_random_numbers(module):
        result = network(*[_taken(part, rows) for part in copied])
    own = [tensor[:size] for tensor in _tensors(result)]
    shares = _Gathered.apply(sizes, len(own), *own, *_differentiable(copied))  # type: ignore[no-untyped-call]
    if torch.is_grad_enabled():
        _mark(module)
    gathered = iter(shares)
    return _each(result, lambda _: next(gathered))


def add_up_gradients(model: nn.Module) -> None:
    """Give every process the gradients of the whole batch; to be called after each backward pass.

    Those of weights that ran in shares are summed over the processes. Those of the others are whole
    already, and the main process's count, so that rounding never drives the processes apart.
    """
    if not are_together():
        return
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    found = torch.tensor([float(weight.grad is not None) for weight in weights])
    found = found.to(weights[0].device)
    dist.all_reduce(found)
    moved = [weight for weight, count in zip(weights, found.tolist(), strict=True) if count]
    parts = [
        weight.grad
        if weight.grad is not None and (is_main() or hasattr(weight, _MARK))
        else torch.zeros_like(weight)
        for weight in moved
    ]
    for weight, total in zip(moved, _sums(parts), strict=True):
        weight.grad = total
    for weight in weights:
        if hasattr(weight, _MARK):
            delattr(weight, _MARK)


def copy_statistics(model: nn.Module) -> None:
    """Give every process the main one's running statistics of BatchNorm, for the same reason."""
    if not are_together():
        return
    for part in model.modules():
        if isinstance(part, _BatchNorm):
            for statistic in part.buffers():
                dist.broadcast(statistic, src=0)


def as_in_main(choice: bool, device: torch.device) -> bool:
    """What the main process chose, in every process: rounding may have them choose differently."""
    if not are_together():
        return choice
    chosen = torch.tensor([float(choice)], device=device)
    dist.broadcast(chosen, src=0)
    return bool(chosen.item())


def _mark(module: nn.Module) -> None:
    for weight in module.parameters():
        setattr(weight, _MARK, True)


def _compares_posts(module: nn.Module) -> bool:
    return any(isinstance(part, _BatchNorm) and part.training for part in module.modules())


def _share_sizes(posts: int) -> list[int]:
    """How many posts each process takes."""
    each, rest = divmod(posts, dist.get_world_size())
    return [each + (process < rest) for process in range(dist.get_world_size())]


@contextmanager
def _own_random_numbers(module: nn.Module) -> Iterator[None]:
    """Other numbers in each process, and the same state as in all others afterwards.

    A network that draws none, in training too, leaves the state as it was, as it does alone.
    """
    if not module.training:
        yield
        return
    device = next(module.parameters()).device
    before = torch.get_rng_state()
    seed = int(torch.randint(2**62, ()))  # the same everywhere
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed + dist.get_rank())
        start = _random_state(device)
        yield
        has_drawn = not torch.equal(start, _random_state(device))
    if not has_drawn:
        torch.set_rng_state(before)


def _random_state(device: torch.device) -> Tensor:
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return torch.cat([torch.get_rng_state(), *own])


def _posts_of(inputs: tuple[Any, ...]) -> int:
    """B, of comments the number of posts they belong to."""
    part = next(part for part in inputs if part is not None)
    return len(part if isinstance(part, Tensor) else part.present)


def _taken(part: Any, rows: Tensor) -> Any:
    if part is None:
        return None
    rows = rows.to(_tensors(part)[0].device)
    return part[rows] if isinstance(part, Tensor) else part.take(rows)


def _each(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same dataclass, tuple or None, with the function applied to its tensors, in order."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(_each(part, function) for part in value)
    parts = {field.name: _each(getattr(value, field.name), function) for field in fields(value)}
    return replace(value, **parts)


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _each(value, note)
    return found


def _differentiable(value: Any) -> list[Tensor]:
    if not torch.is_grad_enabled():
        return []
    return [tensor for tensor in _tensors(value) if tensor.requires_grad]


def _with_gradients_of_all(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, whose gradients come back from the shares of all processes."""
    asked = _differentiable(inputs)
    if not asked:
        return inputs
    copies = iter(_Copied.apply(*asked))  # type: ignore[no-untyped-call]
    copied: tuple[Any, ...] = _each(
        inputs, lambda tensor: next(copies) if tensor.requires_grad else tensor
    )
    return copied


class _Copied(torch.autograd.Function):
    """The same tensors everywhere; their gradients, each of one share, are summed."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(_sums(gradients))


class _Gathered(torch.autograd.Function):
    """The shares of all processes, one after the other; of the gradients each keeps its own rows.

    The copied inputs are passed so that their gradients are summed even where the network of one
    process did not look at them.
    """

    @staticmethod
    def forward(ctx: Any, sizes: list[int], count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        rank = dist.get_rank()
        ctx.start, ctx.size = sum(sizes[:rank]), sizes[rank]
        ctx.count, ctx.copied = count, len(tensors) - count
        return tuple(_gather(tensors[:count], sizes))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        own = [gradient[ctx.start : ctx.start + ctx.size] for gradient in gradients]
        return None, None, *own, *[None] * ctx.copied


def _gather(shares: tuple[Tensor, ...], sizes: list[int]) -> list[Tensor]:
    """The rows of all processes, in their order, of tensors of any type, in one message."""
    longest = max(sizes)
    padded = [
        torch.cat([share, share.new_zeros(longest - len(share), *share.shape[1:])])
        for share in shares
    ]
    message = torch.cat([tensor.contiguous().flatten().view(torch.uint8) for tensor in padded])
    messages = message.new_empty(len(sizes), len(message))
    dist.all_gather(list(messages), message)
    gathered = []
    ends = accumulate(tensor.numel() * tensor.element_size() for tensor in padded)
    for tensor, end in zip(padded, ends, strict=True):
        bytes_ = messages[:, end - tensor.numel() * tensor.element_size() : end]
        parts = bytes_.clone(memory_format=torch.contiguous_format).view(tensor.dtype)
        rows = parts.view(len(sizes), *tensor.shape)
        gathered.append(torch.cat([part[:size] for part, size in zip(rows, sizes, strict=True)]))
    return gathered


def _sums(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor summed over the processes, in one message."""
    kind = reduce(torch.promote_types, [tensor.dtype for tensor in tensors], torch.float32)
    message = torch.cat([tensor.flatten().to(kind) for tensor in tensors])
    dist.all_reduce(message)
    parts = torch.split(message, [tensor.numel() for tensor in tensors])
    return [part.view_as(like).to(like.dtype) for part, like in zip(parts, tensors, strict=True)]
