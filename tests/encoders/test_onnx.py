"""An exported network gives what torch gives, and a bad file is never kept."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from postsense.encoders.checksums import file_sum
from postsense.encoders.onnx import export_session, open_session, run_session
from tolerances import rounding

AXES = [{0: "batch"}]


class Network(nn.Module):
    """Two outputs, one of them a state beside a vector, and dropout that must not act."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.9), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        states = self.layers(inputs)
        return states, states.sum(dim=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "network.onnx"
    export_session(Network().train(), [torch.zeros(2, 3)], AXES, file)
    return file


def inputs_of(posts: int) -> Tensor:
    return torch.randn(posts, 3, generator=torch.Generator().manual_seed(posts))


@pytest.mark.parametrize("posts", [1, 2, 7])
def test_it_gives_what_torch_gives_for_any_batch(exported: Path, posts: int) -> None:
    inputs = inputs_of(posts)

    states, sums = run_session(open_session(exported), [inputs.numpy()])

    with torch.inference_mode():
        expected_states, expected_sums = Network().eval()(inputs)
    assert np.abs(states - expected_states.numpy()).max() < rounding(8, steps=2)
    assert np.abs(sums - expected_sums.numpy()).max() < rounding(4 * 8, steps=2)


def test_a_sound_file_is_opened_without_exporting(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **more: pytest.fail("exported again"))

    session = export_session(Network(), [torch.zeros(2, 3)], AXES, exported)

    assert run_session(session, [inputs_of(2).numpy()])[0].any()


@pytest.mark.parametrize("content", [b"", b"not a network", None])
def test_a_damaged_file_is_exported_again(
    exported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    file, sound = tmp_path / "network.onnx", exported.read_bytes()
    file.write_bytes(sound[: len(sound) // 2] if content is None else content)

    session = export_session(Network(), [torch.zeros(2, 3)], AXES, file)

    inputs = [inputs_of(3).numpy()]
    expected = run_session(open_session(exported), inputs)
    assert np.array_equal(run_session(session, inputs)[0], expected[0])
    assert "exporting network.onnx again, since it cannot be opened" in caplog.text


def test_an_export_whose_weights_changed_is_exported_again(
    exported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "network.onnx"
    export_session(Network(), [torch.zeros(2, 3)], AXES, file)
    weight = Network().layers[0].weight.detach().numpy().tobytes()
    assert weight in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(weight, weight[::-1]))

    session = export_session(Network(), [torch.zeros(2, 3)], AXES, file)

    inputs = [inputs_of(3).numpy()]
    expected = run_session(open_session(exported), inputs)
    assert np.array_equal(run_session(session, inputs)[0], expected[0])
    assert "exporting network.onnx again, since it has changed on the disk" in caplog.text


def test_an_export_of_a_time_without_checksums_gets_one(exported: Path, tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    file.write_bytes(exported.read_bytes())

    export_session(Network(), [torch.zeros(2, 3)], AXES, file)

    assert (tmp_path / "network.onnx.sum").read_text() == f"{file_sum(file)}\n"


def test_an_export_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **more: Any) -> None:
        Path(args[2]).write_bytes(b"half")
        raise torch.onnx.errors.OnnxExporterError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", fail)

    with pytest.raises(torch.onnx.errors.OnnxExporterError, match="no such operator"):
        export_session(Network(), [torch.zeros(2, 3)], AXES, tmp_path / "network.onnx")

    assert list(tmp_path.iterdir()) == []


def test_exporting_leaves_the_exporters_log_level_alone(exported: Path, tmp_path: Path) -> None:
    exporter = logging.getLogger("torch.onnx")
    before = exporter.level
    exporter.setLevel(logging.INFO)
    try:
        export_session(Network(), [torch.zeros(2, 3)], AXES, tmp_path / "network.onnx")
        assert exporter.level == logging.INFO
    finally:
        exporter.setLevel(before)


def test_threads_may_share_a_session(exported: Path) -> None:
    session = open_session(exported)
    batches = [[inputs_of(posts).numpy()] for posts in range(1, 40)]

    with ThreadPoolExecutor(4) as workers:
        shared = list(workers.map(lambda batch: run_session(session, batch)[0], batches))

    alone = [run_session(session, batch)[0] for batch in batches]
    assert all(np.array_equal(one, other) for one, other in zip(shared, alone, strict=True))
