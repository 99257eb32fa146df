"""What a fusion is built for: the widths of what it reads, and the encoders inside it."""

from collections.abc import Mapping
from dataclasses import dataclass

from postsense.config import Pooling
from postsense.encoders.backbone import TextBackbone
from postsense.encoders.joint import JointBackbone


@dataclass(frozen=True)
class Given:
    """widths: D of each input that reaches the fusion encoded, by name, in their order.

    pooling: how token states become the vector of a text. text_layers: L, of how many layers a
    token of a text comes with states. with_boxes: the picture's regions are a detector's, each with
    its box as the last four features. backbone: what encodes inside the fusion, if it does.
    """

    widths: Mapping[str, int]
    pooling: Pooling = "mean"
    text_layers: int = 1
    with_boxes: bool = False
    backbone: TextBackbone | JointBackbone | None = None

    @property
    def text_backbone(self) -> TextBackbone:
        """The text encoder, of a fusion that declares it as its encoder."""
        assert isinstance(self.backbone, TextBackbone)
        return self.backbone

    @property
    def joint_backbone(self) -> JointBackbone:
        """The joint encoder, of a fusion that declares one."""
        assert isinstance(self.backbone, JointBackbone)
        return self.backbone
