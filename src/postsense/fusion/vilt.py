"""ViLT fusion: one transformer reads words and patches of the picture as one sequence."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from postsense.config import FusionSettings
from postsense.encoders.joint import JointBackbone, embedded_words
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined
from postsense.inputs.batches import Pixels, TokenIds


def build(given: Given, settings: FusionSettings) -> "Vilt":
    """ViLT over a joint checkpoint."""
    return Vilt(given.joint_backbone, settings.hidden, settings.input_dropout)


class Vilt(nn.Module):
    """A single-stream model: picture and words meet from its first layer on.

    Source: Kim et al. 2021, ViLT, arXiv 2102.03334; Sanchez Villegas et al. 2024, arXiv
    2309.07794, who classify posts with it.
        sequence   [CLS]  w_1 ... w_L  [IMG]  p_1 ... p_n
        x = tanh(W Dropout(h_[CLS]) + b)
    Deviation: the released classifier reads h_[CLS] itself, without W; the layer is here, as in
    the bitransformer, so that every fusion gives F features. Patches keep their order, where
    transformers shuffles them, and samples some of a large picture, with torch's global generator.

    A post without picture has [IMG] and p masked out. A post without words has a learned vector
    in place of [CLS] and no w.
    """

    text_query_dim: int | None = None
    image_query_dim: int | None = None

    def __init__(self, backbone: JointBackbone, hidden: int, input_dropout: float) -> None:
        super().__init__()
        self.backbone, self.hidden = backbone, hidden
        self.dropout = nn.Dropout(input_dropout)
        self.missing_text = nn.Parameter(torch.zeros(backbone.dim))
        self.project = nn.Linear(backbone.dim, hidden)

    def forward(self, text: TokenIds, image: Pixels) -> Joined:
        """Token ids, the class token first, and pixels (B, 3, H, W) → fused (B, F)."""
        states = self._states(self._words(text), self._patches(image))
        class_token = self.dropout(states[:, 0])
        return Joined(torch.tanh(self.project(class_token)), text=None, image=None)

    @property
    def unimodal_dims(self) -> tuple[int, int]:
        """Widths of the two vectors that `unimodal` gives."""
        return self.backbone.dim, self.backbone.dim

    def unimodal(self, text: TokenIds, image: Pixels) -> tuple[Tensor, Tensor]:
        """h_[CLS] of the words alone and h_[IMG] of the picture alone, each (B, D).

        Source: Sanchez Villegas et al. 2024, released code, whose contrastive loss reads these
        two states.
        Deviation: there they come from the joint sequence, where each has already seen the other
        modality and the loss can be met by copying; here each modality is read by itself.

        A post's vector of a modality that it lacks is finite and says nothing.
        """
        words, (patches, mask) = self._words(text), self._patches(image)
        first = torch.zeros_like(mask)
        first[:, 0] = True  # attention needs one token to look at, of posts without picture too
        text_states = self._states(words, (patches[:, :0], mask[:, :0]))
        image_states = self._states((words[0][:, :0], words[1][:, :0]), (patches, mask | first))
        return text_states[:, 0], image_states[:, 0]

    def _words(self, text: TokenIds) -> tuple[Tensor, Tensor]:
        """Word embeddings (B, L, D) and which are there, (B, L) bool."""
        return embedded_words(self.backbone.model, text.ids, text.mask, self.missing_text)

    def _patches(self, image: Pixels) -> tuple[Tensor, Tensor]:
        """[IMG] and the patches with their positions, (B, 1 + n, D), and which are there.

        Positions learned for one size of picture are interpolated for another, as transformers
        does it.
        """
        model: Any = self.backbone.model
        embeddings = model.embeddings
        patches = embeddings.patch_embeddings(image.pixels)  # (B, D, h, w)
        places = embeddings.position_embeddings  # (1, 1 + n, D)
        side = round((places.shape[1] - 1) ** 0.5)
        grid = places[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        grid = F.interpolate(grid, patches.shape[2:], mode="bilinear", align_corners=True)
        patches = (patches + grid).flatten(2).transpose(1, 2)
        leader = (embeddings.cls_token + places[:, :1]).expand(len(patches), -1, -1)
        sequence = embeddings.dropout(torch.cat([leader, patches], dim=1))
        return sequence, image.present[:, None].expand(sequence.shape[:2])

    def _states(self, words: tuple[Tensor, Tensor], patches: tuple[Tensor, Tensor]) -> Tensor:
        """What the last layer says of every place in the sequence, (B, L + 1 + n, D)."""
        output = self.backbone.model(
            inputs_embeds=words[0],
            attention_mask=words[1].long(),
            image_embeds=patches[0],
            pixel_mask=patches[1].long(),
        )
        states: Tensor = output.last_hidden_state
        return states
