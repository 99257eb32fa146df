"""Networks that read words and picture together: ViLT and LXMERT, and how words enter them."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from postsense.encoders.backbone import Backbone
from postsense.encoders.pretrained import keep_layers, load_model
from postsense.errors import EncoderError

JointKind = Literal["vilt", "lxmert"]
_EXAMPLES = {"vilt": "dandelin/vilt-b32-mlm", "lxmert": "unc-nlp/lxmert-base-uncased"}


class JointBackbone(Backbone):
    """A ViLT or LXMERT model. It is fed by the fusion of that name, which knows its inputs."""

    @property
    def dim(self) -> int:
        """D, the width of a token."""
        config: Any = self.model.config
        return int(config.hidden_size)


def load_joint_backbone(
    folder: Path, kind: JointKind, layers: int | None, *, pretrained: bool = True
) -> JointBackbone:
    """The joint model of a checkpoint folder, in eval mode; heads of its pretraining are left out.

    Raises: EncoderError: another architecture than kind, weights missing, fewer layers than asked
        for, or any number of layers of an LXMERT, which has three stacks of them.
    """
    where = "encoders.text.layers"
    model = load_model(folder, "encoders.text.name", pretrained=pretrained)
    config: Any = model.config
    if config.model_type != kind:
        raise _other_architecture(kind, model)
    if kind == "lxmert" and layers is not None:
        raise EncoderError(
            where,
            "no number of layers for fusion 'lxmert', whose three stacks are read as they are",
            str(layers),
            "Leave it unset.",
        )
    keep_layers(model, layers, where)
    return JointBackbone(model).eval()


def _other_architecture(kind: JointKind, model: nn.Module) -> EncoderError:
    return EncoderError(
        "encoders.text.name",
        f"for fusion '{kind}' a checkpoint of that architecture, such as '{_EXAMPLES[kind]}'",
        f"'{type(model).__name__}'",
        "Name another checkpoint, or choose another fusion.name.",
    )


def embedded_words(
    model: nn.Module, ids: Tensor, mask: Tensor, missing: Tensor
) -> tuple[Tensor, Tensor]:
    """What the network reads in place of token ids, and which places of it are there.

    A text without words becomes one learned vector in the place of the class token, so that
    attention always has something to look at.

    Args:
        ids: (B, T) int64, the class token first. mask: (B, T) bool, all False: no text.
        missing: (E,) float, the learned vector.
    Returns: (B, T, E) word embeddings, without positions; (B, T) bool.
    """
    network: Any = model
    read = mask.clone()
    read[:, 0] = True
    written = mask.any(dim=1)[:, None, None]
    return torch.where(written, network.get_input_embeddings()(ids), missing), read
