"""All settings of a run, and which of them fit together."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field, ValidationInfo, model_validator

from postsense.config.blocks import BlockSettings
from postsense.config.corpus import CommentSettings, RetrievalSettings
from postsense.config.data import DataSettings
from postsense.config.encoders import EncoderSettings
from postsense.config.ensemble import EnsembleSettings
from postsense.config.fields import unread_settings
from postsense.config.model import FusionSettings, LossSettings
from postsense.config.section import ITERATES, NameIn, ReadWhere, Section
from postsense.config.training import (
    ClusteringSettings,
    RegressionSettings,
    RidgeSettings,
    SelfTrainingSettings,
    TrainingSettings,
)
from postsense.registry.encoders import WORD_NETWORKS
from postsense.registry.fusions import FUSIONS
from postsense.registry.inputs import INPUTS
from postsense.registry.methods import METHODS, Method

UNREAD_ALLOWED: Final = {"unread": "allowed"}
"""Context of a validation that does not refuse what is set and not read."""

_SELF_TRAINING = ReadWhere(
    "method=self_training", lambda config: config.declared_method.learns_from_corpus, ("method",)
)
_CLUSTERS = ReadWhere(
    "method=cluster_pseudo_labels",
    lambda config: not config.declared_method.learns_from_labels,
    ("method",),
)


def _method_is(name: str) -> ReadWhere:
    """Where the settings of a method are read that no other has."""
    return ReadWhere(f"method={name}", lambda config: config.method == name, ("method",))


class Config(Section):
    """All settings of a run."""

    method: Annotated[str, NameIn(METHODS)] = "supervised"
    seed: int = Field(0, ge=0, lt=2**63, description="start of every random choice")
    data: DataSettings = DataSettings()
    encoders: EncoderSettings = EncoderSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    comments: CommentSettings = CommentSettings()
    blocks: BlockSettings = BlockSettings()
    fusion: FusionSettings = FusionSettings()
    losses: Annotated[LossSettings, ITERATES] = LossSettings()
    training: Annotated[TrainingSettings, ITERATES] = TrainingSettings()
    regression: Annotated[RegressionSettings, _method_is("regression")] = RegressionSettings()
    ridge: Annotated[RidgeSettings, _method_is("ridge")] = RidgeSettings()
    ensemble: Annotated[EnsembleSettings, _method_is("ensemble")] = EnsembleSettings()
    self_training: Annotated[SelfTrainingSettings, _SELF_TRAINING] = SelfTrainingSettings()
    clustering: Annotated[ClusteringSettings, _CLUSTERS] = ClusteringSettings()

    @property
    def declared_method(self) -> Method:
        """What the method says of itself."""
        return METHODS[self.method]

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is read of a post, in the order of the table of inputs."""
        fusion, columns = self.fusion.declared, self.data.columns.sources
        asked = {
            name
            for name in fusion.may_read
            if (name in columns if INPUTS[name].has_column else self.blocks.weight(name) > 0)
        }
        return tuple(name for name in INPUTS if name in fusion.reads or name in asked)

    @property
    def reads_words(self) -> bool:
        """Whether the model reads words."""
        return any(INPUTS[name].holds == "words" for name in self.inputs)

    def columns_read(self, *more: str) -> tuple[str, ...]:
        """Our names of the columns that the model reads, and of more that the caller does.

        Similar posts of a corpus are found by words and picture.
        """
        searched = ("text", "image") if self.retrieval.corpus is not None else ()
        kept = self.encoders.image.declared.column
        features = () if kept == "image" else (kept,)
        made_of = (INPUTS[name].column for name in self.inputs)
        own = ("comments",) if self.reads_own_comments else ()
        return tuple(dict.fromkeys((*searched, *made_of, *own, *features, *more)))

    @property
    def reads_comments(self) -> bool:
        """Whether the model attends to comments, the post's own or borrowed ones."""
        return self.borrows_comments or self.attends_own_comments

    @property
    def borrows_comments(self) -> bool:
        """Whether a corpus lends comments."""
        return self.retrieval.corpus is not None and self.comments.count > 0

    @property
    def attends_own_comments(self) -> bool:
        """Whether the model attends to a post's own comments."""
        return self.comments.own and self.comments.count > 0

    @property
    def reads_comment_blocks(self) -> bool:
        """Whether the model reads vectors made of a post's own comments."""
        return any(INPUTS[name].column == "comments" for name in self.inputs)

    @property
    def reads_own_comments(self) -> bool:
        """Whether the model reads a post's own comments, in one way or the other."""
        return self.attends_own_comments or self.reads_comment_blocks

    @property
    def reads_picture(self) -> bool:
        """Whether the model reads pictures, be it as features of their regions."""
        return "image" in self.inputs

    @property
    def reads_regions(self) -> bool:
        """Whether pictures are read as region features that the table names."""
        return self.reads_picture and not self.encoders.image.declared.trains

    @property
    def asks_corpus(self) -> bool:
        """Whether similar posts are looked for in a corpus, for comments or to learn from."""
        learns = self.declared_method.learns_from_corpus
        return self.retrieval.corpus is not None and (self.comments.count > 0 or learns)

    @property
    def trains_encoder(self) -> bool:
        """Whether a pretrained encoder that is read trains; new networks are none."""
        words = self.encoders.text
        text = self.reads_words and words.trainable and words.declared.pretrained
        return text or (self.reads_picture and self.encoders.image.trainable)

    @property
    def reads_words_as_tokens(self) -> bool:
        """Whether texts have a length, rather than being a vector each."""
        inside = self.encoders.text.runs_inside or self.fusion.declared.sequences
        return self.reads_words and inside

    @property
    def reads_text_vector(self) -> bool:
        """Whether one vector of a text is read, or kept as what a frozen encoder says of it."""
        fusion = self.fusion.declared
        if not self.encoders.text.runs_inside or "text" in fusion.vectors:
            return True
        apart = self.reads_comments or not self.declared_method.learns_from_labels
        return apart and not fusion.is_joint

    @property
    def reads_image_vector(self) -> bool:
        """Whether one vector of a picture is read, or kept as what a frozen encoder says of it."""
        fusion, inside = self.fusion.declared, self.encoders.image.runs_inside
        if self.reads_regions or fusion.is_one_model:
            return False
        clustered = not self.declared_method.learns_from_labels
        if not inside or "image" in fusion.vectors or clustered:
            return True
        asked = self.reads_comments and "image" in fusion.comment_vectors
        return asked or (self.losses.aligns and fusion.aligned != "own")

    @model_validator(mode="before")
    @classmethod
    def _reads_layers(cls, values: Any) -> Any:
        """A fusion reads as many of the last layers as it says where nothing else is said."""
        if not isinstance(values, Mapping):
            return values
        fusion, encoders = values.get("fusion") or {}, values.get("encoders") or {}
        if not isinstance(fusion, Mapping) or not isinstance(encoders, Mapping):
            return values
        name, text = fusion.get("name"), encoders.get("text") or {}
        wanted = FUSIONS[name].text_layers if isinstance(name, str) and name in FUSIONS else 1
        if wanted == 1 or not isinstance(text, Mapping) or "read_layers" in text:
            return values
        network = text.get("network", "transformer")
        if network not in WORD_NETWORKS or not WORD_NETWORKS[network].pretrained:
            return values
        layers = text.get("layers") or wanted
        read = min(layers, wanted) if isinstance(layers, int) else wanted
        return {**values, "encoders": {**encoders, "text": {**text, "read_layers": read}}}

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        self._refuse_unread_inputs()
        self._refuse_unfit_losses()
        self._refuse_unfit_method()
        self._refuse_unfit_encoders()
        self._refuse_unfit_fusion()
        return self

    @model_validator(mode="after")
    def _is_read(self, info: ValidationInfo) -> "Config":
        unread = {} if info.context == UNREAD_ALLOWED else unread_settings(self)
        if unread:
            raise ValueError("; ".join(unread.values()))
        return self

    def _refuse_unread_inputs(self) -> None:
        name, fusion = self.fusion.name, self.fusion.declared
        if self.borrows_comments and fusion.comments is None:
            raise ValueError(
                f"comments that retrieval.corpus lends are words, which '{name}' does not read:"
                " comments.count=0"
            )
        for column, one in INPUTS.items():
            if one.optional and column in self.data.columns.sources and column not in self.inputs:
                able = [other for other, known in FUSIONS.items() if column in known.may_read]
                raise ValueError(f"fusion '{name}' does not read data.columns.{column}; {able} do")

    def _refuse_unfit_losses(self) -> None:
        fusion, batch_size = self.fusion.declared, self.training.batch_size
        compared = self.losses.compares
        if compared and fusion.aligned is None:
            raise ValueError(
                "losses.itc, itm, intra_text, intra_image and inter_modal need a fusion that reads"
                " text and picture"
            )
        least = max(fusion.least_batch, 2 if compared else 1)
        if batch_size < least:
            needy = "".join(
                f", and '{name}'," for name, one in FUSIONS.items() if one.least_batch > 1
            )
            raise ValueError(
                f"losses that compare posts{needy} need training.batch_size >= {least}"
            )

    def _refuse_unfit_method(self) -> None:
        method = self.declared_method
        if method.second_step and not self.losses.has_second_step:
            raise ValueError(
                f"method '{method.name}' needs losses.inter_modal above 0 and"
                " losses.inter_step=second"
            )
        self._refuse_unfit_vectors(method)
        if method.learns_from_labels:
            return
        weighed = self.losses.class_weights != "none"
        if weighed or self.losses.compares:
            raise ValueError(
                f"method '{method.name}' has no labels to contrast or weigh:"
                " losses of classification alone"
            )
        if self.fusion.declared.is_joint:
            raise ValueError(
                f"method '{method.name}' clusters what words and picture give apart, and"
                f" '{self.fusion.name}' encodes them together"
            )

    def _refuse_unfit_vectors(self, method: Method) -> None:
        """Refuse to fit a head in one go to vectors that are to be trained."""
        if method.iterates:
            return
        if self.training.start_from is not None:
            raise ValueError(f"method '{method.name}' starts from nothing: no training.start_from")
        if method.combines and not self.fusion.declared.may_lack_layer:
            raise ValueError(
                f"method '{method.name}' has members with fusions of their own: fusion.name=concat,"
                " text_only or image_only says what is read"
            )
        if method.combines and self.trains_encoder:
            raise ValueError(
                f"method '{method.name}' trains no encoder itself: name a preset that does in"
                " ensemble.members"
            )
        if method.learner is None:
            return
        name = self.fusion.name
        if self.fusion.hidden > 0 or not self.fusion.declared.may_lack_layer:
            able = [name for name, fusion in FUSIONS.items() if fusion.may_lack_layer]
            raise ValueError(
                f"method '{method.name}' reads vectors side by side: fusion.hidden=0, and"
                f" fusion.name one of {able}, not '{name}'"
            )
        if self.trains_encoder or self.encoders.projection is not None:
            raise ValueError(
                f"method '{method.name}' trains nothing but its head:"
                " encoders.text.trainable=false, encoders.image.trainable=false and no"
                " encoders.projection"
            )
        if not self.inputs:
            raise ValueError(f"fusion '{name}' reads nothing: give a block a weight, blocks.NAME")

    def _refuse_unfit_fusion(self) -> None:
        text, fusion, name = self.encoders.text, self.fusion.declared, self.fusion.name
        if self.fusion.hidden == 0 and not fusion.may_lack_layer:
            raise ValueError(f"fusion '{name}' needs fusion.hidden >= 1")
        if self.fusion.hidden == 0 and self.reads_comments:
            raise ValueError(
                "hint comments, own or those that retrieval.corpus lends, need fusion.hidden >= 1:"
                " comments.count=0, comments.own=false"
            )
        if fusion.own_projection and self.encoders.projection is not None:
            raise ValueError(f"fusion '{name}' has projections of its own: no encoders.projection")
        if text.read_layers > 1 and fusion.text_layers == 1:
            able = next(other for other, known in FUSIONS.items() if known.text_layers > 1)
            raise ValueError(f"encoders.text.read_layers above 1 needs fusion '{able}'")
        if text.read_layers > 1 and not text.declared.pretrained:
            raise ValueError("encoders.text.read_layers above 1 needs network=transformer")

    def _refuse_unfit_encoders(self) -> None:
        text, image, fusion = self.encoders.text, self.encoders.image, self.fusion.declared
        self._refuse_unfit_joint_encoders()
        if self.training.gradient_checkpointing and not (text.trainable or image.trainable):
            raise ValueError("training.gradient_checkpointing needs an encoder that trains")
        if "image" in fusion.frozen and image.trainable:
            raise ValueError(
                f"fusion '{fusion.name}' reads frozen regions: encoders.image.trainable=false"
            )
        kind = image.declared
        if not kind.trains and image.trainable:
            raise ValueError(f"encoders.image '{kind.name}' are kept features: trainable=false")
        if not kind.in_corpus and self.declared_method.learns_from_corpus:
            raise ValueError(
                f"{self.method} reads pictures of the corpus, which has no '{kind.name}'"
            )
        for part, settings in (("text", text), ("image", image)):
            if settings.frozen_layers > 0 and not settings.trainable:
                raise ValueError(
                    f"encoders.{part}.frozen_layers needs encoders.{part}.trainable=true"
                )
            unfit = fusion.is_joint or (part == "image" and not kind.trains)
            if settings.fidelity == "released" and (unfit or settings.trainable):
                raise ValueError(f"encoders.{part}.fidelity=released is for frozen checkpoints")
        if not text.declared.pretrained and not text.trainable:
            raise ValueError(f"encoders.text.network '{text.network}' is new: trainable=true")

    def _refuse_unfit_joint_encoders(self) -> None:
        text, image, fusion = self.encoders.text, self.encoders.image, self.fusion.declared
        if fusion.is_joint and not text.trainable:
            raise ValueError(f"fusion '{fusion.name}' needs encoders.text.trainable=true")
        if fusion.is_joint and not text.declared.pretrained:
            raise ValueError(f"fusion '{fusion.name}' needs encoders.text.network=transformer")
        if not fusion.is_one_model:
            return
        if not image.trainable or image.name != text.name:
            raise ValueError(
                f"fusion '{fusion.name}' is one model: encoders.image.trainable=true and the same"
                " name under encoders.text and encoders.image"
            )
        if image.layers is not None or image.frozen_layers > 0:
            raise ValueError(
                f"fusion '{fusion.name}' is one model: set encoders.text.layers and frozen_layers,"
                " not encoders.image.layers and frozen_layers"
            )
