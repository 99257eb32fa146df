"""The precision of frozen encoders: what 'auto' is on a machine, and networks in bfloat16."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from postsense.arrays import Array
from postsense.config import EncoderSettings
from postsense.encoders.pretrained import BUILTIN, image_checkpoint, load_config, reason_of
from postsense.errors import EncoderError

_INSTRUCTIONS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # of torch.cpu
_HEADS = ("num_attention_heads", "num_heads")
Runner = Callable[[Sequence[Array]], list[Array]]


def settled_precision(settings: EncoderSettings, device: torch.device) -> EncoderSettings:
    """The settings with 'bf16' or 'fp32' in the place of 'auto', for words and pictures.

    Raises: EncoderError: a checkpoint of pictures cannot be found.
    """
    text, image = settings.text, settings.image
    if text.precision == "auto":
        gains = text.name != BUILTIN and has_bfloat16(device)
        text = text.model_copy(update={"precision": "bf16" if gains else "fp32"})
    if image.precision == "auto":
        gains = has_bfloat16(device) and _attends(settings)
        image = image.model_copy(update={"precision": "bf16" if gains else "fp32"})
    return settings.model_copy(update={"text": text, "image": image})


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, rather than a way around them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(getattr(torch.cpu, name, lambda: False)() for name in _INSTRUCTIONS)


def _attends(settings: EncoderSettings) -> bool:
    """Whether the encoder of pictures is a transformer; convolutions are slower in bfloat16."""
    if settings.image.name == BUILTIN or settings.image.declared.column != "image":
        return False
    folder = image_checkpoint(settings)
    assert folder is not None
    try:
        config = load_config(folder)
    except Exception:  # what transformers raises of a stranger's settings: whoever loads them says
        return False
    part = getattr(config, "vision_config", None) or config
    return any(hasattr(part, name) for name in _HEADS)


def bf16_runner(
    network: nn.Module, trials: Sequence[Sequence[Tensor]], device: torch.device, where: str
) -> Runner:
    """What runs a frozen network, cast in place, in bfloat16. It gives float32.

    On a CPU posts go through it together only if each then gets the bits that it gets alone, which
    is tried here: how products are summed may depend on how many there are.

    trials: inputs of full batches.
    Raises: EncoderError: it cannot compute in bfloat16.
    """
    network = network.eval().requires_grad_(False).to(device=device, dtype=torch.bfloat16)

    def run(inputs: Sequence[Array]) -> list[Array]:
        with torch.inference_mode():
            outputs = network(*[_cast(torch.from_numpy(array).to(device)) for array in inputs])
        return [output.float().cpu().numpy() for output in outputs]

    def run_one_by_one(inputs: Sequence[Array]) -> list[Array]:
        rows = range(len(inputs[0]))
        results = [run([array[row : row + 1] for array in inputs]) for row in rows]
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    given = [[tensor.numpy() for tensor in trial] for trial in trials]
    try:
        alone = [run_one_by_one(inputs) for inputs in given]
        together = [run(inputs) for inputs in given]
    except Exception as error:  # an operator that torch has for float32 alone
        raise _refused(where, reason_of(error)) from None
    if not all(np.isfinite(part).all() for parts in alone for part in parts):
        raise _refused(where, "some of what it gives is infinite or not a number")
    return run if device.type != "cpu" or _same_bits(alone, together) else run_one_by_one


def _cast(values: Tensor) -> Tensor:
    """Pixels as the network's weights are; ids and masks stay whole numbers."""
    return values.bfloat16() if values.is_floating_point() else values


def _same_bits(some: Sequence[Sequence[Array]], others: Sequence[Sequence[Array]]) -> bool:
    return all(
        np.array_equal(one, other)
        for parts, more in zip(some, others, strict=True)
        for one, other in zip(parts, more, strict=True)
    )


def _refused(where: str, found: str) -> EncoderError:
    expected = "a network that computes in bfloat16"
    return EncoderError(f"{where}.precision", expected, found, f"Set {where}.precision=fp32.")
