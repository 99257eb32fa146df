"""Every setting, typed and described once."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MetricName = Literal["accuracy", "macro_f1", "weighted_f1", "loss"]
Pooling = Literal["mean", "max", "cls"]
UNREAD_IN_PREDICT = ("label", "split", "comments", "attributes", "created_at")  # of our columns

JOINT = ("bitransformer", "vilt", "lxmert")  # fusions that encode words and picture together


class Section(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Columns(Section):
    """The table's name for each of our columns; dots reach into nested ones (`splits.grouped`)."""

    id: str = Field("id", description="unique name of the post; absent: the row number")
    text: str = Field("text", description="words of the post")
    image: str = Field("image", description="path of the picture, relative to the table")
    regions: str = Field("regions", description="path of the picture's region features, likewise")
    label: str = Field("label", description="class of the post")
    split: str = Field("split", description="train, val (also dev, validation) or test")
    comments: str = Field("comments", description="list of readers' comments")
    attributes: str = Field("attributes", description="list of words for what the picture shows")
    created_at: str = Field("created_at", description="when the post was written")


class DataSettings(Section):
    columns: Columns = Columns()
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="share of unusable rows above which a command refuses"
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=0.5, description="share of train used as val when the table has no val"
    )
    train_fraction: float = Field(
        1.0, gt=0, le=1, description="share of train that keeps its labels, drawn for each seed"
    )


class TextEncoderSettings(Section):
    name: str = Field(
        "builtin", description="'builtin' (MiniLM), Hugging Face name or local folder"
    )
    pooling: Pooling = Field("mean", description="how token states become one vector")
    layers: int | None = Field(None, ge=1, description="transformer layers kept; none: all")
    max_length: int = Field(64, ge=4, description="tokens kept of a text, special tokens included")
    normalize: Literal["raw", "tweet"] = Field(
        "raw", description="'tweet': @USER, HTTPURL and :emoji_name:"
    )
    network: Literal["transformer", "bilstm", "cnn"] = Field(
        "transformer",
        description="what reads the words: the checkpoint, or a new net over its word embeddings",
    )
    trainable: bool = Field(False, description="train the encoder; frozen ones are encoded once")
    frozen_layers: int = Field(
        0, ge=0, description="first layers, and what is below them, that do not train; 0: all train"
    )


class ImageEncoderSettings(Section):
    name: str = Field(
        "builtin",
        description="'builtin' (EfficientNet-Lite0), Hugging Face name, local folder, or 'regions':"
        " the features that the table's column names",
    )
    pooling: Pooling = Field("mean", description="how picture regions become one vector")
    layers: int | None = Field(None, ge=1, description="transformer layers kept; none: all")
    trainable: bool = Field(False, description="train the encoder; frozen ones are encoded once")
    frozen_layers: int = Field(
        0, ge=0, description="first layers, and what is below them, that do not train; 0: all train"
    )


class EncoderSettings(Section):
    text: TextEncoderSettings = TextEncoderSettings()
    image: ImageEncoderSettings = ImageEncoderSettings()
    projection: int | None = Field(
        None,
        ge=1,
        description="width of a trained layer over each modality; none: no such layer,"
        " but with ITC over frozen encoders one of losses.itc_width",
    )
    allow_download: bool = Field(
        False, description="let a Hugging Face name be fetched from the hub over the network"
    )
    cache: Path | None = Field(
        None, description="folder of kept features; none: $POSTSENSE_CACHE or ~/.cache/postsense"
    )
    threads: int = Field(0, ge=0, description="CPU threads that encode; 0: all cores")


class CorpusSettings(Section):
    """What a corpus of posts and comments is built with; kept in its manifest."""

    columns: Columns = Columns()
    comment_post: str = Field("post_id", description="the post's id in a table of comments")
    comment_text: str = Field("text", description="the words in a table of comments")
    language: str = Field("en", description="ISO 639-1 code of the posts kept; 'any': all")
    min_language_confidence: float = Field(
        0.5, ge=0, le=1, description="probability of the language below which a post is dropped"
    )
    require_image: bool = Field(True, description="drop posts without a picture")
    require_comments: bool = Field(True, description="drop posts without comments")
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="share of unusable rows above which a build refuses"
    )
    encoders: EncoderSettings = EncoderSettings()
    index: Literal["auto", "exact", "compressed"] = Field(
        "auto", description="auto: exact search below exact_below posts"
    )
    exact_below: int = Field(50_000, ge=0, description="posts up to which search is exact")
    min_recall: float = Field(
        0.95, ge=0, le=1, description="recall@K against exact search that an index must reach"
    )


class RetrievalSettings(Section):
    corpus: Path | None = Field(None, description="folder of the corpus that lends comments")
    alpha: float | None = Field(
        None, ge=0, le=1, description="weight of the picture (alpha); none: from the data, Eqs. 2-4"
    )
    fidelity: Literal["corrected", "released"] = Field(
        "corrected", description="'released': two indexes and the intersection of their answers"
    )
    posts: int = Field(10, ge=1, description="similar posts that lend comments")
    per_picture: int = Field(2, ge=1, description="similar posts on one picture at most")
    min_score: float = Field(
        0.4, ge=-1, le=1, description="fused score below which a post lends nothing; -1: all lend"
    )


