"""What a method returns: the model it keeps, and how it came by it."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from postsense.config import Config
from postsense.model.post_model import PostModel
from postsense.training.checkpoint import PhaseState
from postsense.training.unseen import Unseen


@dataclass(frozen=True)
class Trained:
    """The model that is kept, the state of the phase it comes from, and what else is reported.

    report: JSON, beside the phase's own numbers. pseudo_labels: one row each, None without any.
    config: the settings that describe the model, where training has found some of them out.
    unseen: what was said of posts of folds before they were learned from; None without folds.
    """

    model: PostModel
    state: PhaseState
    report: dict[str, Any] = field(default_factory=dict)
    pseudo_labels: pa.Table | None = None
    config: Config | None = None
    unseen: Unseen | None = None
