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
from postsense.registry.inputs import INPUTS
from postsense.training.ensemble.costs import affordable

logger = logging.getLogger(__name__)
Runs = Mapping[str, tuple[Classifier, ...]]
NO_RUNS: Runs = MappingProxyType({})
LARGE_TABLES = "concat"  # the member where no other fits: it reads posts batch by batch
FEW_LABELS = 100  # of a class, on average, below which few members with firm penalties do best
_WITH_COMMENTS = 0.05  # share of posts from which a post's own comments are read
_COMMENT_BLOCKS = {"comments": 1.0}


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
    config = _with_modalities(config, splits)
    config = _with_comments(config, splits)
    names = config.ensemble.members or _members(config, splits)
    for name, classifiers in runs.items():
        _refuse_other_classes(name, classifiers[0], splits)
    named = config.model_copy(
        update={"ensemble": config.ensemble.model_copy(update={"members": tuple(names)})}
    )
    members = member_configs(named, configs_of(runs))
    if config.ensemble.members:
        for name, member in members.items():
            _refuse_unread(name, config, member)
    read = [name for name, member in members.items() if _is_there(config, member)]
    if not config.ensemble.members:
        read = _affordable(config, {name: members[name] for name in read}, len(splits.train))
        members.setdefault(LARGE_TABLES, member_config(config, LARGE_TABLES))
    ensemble = config.ensemble.model_copy(update={"members": tuple(read)})
    blocks = {
        block: 1.0
        for block, one in INPUTS.items()
        if not one.has_column
        and any(block in members[name].inputs for name in read if name not in runs)
    }
    read_blocks = config.blocks.model_copy(update=blocks)
    return config.model_copy(update={"ensemble": ensemble, "blocks": read_blocks})


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


def _with_modalities(config: Config, splits: Splits) -> Config:
    """The settings with the fusion that reads the words and pictures that there are."""
    lacking = {"concat": {"text": "image_only", "image": "text_only"}}.get(config.fusion.name, {})
    for name, other in lacking.items():
        column = name if name == "text" else config.encoders.image.declared.column
        values = splits.posts.table[column].is_valid().to_numpy(zero_copy_only=False)
        if not values[splits.train].any():
            fusion = config.fusion.model_copy(update={"name": other})
            return config.model_copy(update={"fusion": fusion})
    return config


def _with_comments(config: Config, splits: Splits) -> Config:
    """The settings with own comments read, where enough posts have some."""
    able = [name for name in _COMMENT_BLOCKS if name in config.fusion.declared.may_read]
    comments = splits.posts.column("comments")
    commented = np.mean([bool(comments[row]) for row in splits.train])
    if not able or commented < _WITH_COMMENTS or config.reads_comment_blocks:
        return config
    blocks = config.blocks.model_copy(update={name: _COMMENT_BLOCKS[name] for name in able})
    return config.model_copy(update={"blocks": blocks})


def _members(config: Config, splits: Splits) -> tuple[str, ...]:
    effort = EFFORTS[config.ensemble.effort]
    labels = [splits.posts.column("label")[row] for row in splits.train]
    lent = ("concat-comments",) if config.retrieval.corpus is not None else ()
    if len(labels) < FEW_LABELS * len(Counter(labels)):
        return (*effort.few, *lent)
    return (*effort.members, *(effort.alone if config.fusion.name == "concat" else ()), *lent)


def _affordable(config: Config, members: dict[str, Config], posts: int) -> list[str]:
    """The members that there is time for; the others are named in a warning."""
    kept = affordable(config, members, posts)
    left_out = [name for name in members if name not in kept]
    if left_out:
        logger.warning(
            "effort '%s' leaves out %s: too slow or too large for %d posts; name them in"
            " ensemble.members to have them all the same",
            *(config.ensemble.effort, ", ".join(left_out), posts),
        )
    return list(kept) or [LARGE_TABLES]


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
