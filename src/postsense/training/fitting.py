"""The methods by name: posts → their splits → a trained classifier."""

import logging
from pathlib import Path
from threading import Lock

import numpy as np

from postsense.config import Config
from postsense.config.members import member_configs
from postsense.data.oddities import find_oddities
from postsense.data.seen import Seen
from postsense.data.splitting import Splits, classes_without, split_posts, thin_train
from postsense.encoders.open_encoders import OpenEncoders
from postsense.encoders.unread import warn_of_unread
from postsense.errors import ConfigError
from postsense.evaluation.metrics import positive_number
from postsense.inputs.batches import PostDataset
from postsense.inputs.preparation import PreparedPosts, prepare_posts
from postsense.inputs.readings import with_readings
from postsense.parallel.processes import is_main
from postsense.posts import Posts
from postsense.prediction.classifier import Classifier
from postsense.progress import Progress, silent
from postsense.registry.table import load_object
from postsense.retrieval.borrowing import borrow_for_training
from postsense.training.ensemble.resolving import NO_RUNS, Runs, configs_of
from postsense.training.fitted import Fitted
from postsense.training.labeled import TrainingData
from postsense.training.trained import Trained

_ONE_AT_A_TIME = Lock()
logger = logging.getLogger(__name__)


def required_columns(config: Config) -> tuple[str, ...]:
    """Our names of the columns that a table of posts must have for the method to learn from it."""
    return ("label",) if config.declared_method.learns_from_labels else ()


def split_for_method(posts: Posts, validation: Posts | None, config: Config) -> Splits:
    """The splits of a table, with the unlabelled posts of train if the method learns from them.

    A method that needs no val rows to select by has none drawn.

    What looks wrong in labels, texts and splits is a warning, as are classes that val lacks.
    Raises: DataError: as `split_posts`. ConfigError: data.positive_class is none of the classes.
    """
    splits = split_posts(
        posts,
        validation,
        validation_fraction=config.data.validation_fraction,
        seed=config.seed,
        unlabeled="leave_out" if config.declared_method.learns_from_labels else "keep",
        draw_val=config.declared_method.iterates,
    )
    positive_number(splits.classes, config.data.positive_class, posts.label_kind)
    for line in remarks_on(posts, splits):
        logger.warning("%s: %s", posts.name, line)
    return splits


def remarks_on(posts: Posts, splits: Splits) -> tuple[str, ...]:
    """What looks wrong in labels, texts and splits, and which classes val lacks, a line each."""
    lines = find_oddities(posts).lines()
    lacking = classes_without(splits, "val") if len(splits.val) else {}
    if lacking:
        named = ", ".join(f"'{name}' ({count} in train)" for name, count in lacking.items())
        val = "val, drawn from train," if splits.carved else "val"
        why = ": a class of one post trains" if splits.carved else ""
        lines.append(f"{val} has no post of {named}, and selects what is kept without it{why}")
    return tuple(lines)


def prepare_splits(
    splits: Splits, config: Config, progress: Progress = silent, runs: Runs = NO_RUNS
) -> PreparedPosts:
    """Borrow from the corpus, if the settings name one, and encode posts, comments and the rest.

    Raises: ConfigError: self-training without a corpus. DataError, CorpusError: too many bad rows,
        a corpus that cannot be used, or a package that is missing.
    """
    method = config.declared_method
    if method.prepare is not None:
        load_object(method.prepare)(config)
    if method.learns_from_corpus and config.retrieval.corpus is None:
        fix = "Name one with --corpus; build it with 'postsense corpus build TABLE --out CORPUS'."
        expected = f"a corpus for method={method.name} to learn from"
        raise ConfigError("retrieval.corpus", expected, "none", fix)
    if is_main() and config.reads_words:
        warn_of_unread(splits.posts, config.encoders)
    held_out, encoders = np.concatenate([splits.val, splits.test]), OpenEncoders()

    def prepare(asked: Config) -> PreparedPosts:
        borrowed = borrow_for_training(splits.posts, splits.train, held_out, asked, progress)
        return prepare_posts(splits.posts, asked, progress, borrowed, encoders=encoders)

    return with_readings(config, tuple(member_configs(config, configs_of(runs)).values()), prepare)


