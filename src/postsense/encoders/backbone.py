"""Pretrained networks behind one face: inputs → (tokens, class vector)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from postsense.config.encoders import Pooling
from postsense.encoders.builtin import is_builtin, load_efficientnet
from postsense.encoders.embeddings import Embeddings, pool
from postsense.encoders.pretrained import (
    dual_part,
    fills_positions,
    has_masks,
    keep_layers,
    load_model,
    wrong_modality,
)
from postsense.encoders.processors import picture_policy
from postsense.encoders.trials import (
    TextHabits,
    TextTrial,
    habits_of,
    refuse_meaningless_pictures,
    refuse_meaningless_texts,
    refuse_without_class_token,
    trying,
)
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

    Masked tokens follow the others. Where a network reads them nonetheless, texts of one length go
    through it together and without them, so that what a text gets depends on it alone.

    filler: the id in all positions behind a text, for SigLIP, which has learned from texts that are
    padded to the end and unmasked, and takes the last state, mostly one of padding, for the text's.
    """

    def __init__(
        self, model: nn.Module, *, pooled_output: bool = False, read_layers: int = 1
    ) -> None:
        super().__init__(model)
        self.filler: int | None = None
        self.pooled_output = pooled_output  # dual models have no class token in their text
        self.read_layers = read_layers
        self.habits: TextHabits | None = None  # not known, as of the built-in one: those of BERT

    @property
    def dim(self) -> int:
        """D, the width of a layer's states."""
        if self.habits is not None:
            return self.habits.width
        config: Any = self.model.config
        return int(config.hidden_size)

    def learn_habits(self, trial: TextTrial) -> None:
        """Try out how the network reads texts. Raises: EncoderError: it cannot read them."""
        with trying(self):
            self.habits, self.trial = habits_of(self.read, self.model, trial), trial

    @property
    def is_without_memory(self) -> bool:
        """Whether it only is a plan of a network, which gives shapes and no numbers."""
        return any(parameter.is_meta for parameter in self.model.parameters())

    @property
    def bears_padding(self) -> bool:
        """Whether texts of any length may be padded to that of others."""
        return self.habits is None or not (self.habits.reads_padding or self.habits.shortest > 1)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.habits is None or self.bears_padding:
            return self.read(ids, mask)
        return self._read_by_length(ids, mask, self.habits.shortest)

    def _read_by_length(self, ids: Tensor, mask: Tensor, shortest: int) -> tuple[Tensor, Tensor]:
        """Texts with fewer than the shortest number of tokens are padded to it, in any batch."""
        padding = getattr(self.model.config, "pad_token_id", None) or 0
        lengths = mask.sum(dim=1).clamp(min=1)
        parts, order = list[tuple[Tensor, Tensor]](), list[Tensor]()
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().squeeze(1)
            more = max(0, shortest - length)
            told = F.pad(ids[rows, :length], (0, more), value=padding)
            tokens, cls = self.read(told, F.pad(torch.ones_like(told[:, :length]), (0, more)))
            parts.append((F.pad(tokens[:, :length], (0, 0, 0, ids.shape[1] - length)), cls))
            order.append(rows)
        back = torch.cat(order).argsort()
        tokens, cls = (torch.cat(part)[back] for part in zip(*parts, strict=True))
        return tokens, cls

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the network itself makes of these ids and this mask."""
        several, length = self.read_layers > 1, ids.shape[1]
        seen: Tensor | None = mask
        if self.filler is not None:
            ids, seen = self._filled(ids, mask, self.filler), None
        output = self.model(input_ids=ids, attention_mask=seen, output_hidden_states=several)
        tokens = output.last_hidden_state
        pooled = getattr(output, "pooler_output", None) if self.pooled_output else None
        cls = tokens[:, 0] if pooled is None else pooled
        if several:  # dual models norm the last states, which hidden_states holds as they were
            tokens = torch.cat([*output.hidden_states[-self.read_layers : -1], tokens], dim=-1)
        return (tokens if self.filler is None else tokens[:, :length]), cls

    def _filled(self, ids: Tensor, mask: Tensor, filler: int) -> Tensor:
        """Ids in all positions that the network has. Returns (B, P) int64."""
        config: Any = self.model.config
        positions = int(config.max_position_embeddings)
        rest = torch.full_like(ids[:, :1], filler).expand(-1, positions)
        return torch.cat([ids.masked_fill(mask == 0, filler), rest], dim=1)[:, :positions]


class ImageBackbone(Backbone):
    """Pixels (B, 3, H, W) to regions (B, T, D) and class vector (B, D).

    The regions of a convolutional network are the cells of its last feature map; those of a
    transformer are its patches, led by the class token where it has one. The class vector is that
    first token; convolutional networks have none and give the mean of their regions. with_head: it
    is what the network's own pooling head makes of all regions, as SigLIP has it.

    A masked autoencoder, which hides most of a picture at random, is shown all of it.
    """

    def __init__(self, model: nn.Module, *, with_head: bool = False) -> None:
        super().__init__(model)
        self.with_head = with_head
        config: Any = getattr(model, "config", None)
        self.hides_patches = has_masks(vars(config)) if config is not None else False
        if self.hides_patches:
            config.mask_ratio = 0.0

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(pixels, **self._order(pixels))
        states = output if isinstance(output, Tensor) else output.last_hidden_state
        if states.ndim == 4:  # (B, D, H, W)
            regions = states.flatten(2).transpose(1, 2)
            return regions, regions.mean(dim=1)
        return states, output.pooler_output if self.with_head else states[:, 0]

    def _order(self, pixels: Tensor) -> dict[str, Tensor]:
        """What a masked autoencoder sorts patches by, for it to leave them as they are."""
        if not self.hides_patches:
            return {}
        network: Any = self.model
        patches = network.embeddings.patch_embeddings.num_patches
        rank = torch.arange(patches, dtype=pixels.dtype, device=pixels.device)
        return {"noise": rank.expand(len(pixels), -1)}


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
    folder: Path,
    layers: int | None,
    read_layers: int = 1,
    trial: Callable[[], TextTrial] = TextTrial,
    *,
    pretrained: bool = True,
) -> TextBackbone:
    """The text model of a checkpoint folder; of one that also writes texts, what reads them.

    layers: how many are kept, None: all. read_layers: of how many, the last, a token has states.
    trial: asked, once it is known to read texts, what it is tried for.
    Raises: EncoderError: it reads no text, or has fewer layers than are kept or read, or what it
        gives is random, no number or the same for any text.
    """
    where = "encoders.text.name"
    model = load_model(folder, where, pretrained=pretrained)
    part = dual_part(model, "text_model")
    network = part if part is not None else model
    if part is None and (_reads_pixels(model) or _reads_both(model)):
        raise wrong_modality(where, "text alone" if _reads_both(model) else "text", model)
    keep_layers(network, layers, "encoders.text.layers")
    if read_layers > 1:
        _refuse_too_few(network, layers, read_layers)
    backbone = TextBackbone(network, pooled_output=part is not None, read_layers=read_layers).eval()
    if is_builtin(folder):
        return backbone
    chosen = trial()
    if fills_positions(getattr(network.config, "model_type", "")):
        backbone.filler = chosen.padding
    backbone = _with_habits(backbone, chosen)
    if pretrained:
        if not backbone.pooled_output:
            refuse_without_class_token(backbone.model, chosen)
        with trying(backbone):
            refuse_meaningless_texts(backbone, backbone.model, chosen)
    return backbone


def _with_habits(backbone: TextBackbone, trial: TextTrial) -> TextBackbone:
    """The backbone, or its encoder alone where a decoder waits for a text of its own."""
    network: Any = backbone.model
    writes = bool(getattr(network.config, "is_encoder_decoder", False))
    if backbone.is_without_memory and not writes:
        return backbone  # it cannot be tried out, and is not read
    try:
        backbone.learn_habits(trial)
    except EncoderError as error:
        if not writes:
            raise
        if backbone.is_without_memory and "meta" in error.found:
            return backbone  # it failed for having no numbers, not for having no second text
        backbone = TextBackbone(network.get_encoder(), read_layers=backbone.read_layers).eval()
        if not backbone.is_without_memory:
            backbone.learn_habits(trial)
    return backbone


def load_image_backbone(
    folder: Path | None,
    layers: int | None,
    pooling: Pooling,
    size_px: Callable[[], tuple[int, int]] | None = None,
    *,
    pretrained: bool = True,
) -> ImageBackbone:
    """The vision model of a checkpoint folder, the built-in one for None.

    size_px: asked, once it is known to read pictures, for height and width of those that pretrained
        weights are tried on; None: as the checkpoint's image processor makes them.
    Raises: EncoderError: it reads no pictures, or lacks the layers or the class token asked for,
        or what it gives is random, no number or the same for any picture.
    """
    where = "encoders.image.name"
    if folder is None:
        _refuse_transformer_settings(layers, pooling)
        return ImageBackbone(load_efficientnet(pretrained=pretrained)).eval()
    model = load_model(folder, where, pretrained=pretrained)
    part = dual_part(model, "vision_model")
    network = part if part is not None else model
    if part is None and (not _reads_pixels(model) or _reads_both(model)):
        raise wrong_modality(where, "pictures alone" if _reads_both(model) else "pictures", model)
    keep_layers(network, layers, "encoders.image.layers")
    if not hasattr(network.config, "patch_size"):
        _refuse_transformer_settings(None, pooling)
    with_head = pooling == "cls" and bool(getattr(network, "use_head", False))
    backbone = ImageBackbone(network, with_head=with_head).eval()
    if pretrained:
        tried = picture_policy(folder).size_px if size_px is None else size_px()
        with trying(backbone):
            refuse_meaningless_pictures(backbone, backbone.model, tried, pooling)
    return backbone


def refuse_fewer_states(backbone: TextBackbone) -> None:
    """Refuse a network whose states are not one a token, where the model reads both.

    Raises: EncoderError.
    """
    if backbone.habits is not None and backbone.habits.compresses:
        raise EncoderError(
            "encoders.text.trainable",
            "a network that gives a state for each token, to be trained",
            f"'{type(backbone.model).__name__}', which gives fewer",
            "Set it to false, or name another checkpoint.",
        )


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
