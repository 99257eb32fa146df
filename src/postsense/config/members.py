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
    are the ensemble's unless the preset names others; a corpus lends to members that
    attend to comments.
    Raises: ConfigError: no such preset, or one that does not go together with the rest.
    """
    if name not in preset_names():
        where, expected = f"ensemble.members, '{name}'", "a preset, or the folder of a run"
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
        where, fix = f"ensemble.members, '{name}'", "Leave it out, or change the encoders."
        raise ConfigError(where, error.expected, error.found, fix) from None
    if member.declared_method.combines:
        found, fix = "an ensemble", "Name its members instead."
        raise ConfigError(f"ensemble.members, '{name}'", "a preset of one model", found, fix)
    if member.declared_method.learns_from_corpus and member.retrieval.corpus is None:
        expected, fix = (
            f"a corpus for method={member.method} to learn from",
            "Name it with --corpus.",
        )
        raise ConfigError(f"ensemble.members, '{name}'", expected, "none", fix)
    return _commented(member, config)


def member_configs(config: Config, known: Mapping[str, Config] | None = None) -> dict[str, Config]:
    """The settings of every member, by name. known: those of members that are runs."""
    known = known or {}
    names = config.ensemble.members
    return {name: known[name] if name in known else member_config(config, name) for name in names}


def is_run(name: str) -> bool:
    """Whether a member is named by the folder of a run or of a model."""
    return name not in preset_names() and Path(name).expanduser().is_dir()


def _commented(member: Config, config: Config) -> Config:
    """The settings of a member that reads the post's own comments where the ensemble does.

    One that reads a vector of the words reads one of the comments; one that counts words counts
    those of comments.
    """
    like = {"comments": "text", "comment_words": "tfidf"}
    weights = {
        name: config.blocks.weight(name)
        for name, words in like.items()
        if name in member.fusion.declared.may_read and words in member.inputs
    }
    if not any(weights.values()):
        return member
    blocks = member.blocks.model_copy(update=weights)
    comments = config.comments.model_copy(update={"own": member.comments.own})
    return member.model_copy(update={"blocks": blocks, "comments": comments})
