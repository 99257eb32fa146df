"""Frozen encoders on the CPU: a torch module → an ONNX Runtime session kept on disk."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from postsense.arrays import Array
from postsense.encoders.checksums import file_sum
from postsense.encoders.shards import keeping
from postsense.files.atomic import replacing

logger = logging.getLogger(__name__)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A session that runs in the calling thread; several threads may share it.

    One thread an input, rather than several threads an operator, makes what a post gets
    independent of the batch it sits in: the products are then always summed in the same order.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )


def export_session(
    module: nn.Module,
    example: Sequence[Tensor],
    dynamic: Sequence[dict[int, str]],
    path: Path,
) -> onnxruntime.InferenceSession:
    """Export module to path unless a sound file is there, and open it.

    Its checksum is kept beside it; an export of a time when there was none is taken as it is.

    example: inputs of batch size 2 or more. dynamic: for each input the axes that vary, by name.
    """
    if path.is_file() and _is_as_written(path):
        try:
            return open_session(path)
        except Exception as error:  # onnxruntime raises its own, unrelated exception types
            logger.warning("exporting %s again, since it cannot be opened: %s", path.name, error)
    with keeping(path.parent), replacing(path) as temporary, _quiet_export():
        torch.onnx.export(
            module.eval(),
            tuple(example),
            os.fspath(temporary),
            dynamo=True,
            dynamic_shapes=tuple(dynamic),
            input_names=[f"input_{i}" for i in range(len(example))],
            external_data=False,
            verbose=False,
        )
    _keep_sum(path)
    return open_session(path)


def _is_as_written(path: Path) -> bool:
    """Whether a file fits the checksum beside it, which it gets where there is none."""
    try:
        kept = _sum_of(path).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        _keep_sum(path)
        return True
    except (OSError, ValueError):
        kept = "none that can be read"
    if kept == file_sum(path):
        return True
    logger.warning("exporting %s again, since it has changed on the disk", path.name)
    return False


def _keep_sum(path: Path) -> None:
    with suppress(OSError), replacing(_sum_of(path)) as temporary:  # a cache that may only be read
        temporary.write_text(file_sum(path) + "\n", encoding="ascii")


def _sum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sum")


def run_session(session: onnxruntime.InferenceSession, inputs: Sequence[Array]) -> list[Array]:
    """The session's outputs for these inputs, in order."""
    names = [node.name for node in session.get_inputs()]
    outputs: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
    return outputs


@contextmanager
def _quiet_export() -> Iterator[None]:
    """The exporter reports on operators of packages that are not installed; nobody needs that."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
