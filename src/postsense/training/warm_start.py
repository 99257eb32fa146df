"""Weights of an earlier run → the start of a new model."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from postsense.errors import RunError
from postsense.model.post_model import PostModel
from postsense.registry.inputs import INPUTS
from postsense.training.checkpoint import Tensors

_HEADS = ("head.", "match_head.")
_OF_FEATURES = ("mean", "deviation", "token_mean", "token_deviation")  # of a branch


def start_from(model: PostModel, folder: Path, seed: int) -> None:
    """Copy in place every weight that both models have, of one name and shape, but for the heads.

    Running statistics of batch normalisation belong to the weights. Vectors for what a post lacks
    come along, but alone are nothing to start from.

    folder: a model folder, or a run: there the model of the same seed, else of its first seed.
    Statistics of features stay those of the new posts.
    Raises: RunError: no model there, a damaged one, or one that shares no weight.
    """
    found = _weights(_model_folder(folder, seed))
    own: Tensors = model.state_dict(keep_vars=True)
    shared = {name: weight for name, weight in own.items() if _fits(name, weight, found)}
    weights = {name for name, _ in model.named_parameters() if not name.endswith(".missing")}
    if weights.isdisjoint(shared):
        raise RunError(
            folder,
            "a model with weights that this one has too, beside the head",
            "none of equal name and shape",
            "Set the encoders and the fusion as they were there.",
        )
    with torch.no_grad():
        for name, weight in shared.items():
            weight.copy_(found[name])


def _fits(name: str, weight: Tensor, found: Tensors) -> bool:
    branch, _, rest = name.removeprefix("blocks.").partition(".")
    known = ("text", "image", *INPUTS)
    if name.startswith(_HEADS) or (branch in known and rest in _OF_FEATURES):
        return False
    return name in found and found[name].shape == weight.shape


def _model_folder(folder: Path, seed: int) -> Path:
    if (folder / "model.json").is_file():
        return folder
    models = {
        file.parent.parent.name: file.parent for file in folder.glob("seed-*/model/model.json")
    }
    first = min(models, key=lambda name: int(name.removeprefix("seed-")), default=None)
    chosen = models.get(f"seed-{seed}") or (None if first is None else models[first])
    if chosen is None:
        found = "no model in it" if folder.is_dir() else "no such folder"
        raise RunError(folder, "a run or model folder", found, "Set training.start_from to one.")
    return chosen


def _weights(folder: Path) -> Tensors:
    file = folder / "weights.safetensors"
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        fix = "Train that run again, or copy its folder again."
        raise RunError(file, "the weights of a model", str(error), fix) from None
