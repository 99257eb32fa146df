"""Settings → the model they describe."""

from dataclasses import dataclass

import torch
from torch import nn

from postsense.config import Config
from postsense.encoders.backbone import (
    ImageEncoder,
    TextEncoder,
    load_image_backbone,
    load_text_backbone,
)
from postsense.encoders.pretrained import image_checkpoint, text_checkpoint
from postsense.fusion.concat import Concat
from postsense.fusion.cross_attention import CrossAttention
from postsense.inputs import reads_image, reads_text
from postsense.model import Branch, PostModel


@dataclass(frozen=True)
class Encoders:
    """The trained encoders of a model, None where frozen, and the width D of each modality."""

    text: TextEncoder | None
    image: ImageEncoder | None
    text_dim: int | None
    image_dim: int | None


def load_encoders(
    config: Config, text_dim: int | None, image_dim: int | None, *, pretrained: bool = True
) -> Encoders:
    """The encoders that train, with their pretrained weights or, to be loaded over, without.

    text_dim, image_dim: widths of the frozen encoders' features.
    """
    settings, text, image = config.encoders, None, None
    if reads_text(config) and settings.text.trainable:
        backbone = load_text_backbone(
            text_checkpoint(settings), settings.text.layers, pretrained=pretrained
        )
        text = TextEncoder(backbone, settings.text.pooling)
        text_dim = backbone.dim
    if reads_image(config) and settings.image.trainable:
        folder, pooling = image_checkpoint(settings), settings.image.pooling
        network = load_image_backbone(folder, settings.image.layers, pooling, pretrained=pretrained)
        image = ImageEncoder(network, pooling)
        image_dim = _output_dim(image)
    return Encoders(text, image, text_dim, image_dim)


def build_model(config: Config, encoders: Encoders, classes: int) -> PostModel:
    """A new model with fresh fusion and head. Random choices come from torch's global generator."""
    text = _branch(encoders.text, encoders.text_dim) if reads_text(config) else None
    image = _branch(encoders.image, encoders.image_dim) if reads_image(config) else None
    fusion = _fusion(config, text, image)
    head = nn.Sequential(
        nn.Dropout(config.fusion.dropout), nn.Linear(config.fusion.hidden, classes)
    )
    return PostModel(text, image, fusion, head)


def _branch(encoder: TextEncoder | ImageEncoder | None, dim: int | None) -> Branch:
    assert dim is not None
    return Branch(encoder, dim)


def _fusion(config: Config, text: Branch | None, image: Branch | None) -> nn.Module:
    chosen = config.fusion
    if chosen.name == "cross_attention" and text is not None and image is not None:
        pooling = config.encoders.text.pooling
        return CrossAttention(text.dim, image.dim, chosen.hidden, chosen.input_dropout, pooling)
    dims = [branch.dim for branch in (text, image) if branch is not None]
    return Concat(dims, chosen.hidden, chosen.input_dropout)


@torch.no_grad()
def _output_dim(encoder: ImageEncoder) -> int:
    size = getattr(getattr(encoder.backbone.model, "config", None), "image_size", None) or 224
    side = size if isinstance(size, int) else size[0]
    regions, _ = encoder.backbone.eval()(torch.zeros(1, 3, side, side))
    return int(regions.shape[-1])
