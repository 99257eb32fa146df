"""The losses: what each compares and what a batch must hold for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from postsense.registry.table import Registry


@dataclass(frozen=True)
class Loss:
    """A term of the objective, there if its weight is above 0.

    name: of its weight, losses.NAME; one that LossSettings has no field for has losses.more.NAME.
    term: "module:function" that makes it of (LossSettings, class weights (K,) or None): a function
    of the model's output and the batch.
    aligned: it compares words and pictures as vectors of one space. matched: it is shown pictures
    with the words of other posts. reads_labels: it looks at labels, which method
    'cluster_pseudo_labels' has none of. contents: it must know which posts have the same text or
    picture. own_step: it may have an update of its own, losses.inter_step.
    """

    name: str
    title: str
    term: str | Callable[..., Any]
    aligned: bool = False
    matched: bool = False
    contents: bool = False
    labels: bool = False
    own_step: bool = False

    @property
    def compares(self) -> bool:
        """Whether it compares words and pictures, or posts with each other."""
        return self.aligned or self.matched


LOSSES = Registry(
    "loss",
    [
        Loss(
            "classification",
            "cross-entropy on labels",
            "postsense.losses.classification:classification_term",
        ),
        Loss(
            "itc",
            "image-text contrast",
            "postsense.losses.image_text:contrastive_term",
            aligned=True,
            contents=True,
        ),
        Loss(
            "itm",
            "image-text matching",
            "postsense.losses.image_text:matching_term",
            matched=True,
            contents=True,
        ),
        Loss(
            "intra_text",
            "supervised contrast among texts",
            "postsense.losses.contrastive:intra_text_term",
            aligned=True,
            labels=True,
        ),
        Loss(
            "intra_image",
            "supervised contrast among pictures",
            "postsense.losses.contrastive:intra_image_term",
            aligned=True,
            labels=True,
        ),
        Loss(
            "inter_modal",
            "supervised contrast of pictures with texts",
            "postsense.losses.contrastive:inter_modal_term",
            aligned=True,
            labels=True,
            own_step=True,
        ),
    ],
)
