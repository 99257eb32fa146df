"""Settings of an ensemble and posts → what it reads of them, and its members by name."""

import logging
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from postsense.config import Config
from postsense.config.members import member_config, member_configs
from postsense.data.splitting import Splits
from postsense.errors import ConfigError, RunError
from postsense.prediction.classifier import Classifier
from postsense.registry.efforts import EFFORTS
from postsense.training.ensemble.costs import affordable

logger = logging.getLogger(__name__)
Runs = Mapping[str, tuple[Classifier, ...]]
NO_RUNS: Runs = MappingProxyType({})
LARGE_TABLES = "concat"  # the member where no other fits: it reads posts batch by batch
FEW_LABELS = 100  # of a class, on average, below which few members with firm penalties do best
_WITH_COMMENTS = 0.05  # share of posts from which a post's own comments are read


def resolve_ensemble(config: Config, splits: Splits, runs: Runs = NO_RUNS) -> Config:
    """The settings with what they leave to the posts: the modalities, comments and members.

    What no post of train has is not read: pictures, words or comments. Members that would read it
    are left out. Fewer labels than FEW_LABELS a class take the members that are made for few.
    runs: the classifiers of members that are runs, by name.
    Raises: ConfigError: a member that is named reads what no post has, or is no preset.
        RunError: a run of other classes.
    """
    if not config.declared_method.combines:
        return config
    for name, classifiers in runs.items():
        _refuse_other_classes(name, classifiers[0], splits)
    config = _with_comments(_with_modalities(config, splits), splits)
    if not config.ensemble.members:
        return _with_members(config, splits)
    for name, member in member_configs(config, configs_of(runs)).items():
        _refuse_unread(name, config, member)
    return config


def configs_of(runs: Runs) -> dict[str, Config]:
    """The settings by which members that are runs read posts."""
    return {name: classifiers[0].config for name, classifiers in runs.items()}


def _refuse_other_classes(name: str, classifier: Classifier, splits: Splits) -> None:
    if classifier.classes != splits.classes:
        raise RunError(
            f"ensemble.members, '{name}'",
            f"a run of the classes {list(splits.classes)}",
            f"one of {list(classifier.classes)}",
            "Leave it out, or name the label column that it was trained on.",
        )


def _reads_both(config: Config) -> bool:
    """Whether words and pictures are read."""
    return {"text", "image"} <= set(config.fusion.declared.reads)


def _with_modalities(config: Config, splits: Splits) -> Config:
    """The settings with the fusion that reads the words and pictures that there are."""
    if not _reads_both(config):
        return config
    columns = {"image_only": "text", "text_only": config.encoders.image.declared.column}
    for other, lacking in columns.items():
        there = splits.posts.table[lacking].is_valid().to_numpy(zero_copy_only=False)
        if not there[splits.train].any():
            fusion = config.fusion.model_copy(update={"name": other})
            return config.model_copy(update={"fusion": fusion})
    return config


def _with_comments(config: Config, splits: Splits) -> Config:
    """The settings with own comments read, where enough posts have some."""
    comments = splits.posts.column("comments")
    commented = np.mean([bool(comments[row]) for row in splits.train])
    able = "comments" in config.fusion.declared.may_read
    if not able or commented < _WITH_COMMENTS or config.reads_comment_blocks:
        return config
    blocks = config.blocks.model_copy(update={"comments": 1.0})
    return config.model_copy(update={"blocks": blocks})


def _with_members(config: Config, splits: Splits) -> Config:
    """The settings with the members of the effort that read what there is, and are affordable."""
    effort = EFFORTS[config.ensemble.effort]
    labels = [splits.posts.column("label")[row] for row in splits.train]
    few = len(labels) < FEW_LABELS * len(Counter(labels))
    members = effort.few if few else effort.members
    stand_ins = config.ensemble.stand_ins
    if not stand_ins:
        lent = ("concat-comments",) if config.retrieval.corpus is not None else ()
        stand_ins = (*(effort.stand_ins if _reads_both(config) and not few else ()), *lent)
    known = {name: member_config(config, name) for name in (*members, *stand_ins)}
    read = {name: member for name, member in known.items() if _is_there(config, member)}
    kept = _affordable(config, read, len(labels))
    chosen = {
        "members": tuple(name for name in members if name in kept) or (LARGE_TABLES,),
        "stand_ins": tuple(name for name in stand_ins if name in kept),
    }
    return config.model_copy(update={"ensemble": config.ensemble.model_copy(update=chosen)})


def _affordable(config: Config, members: dict[str, Config], posts: int) -> tuple[str, ...]:
    """The members that there is time for; the others are named in a warning."""
    kept = affordable(config, members, posts)
    left_out = [name for name in members if name not in kept]
    if left_out:
        logger.warning(
            "effort '%s' leaves out %s: too slow or too large for %d posts; name them in"
            " ensemble.members to have them all the same",
            *(config.ensemble.effort, ", ".join(left_out), posts),
        )
    return kept


def _is_there(config: Config, member: Config) -> bool:
    """Whether posts have what a member reads."""
    modalities = {"text", "image"}
    return set(member.fusion.declared.reads) & modalities <= set(config.inputs) and (
        member.reads_words <= config.reads_words
    )


def _refuse_unread(name: str, config: Config, member: Config) -> None:
    if _is_there(config, member):
        return
    lacking = "words" if member.reads_words and not config.reads_words else "pictures"
    raise ConfigError(
        f"ensemble.members, '{name}'",
        f"a table whose posts have {lacking}, which it reads",
        "none in train",
        "Leave the member out.",
    )
