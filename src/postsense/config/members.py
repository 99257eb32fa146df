"""The members of an ensemble by name → the settings that each is trained by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from postsense.config.loading import merge, parse_said, preset_names, preset_settings
from postsense.config.run import Config
from postsense.errors import ConfigError, nearest
from postsense.registry.methods import METHODS

_OF_ALL = {"seed", "data", "encoders"}  # what members have from the ensemble


def member_config(config: Config, name: str) -> Config:
    """The settings of a member: those of the preset, on posts that are read as the ensemble's.

    One that puts words and picture side by side reads one of them where the ensemble does. Encoders
    are the ensemble's unless the preset names others; a corpus lends to members that attend to
    comments.
    Raises: ConfigError: no such preset, or one that does not go together with the rest.
    """
    where, expected = f"ensemble.members, '{name}'", "a preset, or the folder of a run"
    if name not in preset_names():
        raise ConfigError(where, expected, "neither", nearest(name, preset_names()))
    shared: dict[str, Any] = config.model_dump(mode="python", include=_OF_ALL)
    preset = preset_settings(name)
    method = METHODS[str(preset.get("method", "supervised"))]
    if "comments" in preset or method.learns_from_corpus:
        shared["retrieval"] = config.retrieval.model_dump(mode="python")
    merge(shared, preset)
    fusion = {"name": "concat", **shared.get("fusion", {})}
    if fusion["name"] == "concat":  # of words and picture, what there is
        merge(shared, {"fusion": {"name": config.fusion.name}})
    try:
        member = parse_said(shared, ())
    except ConfigError as error:
        fix = "Leave it out, or change the encoders."
        raise ConfigError(where, error.expected, error.found, fix) from None
    if member.declared_method.combines:
        found, fix = "an ensemble", "Name its members instead."
        raise ConfigError(where, "a preset of one model", found, fix)
    if member.declared_method.learns_from_corpus and member.retrieval.corpus is None:
        expected = f"a corpus for method={member.method} to learn from"
        raise ConfigError(where, expected, "none", "Name it with --corpus.")
    return _commented(member, config)


def member_configs(config: Config, known: Mapping[str, Config] | None = None) -> dict[str, Config]:
    """The settings of every member, by name. known: those of members that are runs."""
    known = known or {}
    names = config.ensemble.all_members
    return {name: known[name] if name in known else member_config(config, name) for name in names}


def is_run(name: str) -> bool:
    """Whether a member is named by the folder of a run or of a model."""
    return name not in preset_names() and Path(name).expanduser().is_dir()


def _commented(member: Config, config: Config) -> Config:
    """The settings of a member, which reads a vector of comments where the ensemble does.

    That is beside a vector of the words, as wide as which it is.
    """
    weight = config.blocks.weight("comments")
    reads = "comments" in member.fusion.declared.may_read and "text" in member.inputs
    if weight == 0 or not reads:
        return member
    blocks = member.blocks.model_copy(update={"comments": weight})
    comments = config.comments.model_copy(update={"own": member.comments.own})
    return member.model_copy(update={"blocks": blocks, "comments": comments})
