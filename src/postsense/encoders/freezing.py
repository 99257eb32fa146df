"""Freeze the first layers of a pretrained network, so that only those above them train."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from postsense.encoders.backbone import Backbone
from postsense.errors import EncoderError


def freeze_layers(backbone: Backbone, count: int, where: str) -> None:
    """Stop the first layers of a network, and all that is below them, from training, in place.

    Layers are those of a transformer, the stages of a ResNet or the blocks of an EfficientNet.
    Below them are embeddings of every kind and whatever is made before the layers; above them,
    a last norm or a pooler, trains on. Frozen parts have no gradient and stay in eval mode.

    Args:
        count: layers that do not train; 0: all train.
        where: the setting that says so.
    Raises: EncoderError: there are fewer layers, or more than one stack of them.
    """
    if count == 0:
        return
    *parents, layers = _path_to_layers(backbone.model, where)
    assert isinstance(layers, nn.ModuleList)
    if count > len(layers):
        raise EncoderError(
            where,
            f"at most {len(layers)}, the layers of the encoder",
            str(count),
            f"Set {where}={len(layers)} or less.",
        )
    frozen = [*_below(parents, layers), *list(layers)[:count]]
    for parent in parents:
        for weight in parent.parameters(recurse=False):
            weight.requires_grad_(False)
    for part in frozen:
        part.requires_grad_(False)
    backbone.frozen = tuple(frozen)
    backbone.train(backbone.training)


def _path_to_layers(model: nn.Module, where: str) -> tuple[nn.Module, ...]:
    """The modules from the model down to its one list of layers, both included."""
    paths = list(_paths_to_lists(model))
    if len(paths) != 1:
        raise EncoderError(
            where,
            "a network with one stack of layers",
            f"'{type(model).__name__}' with {len(paths)}",
            "Leave it at 0 for this encoder.",
        )
    return paths[0]


def _paths_to_lists(
    module: nn.Module, above: tuple[nn.Module, ...] = ()
) -> Iterator[tuple[nn.Module, ...]]:
    """The paths to module lists that are inside no other: their elements follow one another."""
    path = (*above, module)
    if isinstance(module, nn.ModuleList):
        yield path
        return
    for child in module.children():
        yield from _paths_to_lists(child, path)


def _below(parents: list[nn.Module], layers: nn.Module) -> Iterator[nn.Module]:
    """What is registered before the layers on the way to them, and embeddings after them too."""
    for parent, step in pairwise([*parents, layers]):
        children = list(parent.children())
        place = next(number for number, child in enumerate(children) if child is step)
        yield from children[:place]
        for child in children[place + 1 :]:  # tables of relative positions, which all layers read
            yield from (part for part in child.modules() if isinstance(part, nn.Embedding))
