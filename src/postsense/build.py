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
from postsense.fusion.bitransformer import Bitransformer, EarlyComments
from postsense.fusion.co_memory import CoMemory
from postsense.fusion.comments import WithComments, comment_attentions
from postsense.fusion.concat import Concat
from postsense.fusion.cross_attention import CrossAttention
from postsense.fusion.hierarchical import Hierarchical
from postsense.inputs import reads_comments, reads_image, reads_text
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
    text = _branch(encoders.text, encoders.text_dim) if _has_text_branch(config) else None
    image = _branch(encoders.image, encoders.image_dim) if reads_image(config) else None
    fusion = _fusion(config, encoders)
    if reads_comments(config):
        fusion = _with_comments(config, fusion, encoders)
    head = nn.Sequential(
        nn.Dropout(config.fusion.dropout), nn.Linear(config.fusion.hidden, classes)
    )
    return PostModel(text, image, fusion, head)


def _has_text_branch(config: Config) -> bool:
    """The bitransformer's text encoder is inside the fusion."""
    return reads_text(config) and config.fusion.name != "bitransformer"


def _branch(encoder: TextEncoder | ImageEncoder | None, dim: int | None) -> Branch:
    assert dim is not None
    return Branch(encoder, dim)


def _fusion(config: Config, encoders: Encoders) -> nn.Module:
    chosen, text, image = config.fusion, encoders.text_dim, encoders.image_dim
    if text is not None and image is not None:
        if chosen.name == "cross_attention":
            pooling = config.encoders.text.pooling
            return CrossAttention(text, image, chosen.hidden, chosen.input_dropout, pooling)
        if chosen.name == "co_memory":
            return CoMemory(text, image, chosen.hidden, chosen.input_dropout)
        if chosen.name == "hierarchical":
            return Hierarchical(
                text, image, text, chosen.hidden, chosen.input_dropout, chosen.fidelity
            )
        if chosen.name == "bitransformer" and encoders.text is not None:
            return Bitransformer(encoders.text.backbone, image, chosen.hidden, chosen.input_dropout)
    return Concat(
        text if reads_text(config) else None,
        image if reads_image(config) else None,
        chosen.hidden,
        chosen.input_dropout,
    )


def _with_comments(config: Config, fusion: nn.Module, encoders: Encoders) -> nn.Module:
    hidden, dropout = config.fusion.hidden, config.comments.dropout
    if isinstance(fusion, Bitransformer):
        return EarlyComments(fusion, hidden)
    assert encoders.text_dim is not None
    attentions = comment_attentions(config.fusion.name, fusion, hidden, config.fusion.fidelity)
    return WithComments(fusion, attentions, encoders.text_dim, hidden, dropout)


@torch.no_grad()
def _output_dim(encoder: ImageEncoder) -> int:
    size = getattr(getattr(encoder.backbone.model, "config", None), "image_size", None) or 224
    side = size if isinstance(size, int) else size[0]
    regions, _ = encoder.backbone.eval()(torch.zeros(1, 3, side, side))
    return int(regions.shape[-1])
