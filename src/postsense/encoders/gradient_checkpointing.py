"""Gradient checkpointing: keep the inputs of layers and compute the rest of them twice."""

from typing import Any

from postsense.encoders.backbone import Backbone, EncoderNetwork
from postsense.errors import EncoderError


def checkpoint_gradients(network: EncoderNetwork) -> None:
    """Have a transformer compute its trained layers again for the backward pass, in place.

    Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
    Frozen layers keep nothing as it is. Gradients are the same.
    Raises: EncoderError: the network cannot.
    """
    model: Any = network.model if isinstance(network, Backbone) else network
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise EncoderError(
            "training.gradient_checkpointing",
            "trained encoders that can compute their layers twice",
            f"'{type(model).__name__}', which cannot",
            "Set it to false.",
        )
    # transformers renamed it in the middle of version 5
    name = "activation_checkpointing_enable"
    enable = getattr(model, name, None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    if model.main_input_name == "input_ids":
        model.disable_input_require_grads()  # a gradient that would reach through frozen layers
