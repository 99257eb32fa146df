"""Posts that a model cannot read, since they are encoded otherwise than those of its training."""

from postsense.config import Config
from postsense.encoders.features import FeatureColumn
from postsense.encoders.regions import BOX, REGIONS
from postsense.errors import DataError, ModelError
from postsense.inputs.batches import TokenColumn
from postsense.inputs.preparation import PreparedPosts
from postsense.model.post_model import PostModel


def refuse_unfit_posts(config: Config, model: PostModel, prepared: PreparedPosts) -> None:
    """Refuse posts whose features or tokens are not such as the model was trained on.

    Raises: DataError: region features are wider or narrower. ModelError: it does not fit its
        encoders.
    """
    _refuse_other_regions(config, model, prepared)
    _refuse_other_features(config, model, prepared)
    _refuse_unknown_tokens(model, prepared)


def _refuse_other_regions(config: Config, model: PostModel, prepared: PreparedPosts) -> None:
    column, branch = prepared.columns.get("image"), model.image
    if config.encoders.image.name != REGIONS or branch is None:
        return
    assert isinstance(column, FeatureColumn)
    expected, found = len(branch.mean), column.store.dim
    if found not in (expected, 1):  # 1: no post has regions
        raise DataError(
            f"{prepared.posts.name}, regions",
            f"features of width {expected - BOX}, as in training",
            str(found - BOX),
            "Use the detector that made those of the training posts.",
        )


def _refuse_other_features(config: Config, model: PostModel, prepared: PreparedPosts) -> None:
    """Refuse a model whose statistics are of other features than its encoders give."""
    for part in ("text", "image"):
        column, branch = prepared.columns.get(part), getattr(model, part)
        regions = part == "image" and config.encoders.image.name == REGIONS
        if not isinstance(column, FeatureColumn) or branch is None or regions:
            continue
        store = column.store
        widths = [(store.dim, len(branch.mean))]
        if store.with_tokens:
            widths.append((store.token_dim, len(branch.token_mean)))
        for found, expected in widths:
            if found != expected:
                raise ModelError(
                    f"model, {part}",
                    f"statistics of features of width {found}, which its encoder gives",
                    f"those of width {expected}",
                    "Copy the model again from its source.",
                )


def _refuse_unknown_tokens(model: PostModel, prepared: PreparedPosts) -> None:
    """Refuse a tokenizer that gives tokens which the encoder inside the model has not."""
    columns = prepared.columns
    comments = None if columns.comments is None else columns.comments.texts
    words = (*columns.read.values(), comments)
    highest = max(
        (int(column.flat.max(initial=-1)) for column in words if isinstance(column, TokenColumn)),
        default=-1,
    )
    known = model.vocabulary
    if known is not None and highest >= known:
        raise ModelError(
            "model, text",
            f"a tokenizer of the {known} tokens that its encoder knows",
            f"one that gives token {highest}",
            "Copy the model again from its source.",
        )
