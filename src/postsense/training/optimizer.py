"""AdamW with one peak rate for pretrained encoders and one for the rest, and their schedule."""

import math

import torch
from torch import nn

from postsense.config import TrainingSettings
from postsense.encoders.backbone import Backbone
from postsense.model.post_model import PostModel


def build_optimizer(model: PostModel, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW over all parameters that train; biases, norms and missing vectors do not decay.

    Each group holds its peak rate as `peak_lr`; the loop sets `lr` before every step.
    """
    encoders = [part for part in model.modules() if isinstance(part, Backbone)]
    inside = {id(weight) for network in encoders for weight in network.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for weight in model.parameters():
        if weight.requires_grad:
            rate = (
                settings.encoder_learning_rate if id(weight) in inside else settings.learning_rate
            )
            decay = settings.weight_decay if weight.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(weight)
    return torch.optim.AdamW(
        [
            {"params": weights, "lr": rate, "peak_lr": rate, "weight_decay": decay}
            for (rate, decay), weights in groups.items()
        ],
        fused=True,  # one call for all weights, on a CPU as on a GPU
    )


def learning_rate_factor(settings: TrainingSettings, step: int, total: int) -> float:
    """The share of the peak rate at a step, in (0, 1]: linear warm-up, then the schedule.

    step: 0 for the first. total: steps of all epochs.
    """
    warmup = round(settings.warmup_fraction * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, total - warmup)
    if settings.schedule == "linear":
        return 1.0 - done
    if settings.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    if settings.schedule == "step":
        epoch = settings.epochs * step // total
        return settings.step_factor ** (epoch // settings.step_epochs)
    return 1.0
