"""All settings of a run, and which of them fit together."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, model_validator

from postsense.config.corpus import CommentSettings, RetrievalSettings
from postsense.config.data import DataSettings
from postsense.config.encoders import EncoderSettings
from postsense.config.fields import unread_settings
from postsense.config.model import JOINT, FusionSettings, LossSettings
from postsense.config.section import ReadWhere, Section
from postsense.config.training import ClusteringSettings, SelfTrainingSettings, TrainingSettings

MethodName = Literal["supervised", "self_training", "two_step_contrastive", "cluster_pseudo_labels"]

READ_LAYERS = 4  # of the text encoder, by 'cross_modal'
UNREAD_ALLOWED: Final = {"unread": "allowed"}
"""Context of a validation that does not refuse what is set and not read."""

_CORPUS = ReadWhere(
    "a corpus", lambda config: config.retrieval.corpus is not None, ("retrieval.corpus",)
)
_SELF_TRAINING = ReadWhere(
    "method=self_training", lambda config: config.method == "self_training", ("method",)
)
_CLUSTERS = ReadWhere(
    "method=cluster_pseudo_labels", lambda config: not config.learns_from_labels, ("method",)
)


class Config(Section):
    """All settings of a run."""

    method: MethodName = "supervised"
    seed: int = Field(0, ge=0, lt=2**63, description="start of every random choice")
    data: DataSettings = DataSettings()
    encoders: EncoderSettings = EncoderSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    comments: Annotated[CommentSettings, _CORPUS] = CommentSettings()
    fusion: FusionSettings = FusionSettings()
    losses: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    self_training: Annotated[SelfTrainingSettings, _SELF_TRAINING] = SelfTrainingSettings()
    clustering: Annotated[ClusteringSettings, _CLUSTERS] = ClusteringSettings()

    @property
    def learns_from_labels(self) -> bool:
        """Whether the method learns from the labels of train."""
        return self.method != "cluster_pseudo_labels"

    @property
    def lends_comments(self) -> bool:
        """Whether there is a corpus to take hint comments from, and some are read."""
        return self.retrieval.corpus is not None and self.comments.count > 0

    @property
    def asks_corpus(self) -> bool:
        """Whether similar posts are looked for in a corpus, for comments or to learn from."""
        return self.lends_comments or (
            self.retrieval.corpus is not None and self.method == "self_training"
        )

    @property
    def reads_regions(self) -> bool:
        """Whether pictures are read as region features that the table names."""
        return self.fusion.reads_image and self.encoders.image.name == "regions"

    @property
    def trains_encoder(self) -> bool:
        """Whether a pretrained encoder that is read trains; new networks are none."""
        words = self.encoders.text
        text = self.fusion.reads_text and words.trainable and words.network == "transformer"
        return text or (self.fusion.reads_image and self.encoders.image.trainable)

    @property
    def reads_words_as_tokens(self) -> bool:
        """Whether texts have a length, rather than being a vector each."""
        inside = self.encoders.text.runs_inside or self.fusion.reads_sequences
        return self.fusion.reads_text and inside

    @property
    def reads_text_vector(self) -> bool:
        """Whether one vector of a text is read, or kept as what a frozen encoder says of it."""
        if not self.encoders.text.runs_inside or self.fusion.reads_text_vector:
            return True
        apart = self.lends_comments or not self.learns_from_labels
        return apart and not self.fusion.encodes_jointly

    @property
    def reads_image_vector(self) -> bool:
        """Whether one vector of a picture is read, or kept as what a frozen encoder says of it."""
        image, fusion = self.encoders.image, self.fusion.name
        if self.reads_regions or fusion == "vilt":
            return False
        if not image.runs_inside or self.fusion.reads_image_vector or not self.learns_from_labels:
            return True
        asked = fusion == "cross_attention" and self.lends_comments
        return asked or (self.losses.aligns and fusion != "cross_modal")

    @model_validator(mode="before")
    @classmethod
    def _reads_layers(cls, values: Any) -> Any:
        """'cross_modal' reads the last four layers where nothing else is said."""
        if not isinstance(values, Mapping):
            return values
        fusion, encoders = values.get("fusion") or {}, values.get("encoders") or {}
        if not isinstance(fusion, Mapping) or not isinstance(encoders, Mapping):
            return values
        text = encoders.get("text") or {}
        if fusion.get("name") != "cross_modal" or not isinstance(text, Mapping):
            return values
        if "read_layers" in text or text.get("network", "transformer") != "transformer":
            return values
        layers = text.get("layers") or READ_LAYERS
        read = min(layers, READ_LAYERS) if isinstance(layers, int) else READ_LAYERS
        return {**values, "encoders": {**encoders, "text": {**text, "read_layers": read}}}

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        corpus, words = self.retrieval.corpus, self.fusion.name != "image_only"
        if corpus is not None and self.comments.count > 0 and not words:
            raise ValueError(
                "comments are words, which 'image_only' does not read: comments.count=0"
            )
        self._refuse_unfit_losses()
        self._refuse_unfit_encoders()
        self._refuse_unfit_fusion()
        return self

    @model_validator(mode="after")
    def _is_read(self, info: ValidationInfo) -> "Config":
        unread = {} if info.context == UNREAD_ALLOWED else unread_settings(self)
        if unread:
            raise ValueError("; ".join(unread.values()))
        return self

    def _refuse_unfit_losses(self) -> None:
        losses, batch_size = self.losses, self.training.batch_size
        compared = losses.aligns or losses.itm > 0
        if compared and self.fusion.name in ("text_only", "image_only"):
            raise ValueError(
                "losses.itc, itm, intra_text, intra_image and inter_modal need a fusion that reads"
                " text and picture"
            )
        if (compared or self.fusion.name == "cross_modal") and batch_size < 2:
            raise ValueError(
                "losses that compare posts, and 'cross_modal', need training.batch_size >= 2"
            )
        second = losses.inter_modal > 0 and losses.inter_step == "second"
        if self.method == "two_step_contrastive" and not second:
            raise ValueError(
                "method 'two_step_contrastive' needs losses.inter_modal above 0 and"
                " losses.inter_step=second"
            )
        if self.method == "cluster_pseudo_labels" and (compared or losses.class_weights != "none"):
            raise ValueError(
                "method 'cluster_pseudo_labels' has no labels to contrast or weigh:"
                " losses of classification alone"
            )

    def _refuse_unfit_fusion(self) -> None:
        text, fusion, cross_modal = (
            self.encoders.text,
            self.fusion,
            self.fusion.name == "cross_modal",
        )
        if fusion.hidden == 0 and fusion.name not in ("concat", "text_only", "image_only"):
            raise ValueError(f"fusion '{fusion.name}' needs fusion.hidden >= 1")
        if fusion.hidden == 0 and self.retrieval.corpus is not None and self.comments.count > 0:
            raise ValueError("hint comments need fusion.hidden >= 1")
        if cross_modal and self.encoders.projection is not None:
            raise ValueError(
                "fusion 'cross_modal' has projections of its own: no encoders.projection"
            )
        if text.read_layers > 1 and not cross_modal:
            raise ValueError("encoders.text.read_layers above 1 needs fusion 'cross_modal'")
        if text.read_layers > 1 and text.network != "transformer":
            raise ValueError("encoders.text.read_layers above 1 needs network=transformer")
        if self.method == "cluster_pseudo_labels" and fusion.name in JOINT:
            raise ValueError(
                f"method 'cluster_pseudo_labels' clusters what words and picture give apart, and"
                f" '{fusion.name}' encodes them together"
            )

    def _refuse_unfit_encoders(self) -> None:
        text, image, fusion = self.encoders.text, self.encoders.image, self.fusion.name
        if fusion in JOINT:
            if not text.trainable:
                raise ValueError(f"fusion '{fusion}' needs encoders.text.trainable=true")
            if self.encoders.projection is not None:
                raise ValueError(f"fusion '{fusion}' has layers of its own: no encoders.projection")
            if text.network != "transformer":
                raise ValueError(f"fusion '{fusion}' needs encoders.text.network=transformer")
        if fusion == "vilt" and (not image.trainable or image.name != text.name):
            raise ValueError(
                "fusion 'vilt' is one model: encoders.image.trainable=true and the same name"
                " under encoders.text and encoders.image"
            )
        if fusion == "vilt" and (image.layers is not None or image.frozen_layers > 0):
            raise ValueError(
                "fusion 'vilt' is one model: set layers and frozen_layers under encoders.text"
            )
        if self.training.gradient_checkpointing and not (text.trainable or image.trainable):
            raise ValueError("training.gradient_checkpointing needs an encoder that trains")
        if fusion == "lxmert" and image.trainable:
            raise ValueError("fusion 'lxmert' reads frozen regions: encoders.image.trainable=false")
        if image.name == "regions" and image.trainable:
            raise ValueError("encoders.image 'regions' are kept features: trainable=false")
        if image.name == "regions" and self.method == "self_training":
            raise ValueError("self_training reads pictures of the corpus, which has no 'regions'")
        for part, settings in (("text", text), ("image", image)):
            if settings.frozen_layers > 0 and not settings.trainable:
                raise ValueError(
                    f"encoders.{part}.frozen_layers needs encoders.{part}.trainable=true"
                )
        for part, fidelity in (("text", text.fidelity), ("image", image.fidelity)):
            unfit = fusion in JOINT or (part == "image" and image.name == "regions")
            if fidelity == "released" and (unfit or getattr(self.encoders, part).trainable):
                raise ValueError(f"encoders.{part}.fidelity=released is for frozen checkpoints")
        if text.network != "transformer" and not text.trainable:
            raise ValueError(f"encoders.text.network '{text.network}' is new: trainable=true")
