"""Posts prepared once for several models: those that read alike share what was read."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from postsense.config import Config, EncoderSettings, RetrievalSettings
from postsense.inputs.preparation import PreparedPosts
from postsense.registry.inputs import INPUTS


def with_readings(
    config: Config, members: Sequence[Config], prepare: Callable[[Config], PreparedPosts]
) -> PreparedPosts:
    """Posts prepared once for all members that read alike, and for each other reading of theirs.

    A post that is bad for one of them is bad for all. config: of the ensemble; without members,
    posts are prepared as it says. prepare: reads the posts by some settings.
    """
    shared = shared_reading(config, members)
    base = prepare(shared)
    readings: dict[str, PreparedPosts] = {}
    for member in members:
        if not shares_reading(shared, member) and reading_key(member) not in readings:
            readings[reading_key(member)] = prepare(member)
    if not readings:
        return base
    others = list(readings.values())
    usable = base.usable
    for one in others:
        usable = np.intersect1d(usable, one.usable)
    bad = {row.id: row for one in (base, *others) for row in one.bad}
    places = {name: place for place, name in enumerate(base.posts.column("id"))}
    ordered = tuple(sorted(bad.values(), key=lambda row: places.get(row.id, len(places))))
    hints = next((one.hints for one in (base, *others) if one.hints is not None), None)
    return replace(base, usable=usable, bad=ordered, hints=hints, readings=readings)


def shared_reading(config: Config, members: Sequence[Config]) -> Config:
    """The settings of an ensemble with every block that a member reads, and without a corpus.

    Members that a corpus lends to, or whose encoders are others, read for themselves. Encoders that
    no member has are not opened: of a model from elsewhere, nobody has compared them with those of
    its training.
    """
    if not members:
        return config
    read = {name for member in members for name in member.inputs}
    weights = {name: 1.0 for name, one in INPUTS.items() if not one.has_column and name in read}
    blocks = config.blocks.model_copy(update=weights)
    known = any(member.encoders == config.encoders for member in members)
    encoders = config.encoders if known else EncoderSettings()
    update = {"blocks": blocks, "encoders": encoders, "retrieval": RetrievalSettings()}
    return config.model_copy(update=update)


def read_as(prepared: PreparedPosts, config: Config) -> PreparedPosts:
    """The posts as these settings read them. Raises: KeyError: they were not prepared for them.

    Training finds the weight of the picture that a corpus is searched with, and names it in the
    settings that it keeps: posts that were prepared to find it are meant by them too.
    """
    retrieval = config.retrieval.model_copy(update={"alpha": None})
    before = config.model_copy(update={"retrieval": retrieval})
    for asked in (config, before):
        found = prepared.readings.get(reading_key(asked))
        if found is not None:
            return found
    return prepared.only(config)


def shares_reading(config: Config, member: Config) -> bool:
    """Whether a member finds all it reads in posts that are prepared by other settings."""
    fusion = member.fusion.declared
    return (
        member.encoders == config.encoders
        and member.data == config.data
        and not (fusion.sequences or fusion.encodes or member.reads_comments)
        and set(member.inputs) <= set(config.inputs)
        and (member.comments == config.comments or not member.reads_own_comments)
    )


def reading_key(config: Config) -> str:
    """Names all that decides how posts are read."""
    fusion, lends = config.fusion.declared, config.borrows_comments or config.asks_corpus
    parts = {
        "encoders": config.encoders.model_dump(mode="json"),
        "data": config.data.model_dump(mode="json"),
        "inputs": config.inputs,
        "sequences": fusion.sequences,
        "encodes": fusion.encodes,
        "raw_regions": fusion.raw_regions,
        "comments": config.comments.model_dump(mode="json") if config.reads_own_comments else None,
        "lent": [config.retrieval.model_dump(mode="json"), config.comments.model_dump(mode="json")]
        if lends
        else None,
        "learns_from_corpus": config.declared_method.learns_from_corpus,
    }
    return json.dumps(parts, sort_keys=True)
