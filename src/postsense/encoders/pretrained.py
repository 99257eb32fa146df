"""Finding and loading pretrained checkpoints: built-in, local folder or Hugging Face name."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from postsense.config import EncoderSettings
from postsense.encoders import builtin
from postsense.errors import EncoderError

BUILTIN = "builtin"
PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.codes"]
_SETTINGS = (
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
_FILLED = ("siglip", "siglip2", "siglip_text_model", "siglip2_text_model")
_WANTS_CODE = ("custom code", "not recognize this architecture", "Unrecognized")


def checkpoint_folder(name: str, where: str, allow_download: bool) -> Path:
    """The local folder of a checkpoint; the hub is asked only if allow_download.

    Raises: EncoderError: no such folder, not in the local Hugging Face cache, no safetensors.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _cached_snapshot(name, where, allow_download)
    if not (folder / "config.json").is_file():
        raise _no_checkpoint(folder, where)
    return folder.resolve()


def _no_checkpoint(folder: Path, where: str) -> EncoderError:
    return EncoderError(
        where,
        "a checkpoint with config.json and *.safetensors",
        f"'{folder}' with {sorted(item.name for item in folder.iterdir())[:8]}",
        "Save model, tokenizer and image processor there with save_pretrained; pickled weights are"
        " never read.",
    )


def text_checkpoint(settings: EncoderSettings) -> Path:
    """The checkpoint folder that encoders.text names."""
    if settings.text.name == BUILTIN:
        return builtin.text_folder()
    return checkpoint_folder(settings.text.name, "encoders.text.name", settings.allow_download)


def image_checkpoint(settings: EncoderSettings) -> Path | None:
    """The checkpoint folder that encoders.image names, None for the built-in encoder."""
    if settings.image.name == BUILTIN:
        return None
    return checkpoint_folder(settings.image.name, "encoders.image.name", settings.allow_download)


def cache_folder(settings: EncoderSettings) -> Path:
    """Where features and exported encoders are kept."""
    return settings.cache_folder


def _cached_snapshot(name: str, where: str, allow_download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = snapshot_download(name, local_files_only=not allow_download, allow_patterns=PATTERNS)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        places = f"'{BUILTIN}', a local folder or a Hugging Face model in the local cache"
        fix = "Check the name, or allow the download with --set encoders.allow_download=true."
        if allow_download:
            places, fix = f"{places} or on the hub", "Check the name, and that the hub is reached."
        raise EncoderError(where, places, f"'{name}'", fix) from None
    return Path(path)


def fingerprint_folder(folder: Path) -> str:
    """A hash of everything in a checkpoint folder that decides what the encoder returns."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(folder.iterdir()):
        if file.suffix in {".json", ".safetensors", ".txt", ".model", ".codes"}:
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the loading report and progress bar of transformers while a checkpoint loads."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def load_model(folder: Path, where: str, *, pretrained: bool = True) -> nn.Module:
    """The checkpoint's bare model in float32 and eval mode; not pretrained: random weights.

    Raises: EncoderError: transformers cannot load it, or it has no safetensors or not all weights.
    """
    if pretrained and not any(folder.glob("*.safetensors")):
        raise _no_checkpoint(folder, where)
    try:
        with quiet_transformers():
            return _load(folder, where, pretrained=pretrained).eval()
    except EncoderError:
        raise
    except Exception as error:  # a stranger's settings have transformers raise anything
        raise cannot_load(folder, where, "a checkpoint that transformers can load", error) from None


def cannot_load(
    folder: Path, where: str, expected: str, error: Exception, fix: str = ""
) -> EncoderError:
    """The error for a part of a checkpoint that transformers refuses, maybe for want of its code.

    fix: what helps where it is not that the checkpoint comes with code.
    """
    asking = _asks_for_its_code(folder)
    if asking is None or not any(words in str(error) for words in _WANTS_CODE):
        return EncoderError(where, expected, f"'{folder}': {reason_of(error)}", fix)
    return EncoderError(
        where,
        "a checkpoint of an architecture that transformers knows",
        f"'{folder}', whose '{asking}' asks for its own code",
        "The code of a checkpoint is never run. Name another checkpoint.",
    )


def reason_of(error: Exception) -> str:
    """The first line of what another library says went wrong, to be quoted within a line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".: ")


