"""Settings of the fusion and of what is minimised."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from postsense.config.section import ReadWhere, Section

JOINT = ("bitransformer", "vilt", "lxmert")  # fusions that encode words and picture together
_SEQUENCES = ("cross_attention", "co_memory", "hierarchical", "lxmert", "cross_modal")

_CROSS_MODAL = ReadWhere(
    "fusion.name=cross_modal", lambda config: config.fusion.name == "cross_modal", ("fusion.name",)
)
_REGION_VECTORS = ReadWhere(
    "fusion.name=bitransformer and encoders.image.trainable=true",
    lambda config: config.fusion.name == "bitransformer" and config.encoders.image.trainable,
    ("fusion.name", "encoders.image.trainable"),
)
_QUIRKS = ReadWhere(
    "fusion.name=hierarchical, or cross_modal with fusion.interaction=attention",
    lambda config: config.fusion.has_quirks,
    ("fusion.name", "fusion.interaction"),
)
_ITC = ReadWhere("losses.itc above 0", lambda config: config.losses.itc > 0, ("losses.itc",))
_ITM = ReadWhere("losses.itm above 0", lambda config: config.losses.itm > 0, ("losses.itm",))
_CONTRAST = ReadWhere(
    "losses.intra_text, intra_image or inter_modal above 0", lambda config: config.losses.contrasts
)
_ALIGNED = ReadWhere(
    "losses.itc, intra_text, intra_image or inter_modal above 0",
    lambda config: config.losses.aligns,
)
_NO_OTHER_SPACE = ReadWhere(
    "no encoders.projection, and a fusion other than cross_modal",
    lambda config: config.encoders.projection is None and config.fusion.name != "cross_modal",
    ("encoders.projection", "fusion.name"),
)
_INTER_MODAL = ReadWhere(
    "losses.inter_modal above 0",
    lambda config: config.losses.inter_modal > 0,
    ("losses.inter_modal",),
)
_SECOND = ReadWhere(
    "losses.inter_step=second",
    lambda config: config.losses.inter_step == "second",
    ("losses.inter_step",),
)


class FusionSettings(Section):
    name: Literal[
        "concat",
        "cross_attention",
        "co_memory",
        "hierarchical",
        "bitransformer",
        "vilt",
        "lxmert",
        "cross_modal",
        "text_only",
        "image_only",
    ] = Field("concat", description="how picture and words are joined")
    hidden: int = Field(
        256, ge=0, description="width F of the fused vector; 0: concat without a layer of its own"
    )
    fidelity: Annotated[Literal["corrected", "released"], _QUIRKS] = Field(
        "corrected",
        description="'released': with the quirks of the authors' code, where it has any",
    )
    picture_tokens: Annotated[int, _REGION_VECTORS] = Field(
        3, ge=1, le=1024, description="vectors of a picture that the bitransformer reads, at most"
    )
    reader_width: Annotated[int, _CROSS_MODAL] = Field(
        128, ge=2, multiple_of=2, description="width of read words and regions ('cross_modal')"
    )
    shared_width: Annotated[int, _CROSS_MODAL] = Field(
        32, ge=1, description="width P of the space of words and pictures ('cross_modal')"
    )
    interaction: Annotated[Literal["attention", "none"], _CROSS_MODAL] = Field(
        "attention",
        description="'none': words and pictures of 'cross_modal' do not attend before they join",
    )
    input_dropout: float = Field(0.3, ge=0, lt=1, description="dropout on encoder outputs")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the fused vector")

    @property
    def reads_text(self) -> bool:
        """Whether it reads words."""
        return self.name != "image_only"

    @property
    def reads_image(self) -> bool:
        """Whether it reads pictures."""
        return self.name != "text_only"

    @property
    def reads_sequences(self) -> bool:
        """Whether it reads tokens and regions beside vectors."""
        return self.name in _SEQUENCES

    @property
    def reads_attributes(self) -> bool:
        """Whether it reads words for what the picture shows."""
        return self.name == "hierarchical"

    @property
    def reads_text_vector(self) -> bool:
        """Whether it reads one vector of a text."""
        return self.name not in (*JOINT, "cross_modal")

    @property
    def reads_image_vector(self) -> bool:
        """Whether it reads one vector of a picture, where that also comes as regions."""
        return self.name in ("concat", "image_only", "co_memory")

    @property
    def encodes_jointly(self) -> bool:
        """Whether it encodes words and picture together."""
        return self.name in JOINT

    @property
    def has_quirks(self) -> bool:
        """Whether the code of its authors departs from their paper."""
        attends = self.name == "cross_modal" and self.interaction == "attention"
        return self.name == "hierarchical" or attends


class LossSettings(Section):
    classification: float = Field(
        1.0, ge=0, description="weight of the cross-entropy on labels, before 1 - itc - itm"
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="'balanced': N / (K * posts of the class)"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="mass moved to the other classes")
    itc: float = Field(
        0.0, ge=0, lt=1, description="weight of the image-text contrastive loss (beta_c)"
    )
    itm: float = Field(
        0.0, ge=0, lt=1, description="weight of the image-text matching loss (beta_m)"
    )
    itc_width: Annotated[int, _ALIGNED, _NO_OTHER_SPACE] = Field(
        512, ge=1, description="width of the vectors that are contrasted (P)"
    )
    temperature: Annotated[float, _ITC] = Field(
        0.07, ge=0.01, description="temperature of ITC before training, which learns it"
    )
    mismatched: Annotated[float, _ITM] = Field(
        0.5, gt=0, lt=1, description="probability that ITM shows a picture with another text"
    )
    intra_text: float = Field(
        0.0, ge=0, description="weight of the supervised contrast among texts (L_clt)"
    )
    intra_image: float = Field(
        0.0, ge=0, description="weight of the supervised contrast among pictures (L_cli)"
    )
    inter_modal: float = Field(
        0.0, ge=0, description="weight of the supervised contrast of pictures with texts (L_clm)"
    )
    inter_step: Annotated[Literal["same", "second"], _INTER_MODAL] = Field(
        "same", description="'second': inter_modal has an update of its own, if the gate opens"
    )
    gate_threshold: Annotated[float, _INTER_MODAL, _SECOND] = Field(
        2 / 3, ge=0, le=1, description="consistency from which the second step is left out"
    )
    contrast_temperature: Annotated[float, _CONTRAST] = Field(
        0.07, ge=0.01, description="temperature of the supervised contrast, which stays (tau)"
    )
    fidelity: Annotated[Literal["corrected", "released"], _CONTRAST] = Field(
        "corrected", description="'released': contrast and gate as in the code of SPP-SCL"
    )

    @property
    def contrasts(self) -> bool:
        """Whether posts are compared by their labels."""
        return max(self.intra_text, self.intra_image, self.inter_modal) > 0

    @property
    def aligns(self) -> bool:
        """Whether words and pictures are compared in one space."""
        return self.itc > 0 or self.contrasts

    @model_validator(mode="after")
    def _leaves_room(self) -> "LossSettings":
        if self.itc + self.itm >= 1:
            raise ValueError("itc + itm must be below 1: the rest is the weight of the labels")
        return self
