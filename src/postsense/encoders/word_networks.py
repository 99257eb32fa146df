"""New networks over the word embeddings of a checkpoint: token ids → (tokens, class vector)."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from postsense.config import TextEncoderSettings
from postsense.encoders.backbone import EncoderNetwork
from postsense.encoders.pretrained import dual_part, load_model, wrong_modality
from postsense.errors import EncoderError
from postsense.registry.table import load_object

FILTER_WIDTHS = (3, 4, 5)
FILTERS = 100  # of each width
LSTM_WIDTH = 150  # of each direction


class CnnNetwork(EncoderNetwork):
    """Convolutions of three widths over word embeddings, each filter's highest response.

    Source: Kim 2014, Convolutional Neural Networks for Sentence Classification, arXiv 1408.5882.
        c_i = ReLU(w . x_{i:i+h-1} + b),  c^ = max_i c_i;  widths h = 3, 4, 5, 100 filters each
    Deviation: c_i belongs to the middle of its window, which may hang over the ends of the text,
    where it sees zeros, so that every token has a response and a text may be shorter than a filter;
    the embeddings are a checkpoint's and include its special tokens; no bound on the weights' norm.
    """

    dim = FILTERS * len(FILTER_WIDTHS)

    def __init__(self, words: nn.Embedding) -> None:
        super().__init__()
        self.words = words
        self.convolutions = nn.ModuleList(
            nn.Conv1d(words.embedding_dim, FILTERS, width) for width in FILTER_WIDTHS
        )
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids, mask: (B, T) → responses (B, T, 300), zero where masked; class vector (B, 300)."""
        real = mask.bool()[..., None]
        vectors = (self.words(ids) * real).transpose(1, 2)  # (B, E, T)
        maps = [
            convolution(F.pad(vectors, ((width - 1) // 2, width // 2)))
            for width, convolution in zip(FILTER_WIDTHS, self.convolutions, strict=True)
        ]
        responses = F.relu(torch.cat(maps, dim=1)).transpose(1, 2) * real
        return responses, self.dropout(responses.amax(dim=1))  # no response is below a masked zero


class BilstmNetwork(EncoderNetwork):
    """A bidirectional LSTM over word embeddings, its states weighed by attention.

    Source: Zhou et al. 2016, Attention-Based Bidirectional Long Short-Term Memory Networks for
    Relation Classification, ACL, eqs. 9-12.
        M = tanh(H);  alpha = softmax(w^T M);  r = H alpha^T;  h* = tanh(r)
    Deviation: a state is its two directions one after the other, not their sum; the embeddings are
    a checkpoint's and include its special tokens.
    """

    dim = 2 * LSTM_WIDTH

    def __init__(self, words: nn.Embedding) -> None:
        super().__init__()
        self.words = words
        self.lstm = nn.LSTM(words.embedding_dim, LSTM_WIDTH, batch_first=True, bidirectional=True)
        self.score = nn.Linear(self.dim, 1, bias=False)  # softmax does not see a constant
        self.word_dropout, self.state_dropout = nn.Dropout(0.3), nn.Dropout(0.3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids, mask: (B, T) → states (B, T, 300), zero where masked; class vector (B, 300).

        Masked tokens follow the real ones, of which every row has one or more.
        """
        real = mask.bool()
        vectors = self.word_dropout(self.words(ids))
        packed = pack_padded_sequence(
            vectors, real.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        with torch.autocast(vectors.device.type, enabled=False):  # a GPU's would be in float16
            read, _ = self.lstm(packed)
        states, _ = pad_packed_sequence(read, batch_first=True, total_length=ids.shape[1])
        states = self.state_dropout(states)
        scores = self.score(torch.tanh(states)).squeeze(-1).masked_fill(~real, -torch.inf)
        attended = torch.einsum("bt,btd->bd", scores.softmax(dim=1), states)
        return states, self.dropout(torch.tanh(attended))


def load_word_network(
    folder: Path, settings: TextEncoderSettings, *, pretrained: bool = True
) -> CnnNetwork | BilstmNetwork:
    """A new network over the word embeddings of a checkpoint folder; nothing else of it is kept.

    Its weights come from torch's global generator; without pretraining the embeddings do too.
    Raises: EncoderError: the checkpoint has no word embeddings, or layers are cut or frozen.
    """
    _refuse_layers(settings)
    where = "encoders.text.name"
    model = load_model(folder, where, pretrained=pretrained)
    part = dual_part(model, "text_model") or model
    words = part.get_input_embeddings()  # type: ignore[operator]
    if not isinstance(words, nn.Embedding):
        raise wrong_modality(where, "text", model)
    assert settings.declared.build is not None
    network: CnnNetwork | BilstmNetwork = load_object(settings.declared.build)(words)
    return network.eval()


def _refuse_layers(settings: TextEncoderSettings) -> None:
    for name, value, unset in (
        ("layers", settings.layers, None),
        ("frozen_layers", settings.frozen_layers, 0),
    ):
        if value != unset:
            raise EncoderError(
                f"encoders.text.{name}",
                f"no transformer layers in network '{settings.network}'",
                str(value),
                "Leave it unset.",
            )
