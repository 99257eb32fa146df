"""Cross-modal fusion: both modalities in one space, each attending to itself as the other asks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from postsense.config import FusionSettings
from postsense.encoders.embeddings import Embeddings, pool
from postsense.fusion.attention import masked_softmax
from postsense.fusion.given import Given
from postsense.fusion.joined import Joined
from postsense.fusion.layer_attention import LayerAttention

States = tuple[Tensor, Tensor]  # (B, T, W) of words or (B, R, W) of regions, and their mask


def build(given: Given, settings: FusionSettings) -> "CrossModal":
    """The fusion over the last layers of the text encoder."""
    text, image, *more = given.widths.values()
    return CrossModal(text, given.text_layers, image, settings, more)


class CrossModal(nn.Module):
    """Words and picture become vectors T and I of one space, which then steer attention.

    Source: SPP-SCL, AAAI 2026, eqs. 1-3, with the layers of its released code.
        t = mean BiLSTM(words);  i = mean Drop(ReLU(BN(W regions)))
        T, I = Drop(ReLU(BN(W_3 BN(W_2 Drop(ReLU(BN(W_1 m)))))))          for m in {t, i}
        T' = softmax((I * Q_T) (I * K_T)^T / sqrt(P)) V_T;  I' likewise, steered by T
        x = ReLU(BN(W [T'; I'; I; T]))
    More vectors of a post stand last: x = ReLU(BN(W [T'; I'; I; T; more])).
    T and I, which are not negative, are what the contrastive losses compare. Q, K, V are
    Drop(Linear(.)) of a post's own words or regions, and T' is the mean over what attends.
    Deviation: the released Q, K, V are of T and I, so that the softmax runs over the posts of a
    batch, and what is said of a post depends on the others; fidelity "released" does the same.
    With either, padded words and regions enter no mean, no attention and no batch statistics. A
    batch of one post trains with the running statistics. interaction "none", the paper's ablation
    without this fusion: x = ReLU(BN(W [I; T])).
    """

    def __init__(
        self,
        text_dim: int,
        layers: int,
        image_dim: int,
        settings: FusionSettings,
        more_dims: Sequence[int] = (),
    ) -> None:
        """text_dim: width D of a token in one layer. layers: L, how many a token comes with.

        more_dims: the widths of vectors beside words and picture, in their order.
        """
        super().__init__()
        width, shared = settings.reader_width, settings.shared_width
        dropout = settings.input_dropout
        self.text_query_dim, self.image_query_dim = shared, shared
        self.words = LayerAttention(layers, text_dim, width)
        self.regions = _Regions(image_dim, width, dropout)
        self.text = _projection(width, shared, dropout)
        self.image = _projection(width, shared, dropout)
        self.interaction: _WithinPosts | _AcrossPosts | None = None
        if settings.interaction == "attention":
            within = settings.fidelity == "corrected"
            self.interaction = (
                _WithinPosts(width, shared, dropout) if within else _AcrossPosts(shared, dropout)
            )
        parts = 2 if self.interaction is None else 4
        self.project = nn.Linear(parts * shared + sum(more_dims), settings.hidden)
        self.dropout = nn.Dropout(dropout)
        self.norm = _Norm(settings.hidden)

    def forward(self, text: Embeddings, image: Embeddings, *more: Embeddings) -> Joined:
        """Embeddings, two with tokens and masks → fused (B, F); text and image are T and I, (B, P).

        text.tokens: (B, T, L * D), the class token first. image.tokens: (B, R, V).
        """
        words, regions = self._states(text, image)
        text_vector, image_vector = self._shared(words, regions)
        parts = [image_vector, text_vector]
        if isinstance(self.interaction, _WithinPosts):
            parts = [*self.interaction(text_vector, image_vector, words, regions), *parts]
        elif self.interaction is not None:
            parts = [*self.interaction(text_vector, image_vector), *parts]
        parts += [self.dropout(part.pooled) for part in more]
        fused = torch.relu(self.norm(self.project(torch.cat(parts, dim=1))))
        return Joined(fused, text_vector, image_vector)

    def vectors(self, text: Embeddings, image: Embeddings) -> tuple[Tensor, Tensor]:
        """T and I alone, each (B, P), of what forward reads, without what it makes of them."""
        return self._shared(*self._states(text, image))

    def _states(self, text: Embeddings, image: Embeddings) -> tuple[States, States]:
        assert text.tokens is not None and image.tokens is not None
        assert text.mask is not None and image.mask is not None
        words, read = self.words(text.tokens, text.mask)
        return (words, read), (self.regions(image.tokens, image.mask), image.mask)

    def _shared(self, words: States, regions: States) -> tuple[Tensor, Tensor]:
        """T, I: (B, P)."""
        return self.text(pool(*words, "mean")), self.image(pool(*regions, "mean"))


class _Norm(nn.BatchNorm1d):
    """Batch normalisation; fewer than two rows, which have no deviation, take the running one."""

    def forward(self, rows: Tensor) -> Tensor:
        if len(rows) > 1:
            return super().forward(rows)
        return F.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class _Regions(nn.Module):
    """A layer over each region: Drop(ReLU(BN(W r))), a 1 x 1 convolution over the picture."""

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.project, self.norm = nn.Linear(dim, width), _Norm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, regions: Tensor, mask: Tensor) -> Tensor:
        """(B, R, V), (B, R) bool → (B, R, W), zero where masked."""
        projected = self.project(regions)
        if mask.all():  # as a rule; choosing and putting back would copy everything
            rows = torch.relu(self.norm(projected.flatten(0, 1)))
            dropped: Tensor = self.dropout(rows)
            return dropped.view_as(projected)
        real = self.dropout(torch.relu(self.norm(projected[mask])))  # masked ones are not counted
        return torch.zeros_like(projected).masked_scatter(mask[..., None], real)


def _projection(width: int, shared: int, dropout: float) -> nn.Sequential:
    """From a modality's own vector (B, W) to the shared space (B, P): projection, then alignment.

    Each of the two ends in batch normalisation, the second with ReLU and dropout over it.
    """
    return nn.Sequential(
        nn.Linear(width, shared),
        _Norm(shared),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(shared, shared),
        _Norm(shared),
        nn.Linear(shared, shared),
        _Norm(shared),
        nn.ReLU(),
        nn.Dropout(dropout),
    )


class _Looks(nn.Module):
    """Q, K and V of states, each Drop(Linear(.)), and how they look at each other when steered."""

    def __init__(self, dim: int, shared: int, dropout: float) -> None:
        super().__init__()
        self.project, self.dropout = nn.Linear(dim, 3 * shared), nn.Dropout(dropout)

    def forward(self, states: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """states (..., T, D), guide (..., T or 1, P) → scores (..., T, T), values (..., T, P)."""
        query, key, value = self.dropout(self.project(states)).chunk(3, dim=-1)
        scores = (guide * query) @ (guide * key).transpose(-1, -2)
        return scores / value.shape[-1] ** 0.5, value


class _WithinPosts(nn.Module):
    """A post's words attend to each other as its picture asks, and the other way round."""

    def __init__(self, width: int, shared: int, dropout: float) -> None:
        super().__init__()
        self.text, self.image = _Looks(width, shared, dropout), _Looks(width, shared, dropout)

    def forward(
        self,
        text_vector: Tensor,
        image_vector: Tensor,
        words: States,
        regions: States,
    ) -> tuple[Tensor, Tensor]:
        """T, I: (B, P); states (B, T, W) with their masks (B, T) → T', I', (B, P)."""
        attended = self._attend(self.text, image_vector, *words)
        return attended, self._attend(self.image, text_vector, *regions)

    def _attend(self, looks: _Looks, guide: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        scores, values = looks(states, guide[:, None])
        attention = masked_softmax(scores, mask[:, None])  # (B, T, T)
        weights = pool(attention, mask, "mean")  # (B, T): mean_s sum_t a_st v_t, the mean first
        return torch.einsum("bt,btp->bp", weights, values)


class _AcrossPosts(nn.Module):
    """The released attention: a post's vector attends to those of all posts in the batch."""

    def __init__(self, shared: int, dropout: float) -> None:
        super().__init__()
        self.text, self.image = _Looks(shared, shared, dropout), _Looks(shared, shared, dropout)

    def forward(self, text_vector: Tensor, image_vector: Tensor) -> tuple[Tensor, Tensor]:
        """T, I: (B, P) → T', I', (B, P)."""
        attended = self._attend(self.text, text_vector, image_vector)
        return attended, self._attend(self.image, image_vector, text_vector)

    def _attend(self, looks: _Looks, vectors: Tensor, guide: Tensor) -> Tensor:
        scores, values = looks(vectors, guide)
        attended: Tensor = torch.softmax(scores, dim=-1) @ values
        return attended
