"""Settings of the optimisation and of each method."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from postsense.config.section import OF_MACHINE, SAME_RESULT, ReadWhere, Section

MetricName = Literal["accuracy", "macro_f1", "weighted_f1", "loss"]


_STEPS = ReadWhere(
    "training.schedule=step",
    lambda config: config.training.schedule == "step",
    ("training.schedule",),
)
_ENCODER = ReadWhere(
    "a pretrained encoder that trains",
    lambda config: config.trains_encoder,
    ("encoders.text.trainable", "encoders.text.network", "encoders.image.trainable", "fusion.name"),
)
_VALIDATED = ReadWhere(
    "a method that learns from labels",
    lambda config: config.declared_method.learns_from_labels,
    ("method",),
)
_LENGTHS = ReadWhere(
    "texts that are read as tokens: by an encoder in the model, or by a fusion of sequences",
    lambda config: config.reads_words_as_tokens,
    ("encoders.text.trainable", "fusion.name"),
)
_COMMENTS = ReadWhere(
    "comments.count above 0", lambda config: config.comments.count > 0, ("comments.count",)
)
_ADAPTIVE = ReadWhere(
    "self_training.weighting=adaptive",
    lambda config: config.self_training.weighting == "adaptive",
    ("self_training.weighting",),
)


class TrainingSettings(Section):
    epochs: int = Field(30, ge=1, description="passes over train at most")
    batch_size: int = Field(256, ge=1, description="posts a step (B)")
    learning_rate: float = Field(5e-4, gt=0, description="peak rate of fusion and head")
    encoder_learning_rate: Annotated[float, _ENCODER] = Field(
        2e-5, gt=0, description="peak rate of trained encoders"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW decay, not on biases and norms")
    warmup_fraction: float = Field(0.1, ge=0, le=1, description="share of steps that warm up")
    schedule: Literal["linear", "cosine", "constant", "step"] = Field(
        "linear", description="how the rate falls; 'step': times step_factor every step_epochs"
    )
    step_epochs: Annotated[int, _STEPS] = Field(10, ge=1, description="epochs of one rate ('step')")
    step_factor: Annotated[float, _STEPS] = Field(
        0.5, gt=0, le=1, description="what the rate is cut to ('step')"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="global norm above which gradients shrink")
    select_by: Annotated[MetricName, _VALIDATED] = Field(
        "loss", description="validation metric of the kept checkpoint"
    )
    patience: Annotated[int, _VALIDATED] = Field(
        5, ge=0, description="epochs in a row without a better metric that are borne"
    )
    mixed_precision: Literal["auto", "no", "bf16"] = Field(
        "auto", description="auto: bf16 on a GPU that has it"
    )
    gradient_checkpointing: bool = Field(
        False,
        description="compute trained transformers twice, to keep less of them in memory",
        json_schema_extra=SAME_RESULT,
    )
    start_from: Path | None = Field(
        None,
        description="run or model folder whose weights training starts from, but for the head",
        json_schema_extra={"of_machine": True},
    )
    device: Literal["auto", "cpu"] = Field(
        "auto",
        description="'auto': the GPU if there is one",
        json_schema_extra=OF_MACHINE,
    )
    length_pool: Annotated[int | None, _LENGTHS] = Field(
        None,
        ge=0,
        description="batches whose posts are sorted together by the length of their texts, so that"
        " little is padded; 0: none. Left out: 64 if the text encoder runs in the model, else 0",
    )
    workers: int = Field(
        0,
        ge=0,
        le=1024,
        description="processes that load batches; never changes a result",
        json_schema_extra=OF_MACHINE | SAME_RESULT,
    )


class RegressionSettings(Section):
    penalty: float | None = Field(
        None,
        gt=0,
        description="L2 penalty on the mean loss (lambda); none: folds of train choose it",
    )


class RidgeSettings(Section):
    penalty: float | None = Field(
        None, gt=0, description="what is added to the kernel's diagonal; none: folds choose it"
    )
    points: int = Field(
        4000, ge=2, le=50_000, description="posts of train that a post is compared with, at most"
    )


class SelfTrainingSettings(Section):
    rounds: int = Field(3, ge=1, description="students trained one after the other (T)")
    neighbors: int = Field(3, ge=1, description="similar posts of a labelled post (K)")
    weight: float = Field(1.0, ge=0, description="weight of the divergence from the teacher")
    comment_dropout: Annotated[float, _COMMENTS] = Field(
        0.5, ge=0, lt=1, description="probability that a student misses a comment"
    )
    weighting: Literal["none", "confidence", "adaptive"] = Field(
        "confidence",
        description="how much a pseudo-label counts: 1, its certainty, or 0/1 by class",
    )
    threshold: Annotated[float, _ADAPTIVE] = Field(
        0.7, ge=0, le=1, description="confidence asked of the surest class ('adaptive', tau)"
    )


class ClusteringSettings(Section):
    clusters: int = Field(2, ge=2, description="clusters of posts (k)")
    algorithm: Literal["kmeans", "gmm"] = Field(
        "kmeans", description="k-means, or a Gaussian mixture with one covariance for all clusters"
    )
    restarts: int = Field(10, ge=1, description="starts of the clustering; the best is kept")
    scaling: Literal["equal", "none"] = Field(
        "equal", description="'equal': words and picture count alike in distances"
    )
    subset: int = Field(5000, ge=2, description="posts that are clustered and learned from at once")
    sampling: Literal["under", "over", "combination", "random"] = Field(
        "combination",
        description="posts a cluster lends: those of the smallest, the largest or the mean cluster,"
        " or all it has",
    )
    mapping: Literal["dev", "test_oracle"] = Field(
        "dev", description="labelled posts that name the clusters; 'test_oracle' flatters the test"
    )
