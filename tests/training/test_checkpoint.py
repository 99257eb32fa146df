"""A phase's state on disk is whole, whatever moment the process dies at."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from postsense.errors import RunError
from postsense.files.tensors import save_tensors
from postsense.training.checkpoint import (
    Checkpoint,
    PhaseState,
    Tensors,
    advanced,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)


def checkpoint_of(epoch: int, best_epoch: int) -> Checkpoint:
    history = [{"epoch": float(number + 1), "val_loss": 0.1 + 0.2} for number in range(epoch)]
    return Checkpoint(
        state=PhaseState(epoch, best_epoch, best_score=1 / 3, history=history),
        weights=tensors(epoch),
        optimizer=tensors(100 + epoch),
        best=tensors(best_epoch),
    )


def tensors(seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {
        "matrix": torch.randn((3, 4), generator=generator),
        "transposed": torch.randn((2, 5), generator=generator).T,
        "step": torch.tensor(float(seed)),
    }


def assert_same(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    assert found.state == expected.state
    for part in ("weights", "optimizer", "best"):
        ours, theirs = getattr(found, part), getattr(expected, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_saved_checkpoint_loads_bit_for_bit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint_of(1, 1))
    save_checkpoint(tmp_path, checkpoint_of(2, 1))  # best weights stay those of epoch 1
    assert_same(load_checkpoint(tmp_path), checkpoint_of(2, 1))


def test_a_folder_without_state_holds_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "weights-1.safetensors").write_bytes(b"half")
    assert load_checkpoint(tmp_path) is None
    assert load_checkpoint(tmp_path / "absent") is None


def test_files_of_an_epoch_that_was_not_finished_are_ignored_and_later_replaced(
    tmp_path: Path,
) -> None:
    save_checkpoint(tmp_path, checkpoint_of(2, 2))
    (tmp_path / "weights-3.safetensors").write_bytes(b"half of a file")
    (tmp_path / ".optimizer-3.safetensors.x1.safetensors").write_bytes(b"a")
    assert_same(load_checkpoint(tmp_path), checkpoint_of(2, 2))
    save_checkpoint(tmp_path, checkpoint_of(3, 2))
    assert_same(load_checkpoint(tmp_path), checkpoint_of(3, 2))


def test_saving_removes_every_file_that_the_state_does_not_name(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint_of(1, 1))
    (tmp_path / ".optimizer-2.safetensors.x1.safetensors").write_bytes(b"a")
    save_checkpoint(tmp_path, checkpoint_of(2, 1))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "best-1.safetensors",
        "optimizer-2.safetensors",
        "state.json",
        "weights-2.safetensors",
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "weights-1.safetensors").unlink(),
        lambda folder: (folder / "best-1.safetensors").write_bytes(b"\xff" * 20),
        lambda folder: (folder / "optimizer-1.safetensors").write_bytes(b""),
        lambda folder: (folder / "state.json").write_text("{"),
        lambda folder: (folder / "state.json").write_text("[]"),
        lambda folder: (folder / "state.json").write_text('{"files": {}}'),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path, damage) -> None:
    save_checkpoint(tmp_path, checkpoint_of(1, 1))
    damage(tmp_path)
    with pytest.raises(RunError, match="expected a whole checkpoint") as error:
        load_checkpoint(tmp_path)
    assert "\n" not in str(error.value)
    assert "Delete this folder" in str(error.value)


def test_a_truncated_tensor_file_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint_of(1, 1))
    file = tmp_path / "weights-1.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RunError, match="expected a whole checkpoint"):
        load_checkpoint(tmp_path)


def test_state_json_names_the_files_it_belongs_to(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint_of(3, 3))
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["files"]["best"] == "best-3.safetensors"
    assert state["best_score"] == 1 / 3


def test_an_optimizer_goes_on_as_if_never_interrupted(tmp_path: Path) -> None:
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    one, two = (torch.optim.AdamW(net.parameters(), lr=0.1) for net in (first, second))
    step(first, one, 1.0)
    second.load_state_dict(first.state_dict())
    save_tensors(tmp_path / "moments.safetensors", optimizer_tensors(one))
    restore_optimizer(two, load_file(tmp_path / "moments.safetensors"))
    step(first, one, 2.0)
    step(second, two, 2.0)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def step(net: torch.nn.Linear, optimizer: torch.optim.Optimizer, scale: float) -> None:
    optimizer.zero_grad()
    net(torch.arange(6.0).reshape(2, 3) * scale).square().sum().backward()
    optimizer.step()


def test_a_better_epoch_becomes_the_best_and_a_worse_one_does_not() -> None:
    state = advanced(PhaseState(), {"val_loss": 0.5}, 0.5, better=True)
    worse = advanced(state, {"val_loss": 0.6}, 0.6, better=False)
    assert state == PhaseState(1, 1, 0.5, [{"val_loss": 0.5}])
    assert worse == replace(state, epoch=2, history=[{"val_loss": 0.5}, {"val_loss": 0.6}])
