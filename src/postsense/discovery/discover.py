"""Posts without labels → a run folder of named groups, and a classifier that finds them again.

config.json, run.json, bad_rows.jsonl   as in every run; bad rows are posts that cannot be read
groups.json            what each group is: names, size, words, pictures, typical posts
groups.parquet         the group of each post
index.html             all that to be looked at
seed-N/model/          the classifier, whose classes are the groups' names
seed-N/metrics.json    how it was trained, and which cluster is which group
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from postsense import __version__
from postsense.arrays import Array
from postsense.config import Config
from postsense.data.bad_rows import BadRow
from postsense.data.seen import Seen
from postsense.discovery.groups import Group, GroupedPosts, describe_groups, order_by_size
from postsense.discovery.naming import (
    LabelVote,
    default_names,
    joined_names,
    names_by_labels,
    parse_names,
    unnamed,
)
from postsense.discovery.page import jinja_module
from postsense.discovery.requirements import refuse_alike, refuse_lacking, refuse_unfit
from postsense.discovery.words import words_of
from postsense.discovery.writing import read_names, write_groups
from postsense.encoders.features import FeatureColumn
from postsense.encoders.unread import warn_of_unread
from postsense.errors import ModelError, RunError
from postsense.inputs.preparation import PreparedPosts, prepare_posts, what_pictures_show
from postsense.model.cluster_head import ClusterNames
from postsense.model.post_model import Branch
from postsense.parallel.processes import is_main, main_first
from postsense.posts import Posts
from postsense.prediction.classifier import Classifier, predict_prepared
from postsense.prediction.inference import predict_logits
from postsense.progress import Progress, silent
from postsense.runs.fitting import Claim, TrainedSeed, started, train_once
from postsense.runs.folder import ANEW, as_started, fingerprint_unlabeled, read_json
from postsense.saving.folder import load_model, save_model
from postsense.saving.places import from_root
from postsense.training.clusters import need_packages
from postsense.training.labeled import TrainingData, labeled_phase, new_model
from postsense.training.loop import run_phase
from postsense.training.methods.cluster_pseudo_labels import Renewing

_MODEL = "model/model.json"  # which naming writes anew, and may be stopped at it
SETTINGS = (  # where the presets of ITRp say otherwise
    "clustering.subset=20000",  # clusters of one subset are not those of another
    "clustering.sampling=random",
    "losses.label_smoothing=0.1",  # else all are sure and no post is more typical than others
    "training.epochs=10",
    "training.batch_size=16",
    "training.learning_rate=0.003",
    "training.schedule=linear",
)


@dataclass(frozen=True)
class Discovery:
    """What was found. groups: largest first. vote: of the labels, None if none were asked for."""

    folder: Path
    groups: list[Group]
    posts: int
    bad: tuple[BadRow, ...]
    vote: LabelVote | None


def discover(
    posts: Posts,
    config: Config,
    folder: Path,
    *,
    names: Sequence[str] = (),
    labels: Sequence[str | None] | None = None,
    progress: Progress = silent,
) -> Discovery:
    """Find config.clustering.clusters groups of posts and write them to folder.

    A run that is there is not trained again: its groups get the names that are given and keep
    those that they have. Groups of one name become one.

    Args:
        config: of method 'cluster_pseudo_labels', over frozen encoders.
        names: `number=name` each.
        labels: (N,) of the few posts that have one; each group without a name of its own, from
            now or before, takes its commonest.
    Raises: ConfigError: settings that are not for this, a wrong name. DataError: fewer different
        posts than groups, none with words or none with a picture. RunError: the folder holds a
        run with other settings or other posts, or other files. BusyError: another command
        writes to it. CorpusError: a package is missing.
    """
    refuse_unfit(config)
    need_packages(config.clustering)
    jinja_module()
    config = as_started(folder, from_root(config))
    given = parse_names(names, config.clustering.clusters)
    fingerprint = fingerprint_unlabeled(posts)
    claim = Claim(folder, "discover", config, fingerprint, partial(_describe, fingerprint))
    with started(config, partial(_prepare, posts, config, progress), claim) as start:
        seed, prepared = folder / f"seed-{config.seed}", start.prepared
        train = partial(_train_seed, prepared, config, progress)
        report = train_once(seed, train, _read_report, finished_by=("metrics.json", _MODEL))
        with main_first():
            return _name(folder, seed, report["order"], prepared, given, labels)


def _prepare(posts: Posts, config: Config, progress: Progress) -> PreparedPosts:
    """Encode the posts. Raises: DataError: they are not fit to be grouped."""
    if is_main():
        warn_of_unread(posts, config.encoders)
    prepared = prepare_posts(posts, config, progress)
    refuse_alike(prepared, config.clustering.clusters)
    refuse_lacking(prepared, _learned_from(prepared.usable, config.clustering.subset, config.seed))
    return prepared


def _describe(fingerprint: str, prepared: PreparedPosts) -> dict[str, Any]:
    """What run.json says of the posts."""
    return {
        "postsense": __version__,
        "posts": {"train": len(prepared.usable), "val": 0, "test": 0},
        "fingerprint": fingerprint,
    }


def _train_seed(
    prepared: PreparedPosts, config: Config, progress: Progress, checkpoints: Path
) -> TrainedSeed:
    """Train the classifier, whose classes are the groups by their numbers, largest first."""
    clusters = config.clustering.clusters
    data = TrainingData(
        train=prepared.dataset(
            _learned_from(prepared.usable, config.clustering.subset, config.seed)
        ),
        val=prepared.dataset(prepared.usable[:0]),
        classes=tuple(default_names(clusters).values()),
        ids=prepared.posts.column("id"),
    )
    classifier, report = _train(data, config, checkpoints, progress)
    nothing = prepared.content_keys[:0]
    grouped = prepared.content_keys[data.train.rows]
    seen = Seen.of(trained=nothing, selected=nothing, grouped=grouped, tested=nothing)
    classifier = replace(classifier, seen=seen)
    in_order = _named(classifier, default_names(clusters), range(clusters))
    numbers = predict_prepared([in_order], prepared, prepared.usable).probs.argmax(axis=1)
    return TrainedSeed(in_order, {**report, "order": order_by_size(numbers, clusters)})


def _train(
    data: TrainingData, config: Config, folder: Path, progress: Progress
) -> tuple[Classifier, dict[str, Any]]:
    """A classifier that tells the clusters, and its report.

    Deviation from ITRp: posts are clustered once. Over frozen encoders they would fall into the
    same clusters again, and a classifier that always begins anew would not come to know them.
    """
    model = new_model(data, config)
    renewal = Renewing(data.train, config)(model, 0)
    phase = replace(labeled_phase("train", data, config), train=renewal.train)
    state = run_phase(phase, model, folder, progress)
    said = predict_logits(model, renewal.train).argmax(axis=1)
    assert renewal.train.labels is not None
    report = {
        "seed": config.seed,
        "epochs": state.epoch,
        "history": state.history,
        **renewal.record,
        "agreement": float((said == renewal.train.labels).mean()),
    }
    model.head = nn.Sequential(model.head)
    return Classifier(config, data.classes, model), report


def _name(
    folder: Path,
    seed: Path,
    order: Sequence[int],
    prepared: PreparedPosts,
    given: Mapping[int, str],
    labels: Sequence[str | None] | None,
) -> Discovery:
    """Name the groups, in the classifier as on the page.

    order: the cluster of each group, by its number less one.
    """
    classifier = load_model(seed / "model")
    assert isinstance(classifier, Classifier)
    before = classifier.classes, _belongs(classifier)
    names, vote = {**default_names(len(order)), **read_names(folder, len(order)), **given}, None
    chosen = None if labels is None else [labels[row] for row in prepared.usable.tolist()]
    if chosen is not None:
        apart = _named(classifier, default_names(len(order)), order)
        vote = names_by_labels(_numbers(apart, prepared), chosen)
        free = (set(unnamed(names)) & set(vote.names)) - set(given)
        names |= {number: vote.names[number] for number in free}
    named = _named(classifier, names, order)
    if chosen is not None and named.seen is not None:  # their labels have named the groups
        rows = prepared.usable[[label is not None for label in chosen]]
        asked = np.concatenate([named.seen.selected, prepared.content_keys[rows]])
        named = replace(named, seen=replace(named.seen, selected=np.unique(asked)))
    if (named.classes, _belongs(named)) != before:
        save_model(named, seed / "model", in_run=True)
    everything = np.arange(len(prepared.posts))
    predictions = predict_prepared([named], prepared, everything)
    grouped = _grouped(named, prepared, predictions.probs[prepared.usable], chosen)
    members = joined_names(names)
    groups = describe_groups(grouped, named.classes, [members[name] for name in named.classes])
    usable = prepared.posts.take(prepared.usable)
    write_groups(folder, usable, grouped, groups, predictions, vote)
    return Discovery(folder, groups, len(prepared.posts), prepared.bad, vote)


def _read_report(file: Path) -> dict[str, Any]:
    """How it was trained, and which cluster is which group. Raises: RunError: damaged."""
    report = read_json(file, order=list[int])
    order: list[int] = report["order"]
    if sorted(order) != list(range(len(order))):
        raise RunError(file, "each cluster once in 'order'", f"{order[:9]}", ANEW)
    return report


def _named(classifier: Classifier, names: Mapping[int, str], order: Sequence[int]) -> Classifier:
    """The classifier with names for classes; probabilities of groups with one name add up.

    names: by number of the group. order: the cluster of each group, by its number less one.
    """
    joined = joined_names(names)
    belongs = torch.empty(len(order), dtype=torch.int64)
    for place, members in enumerate(joined.values()):
        for number in members:
            belongs[order[number - 1]] = place
    head = classifier.model.head
    assert isinstance(head, nn.Sequential)
    classifier.model.head = nn.Sequential(head[0], ClusterNames(belongs, len(joined)))
    return replace(classifier, classes=tuple(joined))


def _belongs(classifier: Classifier) -> list[int]:
    """The class number of each cluster."""
    head = classifier.model.head
    if not (isinstance(head, nn.Sequential) and isinstance(head[1], ClusterNames)):
        raise ModelError("model", "one whose classes are names of clusters", "another", ANEW)
    return [int(number) for number in head[1].belongs.tolist()]


def _numbers(apart: Classifier, prepared: PreparedPosts) -> Array:
    """(n,) the group of each usable post, from 1, while each has a name of its own."""
    names = {name: number for number, name in default_names(len(apart.classes)).items()}
    found = predict_prepared([apart], prepared, prepared.usable).names
    return np.array([names[label] for label in found if label is not None])


def _grouped(
    named: Classifier, prepared: PreparedPosts, probs: Array, labels: Sequence[str | None] | None
) -> GroupedPosts:
    """What is known of the usable posts."""
    usable, texts, ids = prepared.usable, *(prepared.posts.column(n) for n in ("text", "id"))
    return GroupedPosts(
        ids=[ids[row] for row in usable.tolist()],
        probs=probs,
        vectors=_vectors(prepared, named.model.text, named.model.image),
        contents=prepared.contents[usable],
        words=[words_of(texts[row]) for row in usable.tolist()],
        shows=what_pictures_show(prepared, usable, named.config),
        labels=labels,
    )


def _vectors(prepared: PreparedPosts, text: Branch | None, image: Branch | None) -> Array:
    """Standardised features (n, D) of words and pictures, each as long as the other on average."""
    parts = []
    for name, branch in (("text", text), ("image", image)):
        column = prepared.columns.get(name)
        assert branch is not None and isinstance(column, FeatureColumn)
        rows = column.rows[prepared.usable]
        mean, deviation = branch.mean.cpu().numpy(), branch.deviation.cpu().numpy()
        pooled = (column.store.pooled(rows) - mean) / deviation
        pooled[rows < 0] = 0.0
        parts.append(pooled / np.sqrt(pooled.shape[1], dtype=np.float32))
    return np.concatenate(parts, axis=1)


def _learned_from(usable: Array, limit: int, seed: int) -> Array:
    """The posts that are clustered: all, or as many as the settings allow, drawn by the seed."""
    if len(usable) <= limit:
        return usable
    generator = np.random.default_rng([seed, limit])
    return np.sort(generator.choice(usable, limit, replace=False))
