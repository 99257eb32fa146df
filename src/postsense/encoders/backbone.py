"""Pretrained networks behind one face: inputs → (tokens, class vector)."""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from postsense.encoders.builtin import load_efficientnet
from postsense.encoders.embeddings import Embeddings, Pooling, pool
from postsense.encoders.pretrained import dual_part, keep_layers, load_model, wrong_modality
from postsense.errors import EncoderError


class EncoderNetwork(nn.Module):
    """What encodes a modality inside the model: inputs → (tokens, class vector)."""


class Backbone(EncoderNetwork):
    """A pretrained network: it trains at the rate of encoders, but for its frozen parts.

    frozen: parts of model that stay in eval mode; see `freezing.freeze_layers`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.frozen: tuple[nn.Module, ...] = ()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but the frozen parts: no dropout, no moving statistics there."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self


class TextBackbone(Backbone):
    """Token ids and mask, each (B, T) int64, to tokens (B, T, L * D) and class vector (B, D).

    A token is its states after the last L layers side by side, the last layer's last; the class
    vector is of the last layer alone. L, read_layers, is at most the number of layers.
    """

    def __init__(
        self, model: nn.Module, *, pooled_output: bool = False, read_layers: int = 1
    ) -> None:
        super().__init__(model)
        self.pooled_output = pooled_output  # dual models have no class token in their text
        self.read_layers = read_layers

    @property
    def dim(self) -> int:
        """D, the width of a layer's states."""
        config: Any = self.model.config
        return int(config.hidden_size)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        several = self.read_layers > 1
        output = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=several)
        tokens = output.last_hidden_state
        cls = output.pooler_output if self.pooled_output else tokens[:, 0]
        if several:  # dual models norm the last states, which hidden_states holds as they were
            tokens = torch.cat([*output.hidden_states[-self.read_layers : -1], tokens], dim=-1)
        return tokens, cls


class ImageBackbone(Backbone):
    """Pixels (B, 3, H, W) to regions (B, T, D) and class vector (B, D).

    The regions of a convolutional network are the cells of its last feature map; those of a
    transformer are its patches, led by the class token where it has one. The class vector is that
    first token; convolutional networks have none and give the mean of their regions.
    """

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(pixels)
        states = output if isinstance(output, Tensor) else output.last_hidden_state
        if states.ndim == 4:  # (B, D, H, W)
            regions = states.flatten(2).transpose(1, 2)
            return regions, regions.mean(dim=1)
        return states, states[:, 0]


class TextEncoder(nn.Module):
    """A text backbone, or a word network, inside the model, with its pooling: ids → Embeddings."""

    def __init__(self, backbone: EncoderNetwork, pooling: Pooling) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling: Pooling = pooling

    def forward(self, ids: Tensor, mask: Tensor) -> Embeddings:
        """ids: (B, T) int64, mask: (B, T) bool, all False where the post has no text."""
        readable = mask.clone()
        readable[:, 0] = True  # attention needs one token to look at; such a row is masked below
        tokens, cls = self.backbone(ids, readable.long())
        tokens = tokens * mask[..., None]
        last_layer = tokens[..., -cls.shape[-1] :]
        pooled = cls if self.pooling == "cls" else pool(last_layer, mask, self.pooling)
        present = mask.any(dim=1)
        return Embeddings(pooled * present[:, None], present, tokens, mask)


class ImageEncoder(nn.Module):
    """An image backbone inside the model, with its pooling: pixels → Embeddings."""

    def __init__(self, backbone: ImageBackbone, pooling: Pooling) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling: Pooling = pooling

    def forward(self, pixels: Tensor, present: Tensor) -> Embeddings:
        """pixels: (B, 3, H, W) float, zero where present, (B,) bool, is False."""
        regions, cls = self.backbone(pixels)
        mask = present[:, None].expand(regions.shape[:2])
        regions = regions * mask[..., None]
        pooled = cls if self.pooling == "cls" else pool(regions, mask, self.pooling)
        return Embeddings(pooled * present[:, None], present, regions, mask)


def load_text_backbone(
    folder: Path, layers: int | None, read_layers: int = 1, *, pretrained: bool = True
) -> TextBackbone:
    """The text model of a checkpoint folder.

    layers: how many are kept, None: all. read_layers: of how many, the last, a token has states.
    Raises: EncoderError: it reads no text, or has fewer layers than are kept or read.
    """
    where = "encoders.text.name"
    model = load_model(folder, where, pretrained=pretrained)
    part = dual_part(model, "text_model")
    backbone = part if part is not None else model
    if part is None and (_reads_pixels(model) or _reads_both(model)):
        raise wrong_modality(where, "text alone" if _reads_both(model) else "text", model)
    keep_layers(backbone, layers, "encoders.text.layers")
    if read_layers > 1:
        _refuse_too_few(backbone, layers, read_layers)
    return TextBackbone(backbone, pooled_output=part is not None, read_layers=read_layers).eval()


def load_image_backbone(
    folder: Path | None, layers: int | None, pooling: Pooling, *, pretrained: bool = True
) -> ImageBackbone:
    """The vision model of a checkpoint folder, the built-in one for None.

    Raises: EncoderError: it reads no pictures, or lacks the layers or the class token asked for.
    """
    where = "encoders.image.name"
    if folder is None:
        _refuse_transformer_settings(layers, pooling)
        return ImageBackbone(load_efficientnet()).eval()
    model = load_model(folder, where, pretrained=pretrained)
    part = dual_part(model, "vision_model")
    backbone = part if part is not None else model
    if part is None and (not _reads_pixels(model) or _reads_both(model)):
        raise wrong_modality(where, "pictures alone" if _reads_both(model) else "pictures", model)
    keep_layers(backbone, layers, "encoders.image.layers")
    if not hasattr(backbone.config, "patch_size"):
        _refuse_transformer_settings(None, pooling)
    return ImageBackbone(backbone).eval()


def _refuse_transformer_settings(layers: int | None, pooling: Pooling) -> None:
    where, expected = "encoders.image", "no layers and pooling mean or max for a convolutional net"
    if layers is not None:
        raise EncoderError(f"{where}.layers", expected, str(layers), "Leave it unset.")
    if pooling == "cls":
        raise EncoderError(f"{where}.pooling", expected, "'cls'", "Set it to 'mean'.")


def _refuse_too_few(model: nn.Module, layers: int | None, read_layers: int) -> None:
    config: Any = model.config
    available = int(config.num_hidden_layers) if layers is None else layers
    if read_layers > available:
        where = "encoders.text.read_layers"
        expected = f"at most {available}, the layers of the encoder"
        raise EncoderError(where, expected, str(read_layers), f"Set {where}={available} or less.")


def _reads_both(model: nn.Module) -> bool:
    return getattr(getattr(model, "config", None), "model_type", "") in ("vilt", "lxmert")


def _reads_pixels(model: nn.Module) -> bool:
    return getattr(model, "main_input_name", "") == "pixel_values"