def fit_classifier(
    splits: Splits,
    prepared: PreparedPosts,
    config: Config,
    folder: Path,
    progress: Progress = silent,
    runs: Runs = NO_RUNS,
) -> Fitted:
    """Train with config.method from config.seed. folder: where checkpoints are kept.

    runs: the classifiers of members of an ensemble that are trained already, by name.

    Threads take turns: they share the generator that the seed sets.
    """
    with _ONE_AT_A_TIME:
        if not config.declared_method.combines:
            return _fit_classifier(splits, prepared, config, folder, progress)

        def train_on(part: Splits, read: PreparedPosts, member: Config, place: Path) -> Classifier:
            classifier = _fit_classifier(part, read, member, place, progress).classifier
            assert isinstance(classifier, Classifier)
            return classifier

        thinned = thin_train(splits, config.data.train_fraction, config.seed)
        train = load_object(config.declared_method.train)
        fitted: Fitted = train(thinned, prepared, config, folder, progress, train_on, runs)
        return fitted


def _fit_classifier(
    splits: Splits, prepared: PreparedPosts, config: Config, folder: Path, progress: Progress
) -> Fitted:
    labeled = config.declared_method.learns_from_labels
    if labeled:
        splits = thin_train(splits, config.data.train_fraction, config.seed)
    train = np.intersect1d(splits.train, prepared.usable)
    borrowed, pairs = prepared.borrowed, None
    if borrowed is not None and borrowed.pairs is not None:
        pairs = borrowed.pairs.among(train, prepared.usable)
    data = TrainingData(
        train=prepared.dataset(
            train,
            splits.classes if labeled else None,
            aligns=config.losses.compares,
        ),
        val=_labeled(splits.val, splits, prepared),
        classes=splits.classes,
        pairs=pairs,
        ids=prepared.posts.column("id"),
        naming=None if labeled else _naming(splits, prepared, config),
        contents=None if config.declared_method.iterates else prepared.contents[train],
    )
    train_method = load_object(config.declared_method.train)
    trained: Trained = train_method(data, config, folder, progress)
    config = config if trained.config is None else trained.config
    if borrowed is not None:  # new posts must be compared with the corpus as these were
        assert config.retrieval.corpus is not None
        known = {"alpha": borrowed.alpha, "corpus": config.retrieval.corpus.resolve()}
        retrieval = config.retrieval.model_copy(update=known)
        config = config.model_copy(update={"retrieval": retrieval})
    kind, seen = splits.posts.label_kind, _seen(splits, prepared, data, config)
    classifier = Classifier(config, splits.classes, trained.model, kind, seen)
    state = trained.state
    phase = {"epochs": state.epoch, "best_epoch": state.best_epoch, "history": state.history}
    report = {**phase, **trained.report}
    return Fitted(classifier, report, trained.pseudo_labels, trained, trained.unseen)


def _seen(splits: Splits, prepared: PreparedPosts, data: TrainingData, config: Config) -> Seen:
    """What is seen in training: labelled posts, retrieved ones with their soft labels, and val."""
    keys, learned = prepared.content_keys, [data.train.rows]
    if data.pairs is not None:
        learned.append(data.pairs.rows)
    chosen_by = data.val if data.naming is None else data.naming
    rows = np.concatenate(learned)
    return Seen.of(
        trained=keys[rows] if config.declared_method.learns_from_labels else keys[:0],
        selected=keys[chosen_by.rows],
        grouped=keys[:0] if config.declared_method.learns_from_labels else keys[rows],
        tested=keys[splits.test],
    )


def _labeled(rows: np.ndarray, splits: Splits, prepared: PreparedPosts) -> PostDataset:
    return prepared.dataset(np.intersect1d(rows, prepared.usable), splits.classes)


def _naming(splits: Splits, prepared: PreparedPosts, config: Config) -> PostDataset:
    """The labelled posts that clusters are named by."""
    rows = splits.val if config.clustering.mapping == "dev" else splits.test
    return _labeled(rows, splits, prepared)
