"""A trained classifier: posts → labels, probabilities, hint comments and unreadable rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from postsense.arrays import Array
from postsense.config import Config
from postsense.data.bad_rows import BadRow
from postsense.data.label_kinds import arrow_labels, typed_label
from postsense.data.seen import Seen
from postsense.errors import ModelError
from postsense.inputs.preparation import PreparedPosts, prepare_posts, what_pictures_show
from postsense.inputs.readings import with_readings
from postsense.model.post_model import PostModel
from postsense.parallel.device import pick_device
from postsense.posts import Label, LabelKind, Posts
from postsense.prediction.inference import Outputs, predict_outputs, softmax
from postsense.prediction.refusals import refuse_unfit_posts
from postsense.progress import Progress, silent
from postsense.retrieval.borrowing import borrow_for_prediction
from postsense.retrieval.opened import Opened

HINT = pa.struct(
    [
        *(("comment", pa.string()), ("post", pa.string()), ("weight", pa.float32())),
        ("is_own", pa.bool_()),
    ]
)

MEMBER = pa.struct(
    [
        *(("member", pa.string()), ("weight", pa.float32())),
        *(("label", pa.string()), ("probability", pa.float32())),
    ]
)
PART = pa.struct([("part", pa.string()), ("gain", pa.float32())])


@dataclass(frozen=True)
class WeighedHint:
    """A comment that a prediction looked at. post: id of the post it stands under.

    weight: share of the attention paid to the post's comments, in [0, 1]. is_own: it stands under
    the post that is predicted, rather than under one of the corpus.
    """

    comment: str
    post: str
    weight: float
    is_own: bool = False


@dataclass(frozen=True)
class Predictions:
    """What a classifier says about N posts, in their order.

    probs: (N, K) float32, rows sum to 1; NaN for the rows in `bad`, which have no label either.
    hints: each post's own comments and those it was lent, most attended first; None if comments
    are not attended to.
    shows: words for what each picture shows; None if its features do not tell. label_kind: what
    the labels of training were, and so those predicted; classes are their names. members, parts:
    what each member of an ensemble said, and what words, picture and comments brought, as
    `prediction.evidence` has them; None where nobody asked, or the classifier is none.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    probs: Array
    bad: tuple[BadRow, ...]
    hints: tuple[tuple[WeighedHint, ...], ...] | None = None
    shows: tuple[tuple[str, ...], ...] | None = None
    label_kind: LabelKind = "text"
    members: tuple[tuple[Any, ...], ...] | None = None
    parts: tuple[tuple[Any, ...], ...] | None = None

    @property
    def labels(self) -> list[Label | None]:
        """The label of each post, of the kind that training had, None for a bad row."""
        kind = self.label_kind
        return [None if name is None else typed_label(name, kind) for name in self.names]

    @property
    def names(self) -> list[str | None]:
        """The likeliest class of each post by its name, None for a bad row."""
        readable = ~np.isnan(self.probs[:, 0])
        likeliest = np.where(readable, np.nan_to_num(self.probs).argmax(axis=1), -1)
        return [self.classes[number] if number >= 0 else None for number in likeliest]

    def to_table(self) -> pa.Table:
        """Columns id, label, prob_<class> for each class, and where known hints and picture_shows.

        Nulls for bad rows. Labels are of their kind: int64, double, bool or string.
        """
        columns = {"id": list(self.ids), "label": arrow_labels(self.names, self.label_kind)}
        for number, name in enumerate(self.classes):
            columns[f"prob_{name}"] = pa.array(self.probs[:, number], from_pandas=True)
        if self.hints is not None:
            rows = [[vars(hint) for hint in hints] for hints in self.hints]
            columns["hints"] = pa.array(rows, pa.list_(HINT))
        if self.shows is not None:
            columns["picture_shows"] = pa.array(self.shows, pa.list_(pa.string()))
        if self.members is not None:
            columns["members"] = pa.array(_rows(self.members), pa.list_(MEMBER))
        if self.parts is not None:
            columns["parts"] = pa.array(_rows(self.parts), pa.list_(PART))
        return pa.table(columns)


