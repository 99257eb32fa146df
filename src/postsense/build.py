"""Settings → the model they describe."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import nn

from postsense.config import JOINT, Config
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
from postsense.encoders.regions import REGIONS
from postsense.encoders.trials import TextTrial
from postsense.encoders.word_networks import BilstmNetwork, CnnNetwork, load_word_network
from postsense.fusion.alignment import Alignment
from postsense.fusion.bitransformer import Bitransformer, EarlyComments
from postsense.fusion.cluster_head import ClusterNames
from postsense.fusion.co_memory import CoMemory
from postsense.fusion.comments import WithComments, comment_attentions
from postsense.fusion.concat import Concat
from postsense.fusion.cross_attention import CrossAttention
from postsense.fusion.cross_modal import CrossModal
from postsense.fusion.hierarchical import Hierarchical
from postsense.fusion.lxmert import Lxmert
from postsense.fusion.vilt import Vilt
from postsense.inputs import reads_comments, reads_image, reads_text
from postsense.model import Branch, PostModel


@dataclass(frozen=True)
class Encoders:
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
) -> Encoders:
    """The encoders that run inside, with their pretrained weights or, to be loaded over, without.

    text_dim, image_dim: widths of the features of encoders that do not; without pretrained weights
        of all, so that no picture is encoded to find out.
    """
    settings, text, image = config.encoders, None, None
    if config.fusion.name in ("vilt", "lxmert"):
        joint = _load_joint(config, config.fusion.name, pretrained=pretrained)
        return Encoders(None, None, None, image_dim, joint)
    if reads_text(config) and settings.text.runs_inside:
        text_network = _load_text_network(config, pretrained=pretrained)
        text = TextEncoder(text_network, settings.text.pooling)
        if pretrained or text_dim is None:
            text_dim = text_network.dim
    if reads_image(config) and settings.image.runs_inside:
        network, size_px = _load_image_network(config, pretrained=pretrained)
        image = ImageEncoder(network, settings.image.pooling)
        if pretrained or image_dim is None:
            image_dim = _output_dim(image, size_px)
    return Encoders(text, image, text_dim, image_dim)


def _load_text_network(
    config: Config, *, pretrained: bool
) -> TextBackbone | CnnNetwork | BilstmNetwork:
    settings, folder = config.encoders.text, text_checkpoint(config.encoders)
    network: TextBackbone | CnnNetwork | BilstmNetwork
    if settings.network == "transformer":
        layers, read_layers = settings.layers, settings.read_layers
        pooling = "cls" if config.fusion.name in JOINT else settings.pooling

        def trial() -> TextTrial:
            return load_tokenizer(folder, settings.max_length).trial(pooling)

        network = load_text_backbone(folder, layers, read_layers, trial, pretrained=pretrained)
        refuse_fewer_states(network)
        _limit_training(network, config, "text")
    else:
        network = load_word_network(folder, settings, pretrained=pretrained)
        if config.training.gradient_checkpointing:
            checkpoint_gradients(network)  # says that it cannot
    return network


def _load_image_network(
    config: Config, *, pretrained: bool
) -> tuple[ImageBackbone, tuple[int, int]]:
    """The network, and height and width of the pictures that it reads."""
    settings, folder = config.encoders.image, image_checkpoint(config.encoders)

    def size_px() -> tuple[int, int]:
        return chosen_policy(config.encoders).size_px

    layers, pooling = settings.layers, settings.pooling
    network = load_image_backbone(folder, layers, pooling, size_px, pretrained=pretrained)
    _limit_training(network, config, "image")
    return network, size_px()


def _load_joint(config: Config, kind: JointKind, *, pretrained: bool) -> JointBackbone:
    settings, folder = config.encoders.text, text_checkpoint(config.encoders)
    network = load_joint_backbone(folder, kind, settings.layers, pretrained=pretrained)
    _limit_training(network, config, "text")
    return network


def _limit_training(network: Backbone, config: Config, part: Literal["text", "image"]) -> None:
    """Freeze all or the first layers and checkpoint gradients, where the settings say so."""
    chosen = getattr(config.encoders, part)
    if not chosen.trainable:
        network.requires_grad_(False)
        return
    freeze_layers(network, chosen.frozen_layers, f"encoders.{part}.frozen_layers")
    if config.training.gradient_checkpointing:
        checkpoint_gradients(network)


def build_model(
    config: Config, encoders: Encoders, classes: int, clusters: int | None = None
) -> PostModel:
    """A new model with fresh fusion and head. Random choices come from torch's global generator.

    clusters: what the head tells apart, to be named after the classes; None: the classes.
    """
    text, image = _branches(config, encoders)
    fusion = _fusion(config, encoders, text, image)
    joined = _with_comments(config, fusion, text) if reads_comments(config) else fusion
    width = config.fusion.hidden or sum(part.dim for part in (text, image) if part is not None)
    head = nn.Sequential(nn.Dropout(config.fusion.dropout), nn.Linear(width, clusters or classes))
    if clusters is not None:
        head = nn.Sequential(head, ClusterNames(torch.zeros(clusters, dtype=torch.int64), classes))
    # last, so that from one seed a model with them and one without start alike
    alignment = _alignment(config, fusion, text, image)
    match_head = nn.Linear(width, 2) if config.losses.itm > 0 else None
    return PostModel(text, image, joined, head, alignment, match_head)


def _branches(config: Config, encoders: Encoders) -> tuple[Branch | None, Branch | None]:
    """Joint models read words, or words and pixels, without a branch."""
    joint, width = config.fusion.name in JOINT, _projection(config)
    text, image = None, None
    if reads_text(config) and not joint:
        assert encoders.text_dim is not None
        token_dim = encoders.text_dim * config.encoders.text.read_layers
        text = Branch(encoders.text, encoders.text_dim, width, token_dim)
    if reads_image(config) and config.fusion.name != "vilt":
        assert encoders.image_dim is not None
        image = Branch(encoders.image, encoders.image_dim, width)
    return text, image


def _projection(config: Config) -> int | None:
    """Width of the layer over each modality; frozen encoders leave contrast nothing else."""
    settings, width = config.encoders, config.encoders.projection
    frozen = not (settings.text.trainable or settings.image.trainable)
    if width is not None or not frozen or config.fusion.name == "cross_modal":
        return width
    return config.losses.itc_width if config.losses.aligns else None


def _alignment(
    config: Config, fusion: nn.Module, text: Branch | None, image: Branch | None
) -> Alignment | None:
    settings = config.losses
    if not settings.aligns:
        return None
    if isinstance(fusion, CrossModal):
        shared = config.fusion.shared_width
        return Alignment(shared, shared, None, settings.temperature)
    if text is not None and image is not None:
        width = settings.itc_width if _projection(config) is None else None
        return Alignment(text.dim, image.dim, width, settings.temperature)
    text_dim, image_dim = cast("Any", fusion).unimodal_dims
    return Alignment(text_dim, image_dim, settings.itc_width, settings.temperature)


def _fusion(
    config: Config, encoders: Encoders, text_branch: Branch | None, image_branch: Branch | None
) -> nn.Module:
    chosen = config.fusion
    text = None if text_branch is None else text_branch.dim
    image = None if image_branch is None else image_branch.dim
    if chosen.name in JOINT:
        return _joint_fusion(config, encoders, image)
    if text is not None and image is not None:
        if chosen.name == "cross_attention":
            pooling = config.encoders.text.pooling
            return CrossAttention(text, image, chosen.hidden, chosen.input_dropout, pooling)
        if chosen.name == "cross_modal":
            layers = config.encoders.text.read_layers
            return CrossModal(text, layers, image, chosen)
        if chosen.name == "co_memory":
            return CoMemory(text, image, chosen.hidden, chosen.input_dropout)
        if chosen.name == "hierarchical":
            return Hierarchical(
                text, image, text, chosen.hidden, chosen.input_dropout, chosen.fidelity
            )
    return Concat(text, image, chosen.hidden, chosen.input_dropout)


def _joint_fusion(config: Config, encoders: Encoders, image: int | None) -> nn.Module:
    chosen, dropout = config.fusion, config.fusion.input_dropout
    if encoders.joint is None:
        assert encoders.text is not None and image is not None
        backbone = cast("TextBackbone", encoders.text.backbone)
        return Bitransformer(backbone, image, chosen.hidden, dropout, chosen.picture_tokens)
    if image is None:
        return Vilt(encoders.joint, chosen.hidden, dropout)
    with_boxes = config.encoders.image.name == REGIONS
    return Lxmert(encoders.joint, image, chosen.hidden, dropout, with_boxes=with_boxes)


def _with_comments(config: Config, fusion: nn.Module, text: Branch | None) -> nn.Module:
    hidden, dropout = config.fusion.hidden, config.comments.dropout
    if text is None:
        return EarlyComments(fusion, hidden)
    attentions = comment_attentions(config.fusion.name, fusion, hidden, config.fusion.fidelity)
    return WithComments(fusion, attentions, text.dim, hidden, dropout)


@torch.no_grad()
def _output_dim(encoder: ImageEncoder, size_px: tuple[int, int]) -> int:
    regions, _ = encoder.backbone.eval()(torch.zeros(1, 3, *size_px))
    return int(regions.shape[-1])
