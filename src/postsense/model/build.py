"""Settings → the model they describe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from postsense.config import (
    Config,
    EncoderSettings,
    ImageEncoderSettings,
    Pooling,
    TextEncoderSettings,
)
from postsense.encoders.backbone import (
    Backbone,
    ImageBackbone,
    ImageEncoder,
    TextBackbone,
    TextEncoder,
    load_image_backbone,
    load_text_backbone,
    refuse_fewer_states,
)
from postsense.encoders.freezing import freeze_layers
from postsense.encoders.gradient_checkpointing import checkpoint_gradients
from postsense.encoders.joint import JointBackbone, JointKind, load_joint_backbone
from postsense.encoders.pretrained import image_checkpoint, text_checkpoint
from postsense.encoders.processors import chosen_policy, load_tokenizer
from postsense.encoders.trials import TextTrial
from postsense.encoders.word_networks import BilstmNetwork, CnnNetwork, load_word_network
from postsense.fusion.bitransformer import EarlyComments
from postsense.fusion.comments import WithComments, comment_attentions
from postsense.fusion.given import Given
from postsense.fusion.kernel import RadialKernel, Shares
from postsense.model.alignment import Alignment
from postsense.model.cluster_head import ClusterNames
from postsense.model.post_model import Branch, PostModel
from postsense.registry.inputs import INPUTS
from postsense.registry.table import load_object


@dataclass(frozen=True)
class InnerEncoders:
    """The encoders inside a model, None where posts come encoded, and each modality's width D.

    joint: what encodes words and picture together, in place of encoders of their own.
    """

    text: TextEncoder | None
    image: ImageEncoder | None
    text_dim: int | None
    image_dim: int | None
    joint: JointBackbone | None = None


def load_encoders(
    config: Config, text_dim: int | None, image_dim: int | None, *, pretrained: bool = True
) -> InnerEncoders:
    """The encoders that run inside, with their pretrained weights or, to be loaded over, without.

    text_dim, image_dim: widths of the features of encoders that do not; without pretrained weights
        of all, so that no picture is encoded to find out.
    """
    settings, text, image = config.encoders, None, None
    how: Any = {
        "checkpointing": config.training.gradient_checkpointing,
        "pretrained": pretrained,
    }
    kind = config.fusion.declared.encoder
    if kind is not None and kind != "text":
        joint = _load_joint(settings, kind, **how)
        return InnerEncoders(None, None, None, image_dim, joint)
    if config.reads_words and settings.text.runs_inside:
        pooling: Pooling = "cls" if config.fusion.declared.is_joint else settings.text.pooling
        text_network = _load_text_network(settings, pooling, **how)
        text = TextEncoder(text_network, settings.text.pooling)
        if pretrained or text_dim is None:
            text_dim = text_network.dim
    if config.reads_picture and settings.image.runs_inside:
        network, size_px = _load_image_network(settings, **how)
        image = ImageEncoder(network, settings.image.pooling)
        if pretrained or image_dim is None:
            image_dim = _output_dim(image, size_px)
    return InnerEncoders(text, image, text_dim, image_dim)


def _load_text_network(
    encoders: EncoderSettings, pooling: Pooling, *, checkpointing: bool, pretrained: bool
) -> TextBackbone | CnnNetwork | BilstmNetwork:
    settings, folder = encoders.text, text_checkpoint(encoders)
    network: TextBackbone | CnnNetwork | BilstmNetwork
    if settings.declared.pretrained:
        layers, read_layers = settings.layers, settings.read_layers

        def trial() -> TextTrial:
            return load_tokenizer(folder, settings.max_length).trial(pooling)

        network = load_text_backbone(folder, layers, read_layers, trial, pretrained=pretrained)
        refuse_fewer_states(network)
        _limit_training(network, settings, "encoders.text", checkpointing=checkpointing)
    else:
        network = load_word_network(folder, settings, pretrained=pretrained)
        if checkpointing:
            checkpoint_gradients(network)  # says that it cannot
    return network


def _load_image_network(
    encoders: EncoderSettings, *, checkpointing: bool, pretrained: bool
) -> tuple[ImageBackbone, tuple[int, int]]:
    """The network, and height and width of the pictures that it reads."""
    settings, folder = encoders.image, image_checkpoint(encoders)

    def size_px() -> tuple[int, int]:
        return chosen_policy(encoders).size_px

    layers, pooling = settings.layers, settings.pooling
    network = load_image_backbone(folder, layers, pooling, size_px, pretrained=pretrained)
    _limit_training(network, settings, "encoders.image", checkpointing=checkpointing)
    return network, size_px()


def _load_joint(
    encoders: EncoderSettings, kind: JointKind, *, checkpointing: bool, pretrained: bool
) -> JointBackbone:
    settings, folder = encoders.text, text_checkpoint(encoders)
    network = load_joint_backbone(folder, kind, settings.layers, pretrained=pretrained)
    _limit_training(network, settings, "encoders.text", checkpointing=checkpointing)
    return network


def _limit_training(
    network: Backbone,
    settings: TextEncoderSettings | ImageEncoderSettings,
    section: str,
    *,
    checkpointing: bool,
) -> None:
    """Freeze all or the first layers and checkpoint gradients, where the settings say so."""
    if not settings.trainable:
        network.requires_grad_(False)
        return
    freeze_layers(network, settings.frozen_layers, f"{section}.frozen_layers")
    if checkpointing:
        checkpoint_gradients(network)


def build_model(
    config: Config, encoders: InnerEncoders, classes: int, clusters: int | None = None
) -> PostModel:
    """A new model with fresh fusion and head. Random choices come from torch's global generator.

    clusters: what the head tells apart, to be named after the classes; None: the classes.
    """
    text, image = _branches(config, encoders)
    blocks = _blocks(config, encoders)
    widths = _widths(config, text, image, blocks)
    fusion = _fusion(config, encoders, widths)
    joined = _with_comments(config, fusion, text) if config.reads_comments else fusion
    width = config.fusion.hidden or sum(widths.values())
    if config.declared_method.kernel:
        joined = RadialKernel(joined, width, config.ridge.points)
        width = config.ridge.points
    head = nn.Sequential(nn.Dropout(config.fusion.dropout), nn.Linear(width, clusters or classes))
    if config.declared_method.kernel:
        head.append(Shares())
    if clusters is not None:
        head = nn.Sequential(head, ClusterNames(torch.zeros(clusters, dtype=torch.int64), classes))
    # last, so that from one seed a model with them and one without start alike
    alignment = _alignment(config, fusion, text, image)
    match_head = nn.Linear(width, 2) if config.losses.itm > 0 else None
    aligned = config.fusion.declared.aligned
    return PostModel(text, image, joined, head, alignment, match_head, aligned, blocks)


def _branches(config: Config, encoders: InnerEncoders) -> tuple[Branch | None, Branch | None]:
    """What a fusion encodes itself reaches it without a branch."""
    inside, width = config.fusion.declared.encodes, _projection(config)
    text, image = None, None
    if config.reads_words and "text" not in inside:
        assert encoders.text_dim is not None
        token_dim = encoders.text_dim * config.encoders.text.read_layers
        weight = config.blocks.text
        text = Branch(encoders.text, encoders.text_dim, width, token_dim, weight=weight)
    if config.reads_picture and "image" not in inside:
        assert encoders.image_dim is not None
        image = Branch(encoders.image, encoders.image_dim, width, weight=config.blocks.image)
    return text, image


def _blocks(config: Config, encoders: InnerEncoders) -> dict[str, Branch]:
    """A branch for each vector beside words and picture; none draws a random number."""
    branches = {}
    for name in config.inputs:
        if not INPUTS[name].has_column:
            one = INPUTS[name]
            width = one.width or encoders.text_dim
            assert width is not None
            weight = config.blocks.weight(name)
            branches[name] = Branch(None, width, weight=weight, length=one.length)
    return branches


def _widths(
    config: Config, text: Branch | None, image: Branch | None, blocks: Mapping[str, Branch]
) -> dict[str, int]:
    """The width D of each input that reaches the fusion through a branch, in their order."""
    branches = {
        name: blocks.get(name) or (text if INPUTS[name].holds == "words" else image)
        for name in config.inputs
    }
    return {name: branch.dim for name, branch in branches.items() if branch is not None}


def _projection(config: Config) -> int | None:
    """Width of the layer over each modality; frozen encoders leave contrast nothing else."""
    settings, width = config.encoders, config.encoders.projection
    frozen = not (settings.text.trainable or settings.image.trainable)
    if width is not None or not frozen or config.fusion.declared.own_projection:
        return width
    return config.losses.itc_width if config.losses.aligns else None


def _alignment(
    config: Config, fusion: nn.Module, text: Branch | None, image: Branch | None
) -> Alignment | None:
    settings, aligned = config.losses, config.fusion.declared.aligned
    if not settings.aligns:
        return None
    if aligned == "own":
        shared = config.fusion.shared_width
        return Alignment(shared, shared, None, settings.temperature)
    if aligned == "unimodal":
        text_dim, image_dim = cast("Any", fusion).unimodal_dims
        return Alignment(text_dim, image_dim, settings.itc_width, settings.temperature)
    assert text is not None and image is not None
    width = settings.itc_width if _projection(config) is None else None
    return Alignment(text.dim, image.dim, width, settings.temperature)


def _fusion(config: Config, encoders: InnerEncoders, widths: Mapping[str, int]) -> nn.Module:
    """What the declaration of the fusion builds."""
    text, declared = config.encoders.text, config.fusion.declared
    backbone: TextBackbone | JointBackbone | None = encoders.joint
    if declared.encoder == "text":
        assert encoders.text is not None
        backbone = cast("TextBackbone", encoders.text.backbone)
    given = Given(
        widths=widths,
        pooling=text.pooling,
        text_layers=text.read_layers,
        with_boxes=not config.encoders.image.declared.trains,
        backbone=backbone,
    )
    fusion: nn.Module = load_object(declared.build)(given, config.fusion)
    return fusion


def _with_comments(config: Config, fusion: nn.Module, text: Branch | None) -> nn.Module:
    kind, hidden = config.fusion.declared.comments, config.fusion.hidden
    assert kind is not None
    if kind == "early":
        return EarlyComments(fusion, hidden)
    assert text is not None
    attentions = comment_attentions(kind, fusion, hidden, config.fusion.fidelity)
    return WithComments(fusion, attentions, text.dim, hidden, config.comments.dropout)


@torch.no_grad()
def _output_dim(encoder: ImageEncoder, size_px: tuple[int, int]) -> int:
    regions, _ = encoder.backbone.eval()(torch.zeros(1, 3, *size_px))
    return int(regions.shape[-1])