def _rows(said: Sequence[Sequence[Any]]) -> list[list[dict[str, Any]]]:
    """What was said of each post as a table holds it."""
    return [[vars(one) for one in each] for each in said]


class AnyClassifier(Protocol):
    """What answers for posts: a `Classifier`, or an `Ensemble` of several.

    member_configs: the settings by which its members read posts; () if it has none.
    """

    @property
    def config(self) -> Config: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def label_kind(self) -> LabelKind: ...

    @property
    def seen(self) -> Seen | None: ...

    @property
    def member_configs(self) -> tuple[Config, ...]: ...

    def outputs(
        self,
        prepared: PreparedPosts,
        rows: Array,
        progress: Progress = silent,
        *,
        with_aligned: bool = False,
    ) -> Outputs:
        """What it says of some usable rows of prepared posts."""


@dataclass(frozen=True)
class Classifier:
    """A model with the settings that read its posts and the names of its classes.

    label_kind: what the labels were that these names stand for. seen: which posts were seen in
    training; None: not known, as of a model that an earlier version saved.
    """

    config: Config
    classes: tuple[str, ...]
    model: PostModel
    label_kind: LabelKind = "text"
    seen: Seen | None = None

    @property
    def member_configs(self) -> tuple[Config, ...]:
        """None: it has no members."""
        return ()

    def predict(self, posts: Posts, progress: Progress = silent) -> Predictions:
        """Classify posts; labels are not looked at."""
        return average_predictions([self], posts, progress)

    def outputs(
        self,
        prepared: PreparedPosts,
        rows: Array,
        progress: Progress = silent,
        *,
        with_aligned: bool = False,
    ) -> Outputs:
        """What the model says of some usable rows of prepared posts.

        with_aligned: with the vectors that losses on pairs compare, if the model has such losses.
        Raises: DataError: their region features are wider or narrower than those it was trained on.
            ModelError: it does not fit its encoders.
        """
        config, model = self.config, self.model
        refuse_unfit_posts(config, model, prepared)
        dataset = prepared.dataset(rows, aligns=with_aligned and model.alignment is not None)
        how: Any = {"workers": config.training.workers, "progress": progress}
        return predict_outputs(model, dataset, pick_device(config.training), **how)


def average_predictions(
    classifiers: Sequence[AnyClassifier],
    posts: Posts,
    progress: Progress = silent,
    opened: Opened | None = None,
) -> Predictions:
    """Mean probabilities of classifiers that differ by their seed; posts are encoded once.

    However many posts cannot be read, the others are answered for.
    opened: what is open; None: all is opened for these posts.
    """
    prepared = prepare_new(posts, classifiers[0], progress, opened=opened)
    return predict_prepared(classifiers, prepared, np.arange(len(posts)), progress)


def prepare_new(
    posts: Posts,
    classifier: AnyClassifier,
    progress: Progress = silent,
    *,
    held_out: Posts | None = None,
    opened: Opened | None = None,
) -> PreparedPosts:
    """Posts as a classifier reads them, with what the corpus lends them; any may be bad.

    held_out: posts that are measured on, see `borrow_for_prediction`. opened: what is open.
    """

    def prepare(config: Config) -> PreparedPosts:
        borrowed = borrow_for_prediction(
            posts, config, held_out=held_out, progress=progress, opened=opened
        )
        encoders = None if opened is None else opened.encoders
        return prepare_posts(posts, config, progress, borrowed, allowed_bad=1.0, encoders=encoders)

    return with_readings(classifier.config, classifier.member_configs, prepare)


