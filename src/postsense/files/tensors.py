"""Tensors by name → one safetensors file."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from postsense.files.atomic import replacing


def save_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as one safetensors file, atomically; those that share memory, one by one."""
    contiguous, written = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        contiguous[name] = plain.clone() if memory in written else plain
        written.add(memory)
    with replacing(file) as temporary:
        save_file(contiguous, temporary)
