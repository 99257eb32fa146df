"""Method `supervised`: labelled posts and every loss the settings name, in one step."""

from pathlib import Path

from postsense.config import Config
from postsense.progress import Progress, silent
from postsense.training.labeled import TrainingData, labeled_phase, new_model
from postsense.training.loop import run_phase
from postsense.training.trained import Trained


def train_supervised(
    data: TrainingData, config: Config, folder: Path, progress: Progress = silent
) -> Trained:
    """Train one classifier from one seed; checkpoints go to folder."""
    phase, model = labeled_phase("train", data, config), new_model(data, config)
    return Trained(model, run_phase(phase, model, folder, progress))
