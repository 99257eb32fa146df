"""Settings of the fusion and of what is minimised."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from postsense.config.section import ITERATES, ONE_MODEL, NameIn, ReadWhere, Section
from postsense.errors import nearest
from postsense.registry.fusions import FUSIONS, Fusion
from postsense.registry.losses import LOSSES, Loss


def _read_by_fusions(setting: str) -> ReadWhere:
    """Where a setting is read that some fusions name among theirs."""
    names = [name for name, fusion in FUSIONS.items() if setting in fusion.settings]
    return ReadWhere(
        f"fusion.name={' or '.join(names)}",
        lambda config: setting in config.fusion.declared.settings,
        ("fusion.name",),
    )


_TRAINED_PICTURES = ReadWhere(
    "encoders.image.trainable=true",
    lambda config: config.encoders.image.trainable,
    ("encoders.image.trainable",),
)
_ATTENTION = ReadWhere(
    "fusion.interaction=attention",
    lambda config: config.fusion.interaction == "attention",
    ("fusion.interaction",),
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
    lambda config: config.encoders.projection is None and config.fusion.declared.aligned != "own",
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
    name: Annotated[str, NameIn(FUSIONS)] = Field(
        "concat", description="how picture and words are joined"
    )
    hidden: Annotated[int, ONE_MODEL] = Field(
        256, ge=0, description="width F of the fused vector; 0: concat without a layer of its own"
    )
    fidelity: Annotated[
        Literal["corrected", "released"], _read_by_fusions("fidelity"), _ATTENTION
    ] = Field(
        "corrected",
        description="'released': with the quirks of the authors' code, where it has any",
    )
    picture_tokens: Annotated[int, _read_by_fusions("picture_tokens"), _TRAINED_PICTURES] = Field(
        3, ge=1, le=1024, description="vectors of a picture that the bitransformer reads, at most"
    )
    reader_width: Annotated[int, _read_by_fusions("reader_width")] = Field(
        128, ge=2, multiple_of=2, description="width of read words and regions ('cross_modal')"
    )
    shared_width: Annotated[int, _read_by_fusions("shared_width")] = Field(
        32, ge=1, description="width P of the space of words and pictures ('cross_modal')"
    )
    interaction: Annotated[Literal["attention", "none"], _read_by_fusions("interaction")] = Field(
        "attention",
        description="'none': words and pictures of 'cross_modal' do not attend before they join",
    )
    input_dropout: Annotated[float, ITERATES] = Field(
        0.3, ge=0, lt=1, description="dropout on encoder outputs"
    )
    dropout: Annotated[float, ITERATES] = Field(
        0.5, ge=0, lt=1, description="dropout on the fused vector"
    )

    @property
    def declared(self) -> Fusion:
        """What the fusion of this name says of itself."""
        return FUSIONS[self.name]


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

    more: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="weights of losses that were registered beside these, by name"
    )

    def weight(self, name: str) -> float:
        """The weight of a loss by its name, 0 where none is set."""
        own = name in LossSettings.model_fields
        return float(getattr(self, name) if own else self.more.get(name, 0.0))

    @property
    def asked(self) -> tuple[Loss, ...]:
        """The losses whose weight is above 0, in the order of their table."""
        return tuple(loss for name, loss in LOSSES.items() if self.weight(name) > 0)

    @property
    def contrasts(self) -> bool:
        """Whether posts are compared by their labels."""
        return any(loss.labels for loss in self.asked)

    @property
    def aligns(self) -> bool:
        """Whether words and pictures are compared in one space."""
        return any(loss.aligned for loss in self.asked)

    @property
    def compares(self) -> bool:
        """Whether words and pictures, or posts, are compared with each other."""
        return any(loss.compares for loss in self.asked)

    @property
    def has_second_step(self) -> bool:
        """Whether a loss has an update of its own."""
        return self.inter_step == "second" and any(loss.own_step for loss in self.asked)

    @model_validator(mode="after")
    def _more_are_known(self) -> "LossSettings":
        beside = [name for name in LOSSES if name not in LossSettings.model_fields]
        for name in self.more:
            if name not in beside:
                raise ValueError(f"unknown 'losses.more.{name}' ({nearest(name, beside)})")
        return self

    @model_validator(mode="after")
    def _leaves_room(self) -> "LossSettings":
        if self.itc + self.itm >= 1:
            raise ValueError("itc + itm must be below 1: the rest is the weight of the labels")
        return self
