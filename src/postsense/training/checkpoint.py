"""The state of an unfinished phase on disk: safetensors for tensors, JSON for the rest.

`state.json` is replaced last and names the tensor files it belongs to, so a process killed at any
moment leaves a state that is whole: the new one or the one before.
"""

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from postsense.errors import RunError
from postsense.files.atomic import write_json
from postsense.files.tensors import save_tensors

Tensors = dict[str, Tensor]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhaseState:
    """Where a phase stands after `epoch` epochs."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """A phase's state, the weights and optimizer moments after it, the best weights so far."""

    state: PhaseState
    weights: Tensors
    optimizer: Tensors
    best: Tensors


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint, then remove the one before."""
    epoch = checkpoint.state.epoch
    files = {
        "weights": f"weights-{epoch}.safetensors",
        "optimizer": f"optimizer-{epoch}.safetensors",
        "best": f"best-{checkpoint.state.best_epoch}.safetensors",
    }
    for part, name in files.items():
        if part != "best" or checkpoint.state.best_epoch == epoch:
            save_tensors(folder / name, getattr(checkpoint, part))
    write_json(folder / "state.json", {**asdict(checkpoint.state), "files": files})
    for file in folder.glob("*.safetensors"):
        if file.name not in files.values():
            file.unlink()


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint in folder, None if there is none. Raises: RunError: it is damaged."""
    file = folder / "state.json"
    if not file.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        files = values.pop("files")
        tensors = {part: load_file(folder / name) for part, name in files.items()}
        return Checkpoint(state=PhaseState(**values), **tensors)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise RunError(
            folder, "a whole checkpoint", str(error), "Delete this folder to start the phase anew."
        ) from None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's moments, named `<parameter number>.<moment>`."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put the moments back; groups and rates stay as the optimizer was built with."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def advanced(
    state: PhaseState, record: dict[str, float], score: float, *, better: bool
) -> PhaseState:
    """The state one epoch later."""
    epoch = state.epoch + 1
    history = [*state.history, record]
    if better:
        return PhaseState(epoch, epoch, score, history)
    return replace(state, epoch=epoch, history=history)
