"""Every setting, typed and described once: a module for each part, all of it found here."""

from postsense.config.blocks import BlockSettings
from postsense.config.corpus import CommentSettings, CorpusSettings, RetrievalSettings
from postsense.config.data import UNREAD_IN_PREDICT, Columns, DataSettings
from postsense.config.encoders import (
    EncoderSettings,
    ImageEncoderSettings,
    Pooling,
    TextEncoderSettings,
)
from postsense.config.model import FusionSettings, LossSettings
from postsense.config.run import Config
from postsense.config.training import (
    ClusteringSettings,
    MetricName,
    SelfTrainingSettings,
    TrainingSettings,
)

__all__ = [
    "UNREAD_IN_PREDICT",
    "BlockSettings",
    "ClusteringSettings",
    "Columns",
    "CommentSettings",
    "Config",
    "CorpusSettings",
    "DataSettings",
    "EncoderSettings",
    "FusionSettings",
    "ImageEncoderSettings",
    "LossSettings",
    "MetricName",
    "Pooling",
    "RetrievalSettings",
    "SelfTrainingSettings",
    "TextEncoderSettings",
    "TrainingSettings",
]