def _asks_for_its_code(folder: Path) -> str | None:
    """The first settings file of a checkpoint that names Python files, None if none does."""
    for name in _SETTINGS:
        file = folder / name
        if file.is_file() and b'"auto_map"' in file.read_bytes():
            return name
    return None


def read_settings(file: Path) -> dict[str, Any]:
    """What a JSON file of a checkpoint says; {} where there is none, or it says nothing."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def load_config(folder: Path) -> Any:
    """The checkpoint's configuration, as transformers reads it. Raises: whatever it raises."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _load(folder: Path, where: str, *, pretrained: bool) -> nn.Module:
    from transformers import AutoModel

    if pretrained:
        model: nn.Module
        model, report = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        _refuse_missing(folder, where, report["missing_keys"])
        return model
    empty: nn.Module = AutoModel.from_config(  # type: ignore[no-untyped-call]
        load_config(folder), trust_remote_code=False, dtype=torch.float32
    )
    return empty


def _refuse_missing(folder: Path, where: str, names: Iterable[str]) -> None:
    """transformers makes up weights that a checkpoint lacks; we never use a pooler on top."""
    missing = sorted(name for name in names if not name.startswith("pooler."))
    if missing:
        raise EncoderError(
            where,
            "a checkpoint with all weights of its model",
            f"'{folder}' without {len(missing)} of them, such as '{missing[0]}'",
            "Save the whole model with model.save_pretrained(folder).",
        )


def keep_layers(model: nn.Module, layers: int | None, where: str) -> None:
    """Cut the transformer layers after the first `layers` out of model, in place.

    Raises: EncoderError: the model has no layer list, or fewer layers.
    """
    if layers is None:
        return
    found = _layer_list(model)
    if found is None:
        raise EncoderError(
            where,
            "a transformer with a list of layers",
            f"'{type(model).__name__}' without one",
            "Leave 'layers' unset for this encoder.",
        )
    parent, name, stack = found
    if layers > len(stack):
        raise EncoderError(where, f"layers <= {len(stack)}", str(layers))
    setattr(parent, name, nn.ModuleList(list(stack)[:layers]))


def _layer_list(model: nn.Module) -> tuple[nn.Module, str, nn.ModuleList] | None:
    depth = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                return parent, name, child
    return None


def dual_part(model: nn.Module, part: str) -> nn.Module | None:
    """The text or vision model of a dual model (CLIP, SigLIP, ...), None for other models.

    part: "text_model" or "vision_model", which FLAVA calls image_model.
    """
    text: nn.Module | None = getattr(model, "text_model", None)
    vision: nn.Module | None = getattr(model, "vision_model", getattr(model, "image_model", None))
    if text is None or vision is None:
        return None
    return text if part == "text_model" else vision


def hides_patches(folder: Path) -> bool:
    """Whether a checkpoint is a masked autoencoder, which hides patches of a picture at random."""
    return has_masks(read_settings(folder / "config.json"))


def has_masks(settings: Mapping[str, Any]) -> bool:
    """The same by what the configuration says."""
    return bool(settings.get("mask_ratio")) and "decoder_hidden_size" in settings


def fills_positions(model_type: str) -> bool:
    """Whether texts are read in all positions of a network, padding included, as SigLIP's are."""
    return model_type in _FILLED


def pools_with_head(folder: Path) -> bool:
    """Whether a checkpoint has a learned query in place of a class token of pictures: SigLIP."""
    settings = read_settings(folder / "config.json")
    part = settings.get("vision_config", settings)
    siglip = settings.get("model_type") in ("siglip", "siglip_vision_model")
    return siglip and isinstance(part, Mapping) and bool(part.get("vision_use_head", True))


def wrong_modality(where: str, wanted: str, model: nn.Module) -> EncoderError:
    """The error for, say, a text model named as picture encoder."""
    return EncoderError(
        where,
        f"a model that reads {wanted}",
        f"'{type(model).__name__}', which does not",
        "Name another checkpoint, or swap encoders.text and encoders.image.",
    )
