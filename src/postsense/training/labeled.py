"""What all methods share that learn from labels: their data, model, objective and phase."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch

from postsense.arrays import Array
from postsense.config import Config, LossSettings
from postsense.encoders.features import FeatureColumn, statistics
from postsense.errors import DataError
from postsense.inputs.batches import PostBatch, PostDataset
from postsense.losses.classification import balanced_class_weights
from postsense.losses.gate import second_step_needed
from postsense.losses.total import Weighted
from postsense.model.build import build_model, load_encoders
from postsense.model.outputs import PostOutput
from postsense.model.post_model import Branch, PostModel
from postsense.registry.inputs import INPUTS
from postsense.registry.losses import LOSSES, Loss
from postsense.registry.table import load_object
from postsense.retrieval.borrowing import Pairs
from postsense.training.comment_dropout import hide_comments
from postsense.training.mismatches import show_mismatches
from postsense.training.phase import Phase, Renewal, SecondStep, Stream, unchanged
from postsense.training.warm_start import start_from

STATISTICS_POSTS = 20_000  # posts that feature statistics are taken from, at most
TOKEN_STATISTICS_POSTS = 500  # the same for tokens: 49 regions of a post are many


@dataclass(frozen=True)
class TrainingData:
    """Labelled posts to train on, to select by (may be empty), and the K class names.

    Those of train have no labels where the method looks at none; naming, else None, are then the
    labelled posts that clusters are named by. pairs: posts that were retrieved for those of train.
    ids: of all posts, by their position. contents: (n, 2) numbers of the text and the picture of
    each post of train, as of `PreparedPosts.contents`; None where no folds are made.
    """

    train: PostDataset
    val: PostDataset
    classes: tuple[str, ...]
    pairs: Pairs | None = None
    ids: list[str] = field(default_factory=list)
    naming: PostDataset | None = None
    contents: Array | None = None


def labeled_phase(
    name: str, data: TrainingData, config: Config, extra_streams: tuple[Stream, ...] = ()
) -> Phase:
    """The phase that fits the labels of train, with the losses that the settings name.

    extra_streams: other streams of posts. The image-text losses look at the labelled posts alone.
    Raises: DataError: image-text losses of posts that all have the same text or picture.
    """
    asked = config.losses.asked
    mismatches = any(loss.matched for loss in asked)
    if any(loss.contents for loss in asked):
        _refuse_all_alike(data.train)
    return Phase(
        name=name,
        terms=loss_terms(data, config.losses),
        train=data.train,
        val=data.val,
        settings=config.training,
        seed=config.seed,
        extra_streams=extra_streams,
        second=_second_step(config.losses),
        before_epoch=_absence(data.train, config),
        small=config.fusion.declared.small,
        view=show_mismatches(config.losses.mismatched) if mismatches else unchanged,
    )


def new_model(data: TrainingData, config: Config) -> PostModel:
    """A model with fresh weights from the seed, its branches scaled to the training posts.

    Weights of an earlier run come in its place where `training.start_from` names one.
    Raises: DataError: no training post has a modality that the fusion reads. RunError: an earlier
        run that cannot be started from.
    """
    torch.manual_seed(config.seed)
    text, image = data.train.columns.get("text"), data.train.columns.get("image")
    _refuse_lacking(text, data.train.rows, "a text")
    _refuse_lacking(image, data.train.rows, "a picture")
    _refuse_no_comments(data.train, config)
    encoders = load_encoders(config, _width(text), _width(image))
    model = build_model(config, encoders, len(data.classes))
    _standardize(model.text, text, data.train.rows)
    if config.encoders.image.declared.trains or not config.fusion.declared.raw_regions:
        _standardize(model.image, image, data.train.rows)
    for name, block in model.blocks.items():
        measure: Callable[..., tuple[torch.Tensor, torch.Tensor]]
        measure = load_object(INPUTS[name].statistics)
        column, rows = data.train.columns.get(name), data.train.rows[:STATISTICS_POSTS]
        cast("Branch", block).standardize_with(*measure(column, rows))
    if config.training.start_from is not None:
        start_from(model, config.training.start_from, config.seed)
    return model


def loss_terms(data: TrainingData, losses: LossSettings) -> Mapping[str, Weighted]:
    """The objective by name. Class weights come from the labels of train.

    Source: Sanchez Villegas et al. 2024, arXiv 2309.07794; Wu & Li 2026, arXiv 2602.20767, eq. 7.
        L = (1 - beta_c - beta_m) lambda CE + beta_c ITC + beta_m ITM + L_clt + L_cli
    Deviation: none; L_clm joins the sum, or has a step of its own.
    """
    weights = None
    if losses.class_weights == "balanced" and data.train.labels is not None:
        weights = balanced_class_weights(torch.from_numpy(data.train.labels), len(data.classes))
    return {
        loss.name: _term(loss, losses, weights)
        for loss in LOSSES.values()
        if (loss in losses.asked or loss.name == "classification")
        and not (loss.own_step and losses.has_second_step)
    }


def _absence(train: PostDataset, config: Config) -> Callable[[PostModel, int], Renewal] | None:
    """Shows some posts without their own comments, others in each epoch; None where none is."""
    if train.columns.commented is None or config.comments.absence == 0:
        return None

    def renewed(model: PostModel, epoch: int) -> Renewal:
        return Renewal(hide_comments(train, config.comments.absence, [config.seed, epoch]))

    return renewed


def _term(loss: Loss, losses: LossSettings, class_weights: torch.Tensor | None = None) -> Weighted:
    """What the declaration of a loss builds."""
    term: Weighted = load_object(loss.term)(losses, class_weights)
    return term


def _second_step(losses: LossSettings) -> SecondStep | None:
    """The contrast across modalities in a step of its own, if the settings ask for it."""
    if not losses.has_second_step:
        return None

    def needed(output: PostOutput, batch: PostBatch) -> bool:
        return second_step_needed(output, batch, losses)

    terms = {loss.name: _term(loss, losses) for loss in losses.asked if loss.own_step}
    return SecondStep(terms, needed, reads="aligned")


def _refuse_all_alike(train: PostDataset) -> None:
    """train: with contents."""
    assert train.contents is not None
    whole = train.contents[(train.contents >= 0).all(axis=1)]
    for column, part in enumerate(("text", "picture")):
        if len(np.unique(whole[:, column])) < 2:
            raise DataError(
                "train, for losses.itc and losses.itm to tell apart",
                f"posts with text and picture, of different {part}s",
                f"the same {part} in all of them" if len(whole) else "none that has both",
                "Set losses.itc=0 and losses.itm=0.",
            )


def _width(column: object) -> int | None:
    return column.store.dim if isinstance(column, FeatureColumn) else None


def _refuse_lacking(column: object, rows: "np.ndarray", modality: str) -> None:
    if isinstance(column, FeatureColumn) and not (column.rows[rows] >= 0).any():
        fix = "Add some, or choose --preset text-only or image-only."
        raise DataError("train", f"posts with {modality}", "none", fix)


def _refuse_no_comments(train: PostDataset, config: Config) -> None:
    """Refuse to learn from comments where nobody has commented, nor does a corpus lend any."""
    commented = train.columns.commented
    if commented is None or config.borrows_comments or commented[train.rows].any():
        return
    column = config.data.columns.comments
    raise DataError(
        "train",
        f"posts with comments in '{column}'",
        "none",
        "Name their column with data.columns.comments, or leave out comments.own and"
        " blocks.comments.",
    )


def _standardize(branch: Branch | None, column: object, rows: "np.ndarray") -> None:
    if branch is None or not isinstance(column, FeatureColumn):
        return
    stored = column.rows[rows]
    stored = stored[stored >= 0][:STATISTICS_POSTS]
    branch.standardize_with(*statistics(torch.from_numpy(column.store.pooled(stored))))
    if column.store.with_tokens:
        tokens, mask = column.store.tokens(stored[:TOKEN_STATISTICS_POSTS])
        branch.standardize_tokens_with(*statistics(torch.from_numpy(tokens[mask])))
