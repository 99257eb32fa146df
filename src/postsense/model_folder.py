"""A classifier on disk: safetensors, JSON and, for encoders inside it, their tokenizer files.

model.json          format, version, classes, widths, settings, checksums
weights.safetensors everything that runs inside the model, and the feature statistics
text_encoder/       config and tokenizer of an encoder inside it that is not built in
image_encoder/      config and picture policy, likewise
"""

import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from postsense import __version__
from postsense.atomic import replacing, write_json
from postsense.build import build_model, load_encoders
from postsense.classifier import Classifier
from postsense.config import Config, EncoderSettings
from postsense.config_loading import parse_config
from postsense.encoders.frozen import FrozenTextEncoder
from postsense.encoders.pretrained import (
    BUILTIN,
    fingerprint_folder,
    image_checkpoint,
    text_checkpoint,
)
from postsense.encoders.regions import image_key
from postsense.errors import ConfigError, ModelError
from postsense.fusion.cluster_head import ClusterNames
from postsense.inputs import pick_device, reads_image, reads_text
from postsense.model import PostModel
from postsense.training.checkpoint import save_tensors

FORMAT = 1
WEIGHTS = "weights.safetensors"
_KEYS = {
    *("format", "classes", "text_dim", "image_dim"),
    *("frozen", "weights_sha256", "own", "config"),
}
_ANEW = "Train again, or copy the folder again from its source."


def save_model(classifier: Classifier, folder: Path) -> None:
    """Write the classifier to folder, which appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    building.mkdir()
    try:
        save_tensors(building / WEIGHTS, classifier.model.state_dict())
        settings = classifier.config.encoders
        config = classifier.config
        if reads_text(config) and settings.text.runs_inside and settings.text.name != BUILTIN:
            _copy_texts(text_checkpoint(settings), building / "text_encoder")
        if reads_image(config) and settings.image.runs_inside and settings.image.name != BUILTIN:
            _copy_texts(image_checkpoint(settings), building / "image_encoder")
        write_json(building / "model.json", _description(classifier, building))
        if folder.exists():
            shutil.rmtree(folder)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def load_model(folder: Path) -> Classifier:
    """The classifier in folder; never asks the network.

    Raises: ModelError: missing, damaged, of another format, or its frozen encoder has changed.
    """
    description = _read_description(folder)
    config = _config(folder, description)
    _verify_weights(folder, description["weights_sha256"])
    _verify_own(folder, description["own"])
    encoders = load_encoders(
        config, description["text_dim"], description["image_dim"], pretrained=False
    )
    classes = tuple(description["classes"])
    model = build_model(config, encoders, len(classes), description.get("clusters"))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(folder / WEIGHTS, "weights of this model", reason, _ANEW) from None
    _verify_frozen(folder, config, description["frozen"])
    return Classifier(config, classes, model.eval())


def _description(classifier: Classifier, folder: Path) -> dict[str, Any]:
    model = classifier.model
    return {
        "format": FORMAT,
        "postsense": __version__,
        "classes": list(classifier.classes),
        "clusters": _clusters(model),
        "text_dim": None if model.text is None else model.text.encoded_dim,
        "image_dim": None if model.image is None else model.image.encoded_dim,
        "frozen": _frozen_keys(classifier.config),
        "weights_sha256": _sha256(folder / WEIGHTS),
        "own": _own_keys(folder),
        "config": classifier.config.model_dump(mode="json"),
    }


def _clusters(model: PostModel) -> int | None:
    """How many clusters the classes are names of, None for a model that learned the classes."""
    names = [part for part in model.head.modules() if isinstance(part, ClusterNames)]
    return len(names[0].belongs) if names else None


def _read_description(folder: Path) -> dict[str, Any]:
    file = folder / "model.json"
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            folder, "a model folder", "no model.json in it", "Check the path."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(file, "JSON in UTF-8", str(error), _ANEW) from None
    found = description if isinstance(description, dict) else {}
    if found.get("format", FORMAT) != FORMAT:
        raise ModelError(
            file,
            f"format {FORMAT}",
            f"format {found['format']}",
            f"Use the postsense that wrote it ({found.get('postsense')}), or train again.",
        )
    missing = sorted(_KEYS - set(found))
    if missing:
        raise ModelError(file, f"the keys {sorted(_KEYS)}", f"no {missing}", _ANEW)
    return found


def _config(folder: Path, description: dict[str, Any]) -> Config:
    try:
        config = parse_config(description["config"])
    except ConfigError as error:
        raise ModelError(
            folder / "model.json", "settings of this version", error.found, _ANEW
        ) from None
    return config.model_copy(update={"encoders": _own_encoders(folder, config.encoders)})


def _own_encoders(folder: Path, settings: EncoderSettings) -> EncoderSettings:
    """The settings with the names of encoders inside it pointing into the model folder."""
    own: dict[str, Any] = {}
    for part in ("text", "image"):
        inside = folder / f"{part}_encoder"
        if inside.is_dir():
            chosen = getattr(settings, part)
            own[part] = chosen.model_copy(update={"name": str(inside.resolve())})
    return settings.model_copy(update=own)


def _verify_weights(folder: Path, expected: str) -> None:
    file = folder / WEIGHTS
    if not file.is_file():
        raise ModelError(file, "the model's weights", "no such file", _ANEW)
    found = _sha256(file)
    if found != expected:
        raise ModelError(file, f"SHA-256 {expected}", found, f"The file is damaged. {_ANEW}")


def _verify_own(folder: Path, expected: dict[str, str]) -> None:
    if _own_keys(folder) != expected:
        raise ModelError(
            folder,
            f"the files of its trained encoders, {expected}",
            f"{_own_keys(folder)}",
            f"The files are damaged. {_ANEW}",
        )


def _own_keys(folder: Path) -> dict[str, str]:
    """A hash of the configuration and tokenizer of each encoder inside the model."""
    parts = {part: folder / f"{part}_encoder" for part in ("text", "image")}
    return {part: fingerprint_folder(inside) for part, inside in parts.items() if inside.is_dir()}


def _verify_frozen(folder: Path, config: Config, expected: dict[str, str]) -> None:
    for part, found in _frozen_keys(config).items():
        if found != expected.get(part):
            raise ModelError(
                f"{folder}, {part} encoder",
                f"'{expected.get(part)}'",
                f"'{found}'",
                "The frozen encoder has changed since training. Put the old one back.",
            )


def _frozen_keys(config: Config) -> dict[str, str]:
    keys, device, settings = {}, pick_device(config.training), config.encoders
    if reads_text(config) and not settings.text.runs_inside:
        keys["text"] = FrozenTextEncoder(settings, device).key
    if reads_image(config) and not settings.image.runs_inside:
        keys["image"] = image_key(settings, device)
    return keys


def _copy_texts(source: Path | None, target: Path) -> None:
    target.mkdir()
    for file in sorted(source.iterdir()) if source is not None else []:
        if file.suffix in {".json", ".txt", ".model", ".codes"}:
            with replacing(target / file.name) as temporary:
                shutil.copyfile(file, temporary)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
