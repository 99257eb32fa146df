"""A classifier on disk: safetensors, JSON and, for encoders inside it, their tokenizer files.

model.json          format, version, classes and what they stand for, widths, settings, checksums
seen.safetensors    hashes of the posts that training saw
weights.safetensors everything that runs inside the model, and the feature statistics
text_encoder/       config and tokenizer of an encoder inside it that is not built in
image_encoder/      config and picture policy, likewise
"""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from postsense import __version__
from postsense.config import Config
from postsense.config.loading import parse_kept
from postsense.config.local import NO_LOCAL_SETTINGS, LocalSettings, without_machine
from postsense.encoders.backbone import TextBackbone
from postsense.encoders.pretrained import BUILTIN, image_checkpoint, text_checkpoint
from postsense.errors import ConfigError, ModelError
from postsense.files.atomic import replacing, replacing_folder, whole_folder, write_json
from postsense.files.tensors import save_tensors
from postsense.model.build import build_model, load_encoders
from postsense.model.cluster_head import ClusterNames
from postsense.model.post_model import PostModel
from postsense.prediction.classifier import AnyClassifier, Classifier
from postsense.prediction.ensemble import Ensemble
from postsense.saving.description import (
    FORMAT,
    Description,
    digest_of,
    has_members,
    read_description,
    read_raw,
)
from postsense.saving.ensemble import joined_ensemble, read_ensemble, write_ensemble
from postsense.saving.files import (
    ANEW,
    COPIED,
    DESCRIPTION,
    ENCODERS,
    WEIGHTS,
    file_hashes,
    folder_to_write,
    own_keys,
    sha256,
)
from postsense.saving.own_encoders import refuse_large_settings, refuse_useless_encoders
from postsense.saving.places import (
    corpus_id,
    found_corpus,
    found_encoders,
    frozen_keys,
    read_parts,
)
from postsense.saving.seen import read_seen, write_seen
from postsense.saving.weights import load_weights, refuse_infinite


def save_model(classifier: AnyClassifier, folder: Path, *, in_run: bool = False) -> None:
    """Write the classifier to folder, which appears whole or not at all.

    in_run: the folder is a run's own.
    Raises: ModelError: there is something in the folder that is no model's, or it is no place for
        one; weights that are not finite.
    """
    target = folder_to_write(folder, in_run=in_run)
    with replacing_folder(target) as building:
        if isinstance(classifier, Ensemble):
            write_ensemble(classifier, building, _save_member)
        else:
            assert isinstance(classifier, Classifier)
            _write_model(classifier, building)


def _save_member(classifier: Classifier, folder: Path) -> None:
    folder.mkdir()
    _write_model(classifier, folder)


def _write_model(classifier: Classifier, folder: Path) -> None:
    weights = classifier.model.state_dict()
    refuse_infinite("the trained model", weights)
    save_tensors(folder / WEIGHTS, weights)
    settings = classifier.config.encoders
    for part in read_parts(classifier.config):
        chosen = getattr(settings, part)
        if chosen.runs_inside and chosen.name != BUILTIN:
            source = text_checkpoint if part == "text" else image_checkpoint
            _copy_texts(source(settings), folder / ENCODERS[part])
    if classifier.seen is not None:
        write_seen(classifier.seen, folder)
    description = _description(classifier, folder)
    write_json(folder / DESCRIPTION, {**description, "sha256": digest_of(description)})


def load_model(folder: Path, local: LocalSettings = NO_LOCAL_SETTINGS) -> AnyClassifier:
    """The classifier in folder; never asks the network, unless the local settings allow it.

    local: settings of whoever loads it. What is of the machine is theirs, never the model's.
    Raises: ModelError: missing, damaged, of another format, or a frozen encoder is gone or has
        changed. ConfigError: local settings that would change the model.
    """
    while True:
        before = _identity(folder)
        try:
            return _load(whole_folder(folder), local)
        except ModelError:
            if _identity(folder) == before:
                raise  # else another process has replaced it in between


def _load(folder: Path, local: LocalSettings) -> AnyClassifier:
    found = read_raw(folder)
    if has_members(found):
        described = read_ensemble(folder, found)
        return joined_ensemble(
            folder,
            described,
            lambda settings: local.over(_parsed(folder, settings)),
            lambda place: _load_model(place, local),
        )
    return _load_model(folder, local)


def _load_model(folder: Path, local: LocalSettings) -> Classifier:
    description = read_description(folder)
    config = local.over(_parsed(folder, description.config))
    config = found_encoders(folder, description, config, local.encoders)
    found_corpus(folder, description, config, named="retrieval.corpus" in local.values)
    refuse_large_settings(folder)
    model = load_weights(folder, partial(_build, config, description))
    for part in model.modules():
        if isinstance(part, TextBackbone) and part.habits is not None:
            part.learn_habits(part.trial)  # those of its own weights, not of the random ones before
    refuse_useless_encoders(folder, description, config, model)
    seen = read_seen(folder, description)
    return Classifier(config, description.classes, model, description.label_kind, seen)


def _build(config: Config, description: Description) -> PostModel:
    encoders = load_encoders(config, description.text_dim, description.image_dim, pretrained=False)
    return build_model(config, encoders, len(description.classes), description.clusters)


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another that has taken its place; None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _description(classifier: Classifier, folder: Path) -> dict[str, Any]:
    model, config = classifier.model, classifier.config
    return {
        "format": FORMAT,
        "postsense": __version__,
        "classes": list(classifier.classes),
        "label_kind": classifier.label_kind,
        "clusters": _clusters(model),
        "text_dim": None if model.text is None else model.text.encoded_dim,
        "image_dim": None if model.image is None else model.image.encoded_dim,
        "frozen": frozen_keys(config),
        "corpus": corpus_id(config),
        "weights_sha256": sha256(folder / WEIGHTS),
        "own": own_keys(folder),
        "files": file_hashes(folder),
        "config": without_machine(config.model_dump(mode="json")),
    }


def _clusters(model: PostModel) -> int | None:
    """How many clusters the classes are names of, None for a model that learned the classes."""
    names = [part for part in model.head.modules() if isinstance(part, ClusterNames)]
    return len(names[0].belongs) if names else None


def _parsed(folder: Path, settings: Mapping[str, Any]) -> Config:
    """The settings that made the model; what was of the machine that trained it is not read."""
    try:
        return parse_kept(without_machine(settings))
    except ConfigError as error:
        raise ModelError(
            folder / DESCRIPTION, "settings of this version", error.found, ANEW
        ) from None


def _copy_texts(source: Path | None, target: Path) -> None:
    target.mkdir()
    for file in sorted(source.iterdir()) if source is not None else []:
        if file.suffix in COPIED:
            with replacing(target / file.name) as temporary:
                shutil.copyfile(file, temporary)
