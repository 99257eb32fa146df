"""The device that models run on."""

import torch

from postsense.config import TrainingSettings


def pick_device(settings: TrainingSettings) -> torch.device:
    """The GPU if there is one and the settings allow it, else the CPU."""
    gpu = settings.device == "auto" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")