def predict_prepared(
    classifiers: Sequence[AnyClassifier],
    prepared: PreparedPosts,
    rows: Array,
    progress: Progress = silent,
) -> Predictions:
    """Mean predictions for some rows of prepared posts, bad ones among them."""
    outputs = outputs_of(classifiers, prepared, rows, progress)
    return predictions_from(outputs, classifiers, prepared, rows)


def outputs_of(
    classifiers: Sequence[AnyClassifier],
    prepared: PreparedPosts,
    rows: Array,
    progress: Progress = silent,
) -> list[Outputs]:
    """What each classifier says of those of the rows that are usable; [] if none is."""
    usable = rows[np.isin(rows, prepared.usable)]
    if not len(usable):
        return []
    return [predict_rows(one, prepared, usable, progress) for one in classifiers]


def predictions_from(
    outputs: Sequence[Outputs],
    classifiers: Sequence[AnyClassifier],
    prepared: PreparedPosts,
    rows: Array,
) -> Predictions:
    """Mean predictions from what each classifier said of those of the rows that are usable.

    outputs: one a classifier; none if no row is usable.
    """
    usable = np.isin(rows, prepared.usable)
    classes, ids = classifiers[0].classes, prepared.posts.table["id"]
    probs = np.full((len(rows), len(classes)), np.nan, dtype=np.float32)
    weights, config = None, classifiers[0].config
    if config.reads_comments:
        weights = np.zeros((len(rows), config.comments.count), dtype=np.float32)
    if outputs:
        probs[usable] = np.mean([softmax(output.logits) for output in outputs], axis=0)
        weights = _mean_weights(outputs, usable)
    names = tuple(ids.take(pa.array(rows)).to_pylist())
    unreadable = {name for name, fine in zip(names, usable, strict=True) if not fine}
    return Predictions(
        ids=names,
        classes=classes,
        probs=probs,
        bad=tuple(row for row in prepared.bad if row.id in unreadable),
        hints=_weighed_hints(prepared, rows, weights),
        shows=what_pictures_show(prepared, rows, classifiers[0].config),
        label_kind=classifiers[0].label_kind,
    )


def predict_rows(
    classifier: AnyClassifier,
    prepared: PreparedPosts,
    rows: Array,
    progress: Progress = silent,
    *,
    with_aligned: bool = False,
) -> Outputs:
    """What one classifier says of some usable rows of prepared posts.

    with_aligned: with the vectors that losses on pairs compare, if its model has such losses.
    Raises: as its `outputs`. ModelError: its answers are not finite numbers.
    """
    outputs = classifier.outputs(prepared, rows, progress, with_aligned=with_aligned)
    strange = ~np.isfinite(outputs.logits).all(axis=1)
    if strange.any():
        fix = "Train again with a lower training.learning_rate, or copy the model again."
        found = f"others for {strange.sum()} of {len(rows)} posts"
        raise ModelError("answers of the model", "finite numbers", found, fix)
    return outputs


def _mean_weights(outputs: Sequence[Outputs], usable: Array) -> Array | None:
    """Attention (N, C) paid to comments, mean over classifiers; zeros for rows not usable."""
    found = [output.comment_weights for output in outputs if output.comment_weights is not None]
    if not found:
        return None
    weights = np.zeros((len(usable), found[0].shape[1]), dtype=np.float32)
    weights[usable] = np.mean(found, axis=0)
    return weights


def _weighed_hints(
    prepared: PreparedPosts, rows: Array, weights: Array | None
) -> tuple[tuple[WeighedHint, ...], ...] | None:
    if weights is None or prepared.hints is None:
        return None
    hints = prepared.hints.given
    weighed = []
    for row, paid in zip(rows, weights, strict=True):
        pairs = zip(hints[row], paid.tolist(), strict=False)
        each = [WeighedHint(hint.text, hint.post, weight, hint.is_own) for hint, weight in pairs]
        weighed.append(tuple(sorted(each, key=lambda hint: -hint.weight)))
    return tuple(weighed)
