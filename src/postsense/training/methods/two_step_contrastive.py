"""Method `two_step_contrastive`: labels and contrast within, then, where needed, across modalities.

Source: Wu & Li 2026, "SPP-SCL: Semi-Push-Pull Supervised Contrastive Learning for Image-Text
Sentiment Analysis and Beyond", AAAI, arXiv 2602.20767, algorithm 1 and eq. 7; the steps are those
of the released code, in which they alternate from batch to batch.
    for each batch:
        update by lambda * CE + L_cli + L_clt
        if the gate finds words and pictures inconsistent, on a fresh pass over the batch:
            update by L_clm, with the same optimizer
Deviation: the gate (see `losses.gate`); the pass of the second step ends at the vectors that are
compared, so that statistics of the layers behind them move once a batch; the best epoch on val is
kept, where the authors save every fifth and choose by hand. In one step: method `supervised` with
the same losses.
"""

from pathlib import Path

from postsense.config import Config
from postsense.progress import Progress, silent
from postsense.training.labeled import TrainingData
from postsense.training.methods.supervised import train_supervised
from postsense.training.trained import Trained


def train_two_step_contrastive(
    data: TrainingData, config: Config, folder: Path, progress: Progress = silent
) -> Trained:
    """Train one classifier from one seed; the report says how often the second step was taken.

    The settings ask for the second step (`losses.inter_step`), as they may in other methods.
    """
    trained = train_supervised(data, config, folder, progress)
    shares = [epoch["train_second_steps"] for epoch in trained.state.history]
    trained.report["second_steps"] = sum(shares) / len(shares)
    return trained
