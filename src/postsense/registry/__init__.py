"""What there is of each kind, and what each one says of itself; nothing here needs torch.

Another fusion, loss, method or encoder of words is an entry of its table, here or, from outside,
by `register`: FUSIONS.register(Fusion("gated", "my_package.gated:build", ...)).
"""

from postsense.registry.encoders import IMAGE_ENCODERS, WORD_NETWORKS, ImageEncoderKind, WordNetwork
from postsense.registry.fusions import FUSIONS, Fusion
from postsense.registry.inputs import INPUTS, Input
from postsense.registry.losses import LOSSES, Loss
from postsense.registry.methods import METHODS, Method
from postsense.registry.table import Registry, load_object

__all__ = [
    "FUSIONS",
    "IMAGE_ENCODERS",
    "INPUTS",
    "LOSSES",
    "METHODS",
    "WORD_NETWORKS",
    "Fusion",
    "ImageEncoderKind",
    "Input",
    "Loss",
    "Method",
    "Registry",
    "WordNetwork",
    "load_object",
]
