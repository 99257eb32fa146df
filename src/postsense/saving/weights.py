"""Weights from anyone → a model: nothing is made that is larger than what the file holds."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import get_ident
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from postsense.errors import EncoderError, ModelError, PostsenseError
from postsense.model.cluster_head import ClusterNames
from postsense.model.post_model import PostModel
from postsense.saving.files import ANEW, WEIGHTS

LARGEST_HEADER = 16 * 2**20  # bytes
_TYPES = {
    **{torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"},
    **{torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"},
}
_DEVIATION = re.compile(r"(text|image|blocks\.\w+)\.(token_)?deviation")
_SLACK_NUMBERS = 2**24  # a tensor may have, though none in the file is so large: of layers cut out
_SLACK_TENSORS = 2048  # a model may have beside those in the file, likewise


@dataclass(frozen=True)
class _Kind:
    """What the header of a file says of a tensor."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


def load_weights(folder: Path, build: Callable[[], PostModel]) -> PostModel:
    """The model that build makes, with the weights in a model folder.

    It is first built without memory and compared with the names, shapes and types in the file.
    Raises: ModelError: the weights are damaged or of another model, or not finite numbers.
    """
    file = folder / WEIGHTS
    header = _read_header(file)
    with _bounded(file, header), torch.device("meta"):
        planned = _built(folder, build)
    _refuse_other(file, header, planned)
    model = _built(folder, build)
    weights = load_file(file)
    _refuse_unsound(file, model, weights)
    model.load_state_dict(weights)
    return model.eval()


def refuse_infinite(where: object, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights with a NaN or an infinite number. Raises: ModelError."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            fix = f"Lower training.learning_rate and train again. {ANEW}"
            raise ModelError(where, "weights that are finite numbers", f"others in '{name}'", fix)


def _read_header(file: Path) -> dict[str, _Kind]:
    expected = "a whole .safetensors file"
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > LARGEST_HEADER:
        raise ModelError(file, expected, f"a header of {length} bytes", ANEW)
    try:
        with safe_open(file, "pt") as stored:
            slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
            return {
                name: _Kind(tuple(part.get_shape()), part.get_dtype())
                for name, part in slices.items()
            }
    except SafetensorError as error:
        raise ModelError(file, expected, _first_line(error), ANEW) from None


def _built(folder: Path, build: Callable[[], PostModel]) -> PostModel:
    try:
        return build()
    except EncoderError as error:
        where, fix = f"{folder}, {error.where}", f"{error.fix} {ANEW}".strip()
        raise ModelError(where, error.expected, error.found, fix) from None
    except PostsenseError:
        raise
    except Exception as error:  # transformers raises anything over a configuration of anyone
        found = f"{type(error).__name__}: {_first_line(error)}"
        raise ModelError(folder, "settings of a model that can be built", found, ANEW) from None


@contextmanager
def _bounded(file: Path, header: Mapping[str, _Kind]) -> Iterator[None]:
    """Stop when this thread makes more or larger tensors than a model of these weights has."""
    largest = max((prod(kind.shape) for kind in header.values()), default=0)
    numbers, tensors = 4 * largest + _SLACK_NUMBERS, 2 * len(header) + _SLACK_TENSORS
    thread, made = get_ident(), 0

    def look(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal made
        if get_ident() != thread or tensor is None:
            return
        made += 1
        if made > tensors or tensor.numel() > numbers:
            found = f"settings of a larger one, with '{name}' of shape {tuple(tensor.shape)}"
            raise ModelError(
                file, "the weights of the model that its settings describe", found, ANEW
            )

    hooks: list[Any] = [
        torch_module.register_module_parameter_registration_hook(look),
        torch_module.register_module_buffer_registration_hook(look),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _refuse_other(file: Path, header: Mapping[str, _Kind], planned: PostModel) -> None:
    expected = {
        name: _Kind(tuple(tensor.shape), _TYPES.get(tensor.dtype, "?"))
        for name, tensor in planned.state_dict().items()
    }
    for name in sorted({*expected, *header}):
        if expected.get(name) != header.get(name):
            wanted, found = expected.get(name, "no such tensor"), header.get(name, "none")
            reason = f"'{name}': {found}, where the settings ask for {wanted}"
            raise ModelError(file, "weights of this model", reason, ANEW)


def _refuse_unsound(file: Path, model: PostModel, weights: Mapping[str, Tensor]) -> None:
    """Refuse numbers that no training gives, which would answer without a word."""
    refuse_infinite(file, weights)
    for name in filter(_DEVIATION.fullmatch, weights):
        if not (weights[name] > 0).all():
            lowest = float(weights[name].min())
            raise ModelError(file, f"'{name}' above 0", f"{lowest:.4g}", ANEW)
    for name, part in model.named_modules():
        if isinstance(part, ClusterNames):
            belongs = weights[f"{name}.belongs"]
            if not ((belongs >= 0) & (belongs < part.classes)).all():
                found = f"{int(belongs.min())} to {int(belongs.max())}"
                raise ModelError(file, f"clusters of classes 0 to {part.classes - 1}", found, ANEW)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__