class CommentSettings(Section):
    count: int = Field(5, ge=0, description="hint comments of a post (N); 0: none are read")
    per_post: int = Field(5, ge=1, description="first comments taken of a similar post")
    dropout: float = Field(0.8, ge=0, lt=1, description="dropout on the vectors of hint comments")
    min_words: int = Field(3, ge=1, description="words a comment must have")
    max_generic: float = Field(
        0.5,
        ge=0,
        le=1,
        description="likeness to phrases like 'thank you' from which a comment is dropped",
    )


class SelfTrainingSettings(Section):
    rounds: int = Field(3, ge=1, description="students trained one after the other (T)")
    neighbors: int = Field(3, ge=1, description="similar posts of a labelled post (K)")
    weight: float = Field(1.0, ge=0, description="weight of the divergence from the teacher")
    comment_dropout: float = Field(
        0.5, ge=0, lt=1, description="probability that a student misses a comment"
    )
    weighting: Literal["none", "confidence", "adaptive"] = Field(
        "confidence",
        description="how much a pseudo-label counts: 1, its certainty, or 0/1 by class",
    )
    threshold: float = Field(
        0.7, ge=0, le=1, description="confidence asked of the surest class ('adaptive', tau)"
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
        "text_only",
        "image_only",
    ] = Field("concat", description="how picture and words are joined")
    hidden: int = Field(256, ge=1, description="width F of the fused vector")
    fidelity: Literal["corrected", "released"] = Field(
        "corrected",
        description="'released': with the quirks of the authors' code, where it has any",
    )
    picture_tokens: int = Field(
        3, ge=1, description="vectors of a picture that the bitransformer reads, at most"
    )
    input_dropout: float = Field(0.3, ge=0, lt=1, description="dropout on encoder outputs")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the fused vector")


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
    itc_width: int = Field(512, ge=1, description="width of the vectors that are contrasted (P)")
    temperature: float = Field(
        0.07, ge=0.01, description="temperature of ITC before training, which learns it"
    )
    mismatched: float = Field(
        0.5, gt=0, lt=1, description="probability that ITM shows a picture with another text"
    )

    @model_validator(mode="after")
    def _leaves_room(self) -> "LossSettings":
        if self.itc + self.itm >= 1:
            raise ValueError("itc + itm must be below 1: the rest is the weight of the labels")
        return self


class TrainingSettings(Section):
    epochs: int = Field(30, ge=1, description="passes over train at most")
    batch_size: int = Field(256, ge=1, description="posts a step (B)")
    learning_rate: float = Field(5e-4, gt=0, description="peak rate of fusion and head")
    encoder_learning_rate: float = Field(2e-5, gt=0, description="peak rate of trained encoders")
    weight_decay: float = Field(0.01, ge=0, description="AdamW decay, not on biases and norms")
    warmup_fraction: float = Field(0.1, ge=0, le=1, description="share of steps that warm up")
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    max_grad_norm: float = Field(1.0, gt=0, description="global norm above which gradients shrink")
    select_by: MetricName = Field("loss", description="validation metric of the kept checkpoint")
    patience: int = Field(
        5, ge=0, description="epochs in a row without a better metric that are borne"
    )
    mixed_precision: Literal["auto", "no", "bf16"] = Field(
        "auto", description="auto: bf16 on a GPU that has it"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute trained transformers twice, to keep less of them in memory"
    )
    device: Literal["auto", "cpu"] = "auto"
    workers: int = Field(0, ge=0, description="processes that load batches; never changes a result")


class Config(Section):
    """All settings of a run."""

    method: Literal["supervised", "self_training"] = "supervised"
    seed: int = Field(0, ge=0, description="start of every random choice")
    data: DataSettings = DataSettings()
    encoders: EncoderSettings = EncoderSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    comments: CommentSettings = CommentSettings()
    fusion: FusionSettings = FusionSettings()
    losses: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    self_training: SelfTrainingSettings = SelfTrainingSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        corpus, words = self.retrieval.corpus, self.fusion.name != "image_only"
        if corpus is not None and self.comments.count > 0 and not words:
            raise ValueError(
                "comments are words, which 'image_only' does not read: comments.count=0"
            )
        aligned = self.losses.itc > 0 or self.losses.itm > 0
        if aligned and self.fusion.name in ("text_only", "image_only"):
            raise ValueError("losses.itc and losses.itm need a fusion that reads text and picture")
        if aligned and self.training.batch_size < 2:
            raise ValueError("losses.itc and losses.itm compare posts: training.batch_size >= 2")
        self._refuse_unfit_encoders()
        return self

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
        if text.network != "transformer" and not text.trainable:
            raise ValueError(f"encoders.text.network '{text.network}' is new: trainable=true")
