"""Where what a model needs beside its folder is on this machine: frozen encoders and a corpus.

A model remembers where they were and what they were. What is there now is opened only if it is the
same; a corpus that its user names may be another.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from postsense.config import Config, EncoderSettings
from postsense.config.members import is_run
from postsense.corpus.manifest import read_manifest
from postsense.encoders.frozen import FrozenTextEncoder
from postsense.encoders.precision import settled_precision
from postsense.encoders.pretrained import BUILTIN, checkpoint_folder, fingerprint_folder
from postsense.encoders.regions import REGIONS, image_key
from postsense.errors import ConfigError, CorpusError, EncoderError, ModelError
from postsense.parallel.device import pick_device
from postsense.saving.description import Description
from postsense.saving.files import ANEW, ENCODERS

Part = Literal["text", "image"]
PARTS: tuple[Part, ...] = ("text", "image")
_FINGERPRINT = re.compile(r"(?:text|image)-([0-9a-f]{32})-")
_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)


def from_root(config: Config) -> Config:
    """The settings with local folders named from the root, so that they are found from anywhere.

    A precision of 'auto' becomes what it is here, so that it is the same elsewhere.
    """
    encoders: dict[str, Any] = {}
    settled = settled_precision(config.encoders, pick_device(config.training))
    for part in PARTS:
        chosen = getattr(settled, part)
        folder = Path(chosen.name).expanduser()
        if not _comes_along(chosen.name, part) and folder.is_dir():
            encoders[part] = chosen.model_copy(update={"name": str(folder.resolve())})
    corpus, start = config.retrieval.corpus, config.training.start_from
    retrieval = {} if corpus is None else {"corpus": corpus.expanduser().resolve()}
    members = {
        key: tuple(_rooted(name) for name in getattr(config.ensemble, key))
        for key in ("members", "stand_ins")
    }
    training = {} if start is None else {"start_from": start.expanduser().resolve()}
    return config.model_copy(
        update={
            "encoders": settled.model_copy(update=encoders),
            "retrieval": config.retrieval.model_copy(update=retrieval),
            "training": config.training.model_copy(update=training),
            "ensemble": config.ensemble.model_copy(update=members),
        }
    )


def _rooted(member: str) -> str:
    """The name of a member, from the root if it is the folder of a run."""
    return str(Path(member).expanduser().resolve()) if is_run(member) else member


def _comes_along(name: str, part: Part) -> bool:
    """Whether an encoder is no folder of its own: it is built in, or the table has its features."""
    return name == BUILTIN or (part == "image" and name == REGIONS)


def frozen_keys(config: Config) -> dict[str, str]:
    """What each encoder that is read, and is not inside the model, is now."""
    keys, device, settings = {}, pick_device(config.training), config.encoders
    if config.reads_words and not settings.text.runs_inside:
        keys["text"] = FrozenTextEncoder(settings, device).key
    if config.reads_picture and not settings.image.runs_inside:
        keys["image"] = image_key(settings, device)
    return keys


def corpus_id(config: Config) -> str | None:
    """The id of the corpus that lends comments; None without one, or if it is not there."""
    if not config.borrows_comments:
        return None
    assert config.retrieval.corpus is not None
    try:
        return read_manifest(config.retrieval.corpus).id
    except CorpusError:
        return None


def found_encoders(
    folder: Path, description: Description, config: Config, named: Collection[str]
) -> Config:
    """The settings with each encoder where it is now: in the model folder, or beside it.

    named: of "text" and "image" those whose place the user has named.
    Raises: ModelError: one is missing, or is another than in training. ConfigError: one is named
        that lies in the model folder.
    """
    settings = config.encoders
    for part in read_parts(config):
        chosen = getattr(settings, part)
        if chosen.runs_inside:
            settings = _from_inside(folder, settings, part, named)
        elif not _comes_along(chosen.name, part):
            _refuse_elsewhere(folder, settings, part, description.frozen)
    found = config.model_copy(update={"encoders": settings})
    for name, key in frozen_keys(found).items():
        if key != description.frozen.get(name):
            raise _other(folder, name, description.frozen.get(name), key)
    return found


def found_corpus(folder: Path, description: Description, config: Config, *, named: bool) -> None:
    """Refuse a corpus that is not where it was in training, unless the user has named it.

    Raises: ModelError: there is none, or another than in training.
    """
    corpus = config.retrieval.corpus
    if named or corpus is None or not config.borrows_comments:
        return
    expected = f"the corpus of its training where it was, '{corpus}'"
    fix = "Name its folder with --corpus, or corpus= in Python."
    if not _is_local(str(corpus)):
        raise ModelError(f"{folder}, corpus", expected, "no place on this machine", fix)
    try:
        found = read_manifest(corpus).id
    except CorpusError as error:
        raise ModelError(f"{folder}, corpus", expected, error.found, fix) from None
    if description.corpus not in (None, found):
        raise ModelError(f"{folder}, corpus", expected, "another corpus there", fix)


def read_parts(config: Config) -> list[Part]:
    """The modalities that the model reads."""
    reads = {"text": config.reads_words, "image": config.reads_picture}
    return [part for part in PARTS if reads[part]]


def _from_inside(
    folder: Path, settings: EncoderSettings, part: Part, named: Collection[str]
) -> EncoderSettings:
    """The settings with the name of an encoder inside the model pointing into its folder."""
    chosen, key = getattr(settings, part), f"encoders.{part}.name"
    if part in named:
        expected = f"no encoder to name: the model holds its {part} encoder"
        raise ConfigError(f"{folder}, {key}", expected, f"'{chosen.name}'", "Leave it out.")
    if chosen.name == BUILTIN:
        return settings
    inside = folder / ENCODERS[part]
    if not inside.is_dir():
        raise ModelError(inside, f"the texts of its {part} encoder", "no such folder", ANEW)
    own = chosen.model_copy(update={"name": str(inside.resolve())})
    return settings.model_copy(update={part: own})


def _refuse_elsewhere(
    folder: Path, settings: EncoderSettings, part: Part, frozen: Mapping[str, str]
) -> None:
    """Refuse an encoder by its fingerprint before anything in its folder is opened as one."""
    name, where = getattr(settings, part).name, f"{folder}, {part} encoder"
    match = _FINGERPRINT.match(frozen.get(part, ""))
    expected = f"the frozen encoder of its training, of fingerprint {match[1] if match else '?'}"
    fix = f"Name its folder with --set encoders.{part}.name=FOLDER"
    place = Path(name).expanduser()
    if _is_local(name) and (place / "config.json").is_file():
        key = f"{part}-{fingerprint_folder(place)}-"
        if match is None or not frozen[part].startswith(key):
            raise _other(folder, part, frozen.get(part), f"{key}...")
        return
    if not _HUB_NAME.fullmatch(name) or ".." in name:
        found = f"'{name}', where no checkpoint is" if _is_local(name) else f"'{name}', no path"
        raise ModelError(where, expected, found, f"{fix}.")
    try:
        checkpoint_folder(name, where, settings.allow_download)
    except EncoderError:
        found = f"'{name}', which is not in the local Hugging Face cache"
        more = ", or allow the download with --set encoders.allow_download=true."
        if settings.allow_download:
            found, more = f"{found} and not to be had from the hub", "."
        raise ModelError(where, expected, found, fix + more) from None


def _is_local(path: str) -> bool:
    """Whether a path names nothing on another machine, as Windows would fetch it from."""
    return not path.replace("\\", "/").startswith("//") and "\0" not in path


def _other(folder: Path, part: str, expected: str | None, found: str) -> ModelError:
    return ModelError(
        f"{folder}, {part} encoder",
        f"'{expected}'",
        f"'{found}'",
        "The frozen encoder has changed since training. Put the old one back, or name its folder"
        f" with --set encoders.{part}.name=FOLDER.",
    )
