"""What stands between a post and an encoder: tokenizer and picture policy of a checkpoint."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from postsense.data.images import PicturePolicy
from postsense.encoders.pretrained import quiet_transformers
from postsense.errors import EncoderError

Triple = tuple[float, float, float]

_CONVNEXT_SQUASHES_FROM = 384
_OFFSET_POSITIONS = {  # they count positions from the id of padding on
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


class Tokenizer:
    """Texts → token ids with special tokens, cut at max_length. Safe to share between threads."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length

    @property
    def pad_id(self) -> int:
        """The id that fills a row up; it is always masked."""
        return int(self.tokenizer.pad_token_id or 0)

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        if not texts:
            return []
        rows = self.tokenizer(
            list(texts), truncation=True, max_length=self.max_length, padding=False
        )
        ids: list[list[int]] = rows["input_ids"]
        return ids


def load_tokenizer(folder: Path, max_length: int) -> Tokenizer:
    """The tokenizer of a checkpoint folder.

    Raises: EncoderError: none there, or max_length beyond what the model reads, such as 40 tokens
        of ViLT.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_read(folder, "text", "a tokenizer", error) from None
    _refuse_made_up(folder)
    longest = min(tokenizer.model_max_length, _positions(folder))
    if max_length > longest:
        raise EncoderError(
            "encoders.text.max_length",
            f"at most {longest} tokens, which the model reads",
            str(max_length),
            f"Set encoders.text.max_length={longest}.",
        )
    return Tokenizer(tokenizer, max_length)


def _refuse_made_up(folder: Path) -> None:
    """transformers makes up a tokenizer that knows no word where a checkpoint has none."""
    files = [folder / name for name in _VOCABULARIES]
    if not any(file.is_file() for file in files) and not any(folder.glob("*.model")):
        raise EncoderError(
            "encoders.text.name",
            "a checkpoint with its tokenizer",
            f"'{folder}'{_architecture(folder)} without one",
            "Save it there too: AutoTokenizer.from_pretrained(NAME).save_pretrained(folder).",
        )


def _positions(folder: Path) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    text = getattr(config, "text_config", config)
    positions = getattr(text, "max_position_embeddings", None) or 10**9
    offset = (text.pad_token_id or 0) + 1 if text.model_type in _OFFSET_POSITIONS else 0
    return int(positions) - offset


def _cannot_read(folder: Path, modality: str, needed: str, error: Exception) -> EncoderError:
    """The error for a checkpoint that lacks what reads a modality, mostly one of the other."""
    reason = str(error).strip().splitlines()[0].split(". ")[0].rstrip(".: ")
    return EncoderError(
        f"encoders.{modality}.name",
        f"a checkpoint with {needed}",
        f"'{folder}'{_architecture(folder)}: {reason}",
        "Name another checkpoint, or swap encoders.text and encoders.image.",
    )


def _architecture(folder: Path) -> str:
    """What config.json says was saved, such as ' of BertModel'."""
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
        return f" of {names[0]}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def picture_policy(folder: Path | None) -> PicturePolicy:
    """The picture policy of a checkpoint folder; None: the built-in encoder's.

    Deviation: pictures of a batch have one size, so that no post's result depends on the others'.
    ViLT's processor keeps the shape of a picture and pads; here its centre is cut out as a square.
    Where a processor squashes a picture before it crops, as DeiT's does but DeiT's authors did not,
    the shape is kept.

    Raises: EncoderError: none there, as in a checkpoint of a text model.
    """
    if folder is None:
        return PicturePolicy()
    from transformers import AutoImageProcessor

    try:
        with quiet_transformers():
            processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, local_files_only=True
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _cannot_read(folder, "image", "preprocessor_config.json", error) from None
    return _policy_of(processor.to_dict())


def _policy_of(settings: Mapping[str, Any]) -> PicturePolicy:
    size, crop = dict(settings.get("size") or {}), dict(settings.get("crop_size") or {})
    shorter = size.get("shortest_edge")
    cropped = bool(settings.get("do_center_crop")) and bool(crop)
    target = int(crop["height"] if cropped else shorter or size.get("height") or 224)
    resized = int(shorter or size.get("height") or target)
    squash = shorter is None and not cropped
    share = settings.get("crop_pct")  # ConvNeXt: what the crop keeps of a small picture's side
    if share and target < _CONVNEXT_SQUASHES_FROM:
        resized = int(target / share)
    resample, (mean, std) = settings.get("resample"), _scaling(settings)
    return PicturePolicy(
        resize_px=resized,
        crop_px=target,
        squash=squash or bool(share and target >= _CONVNEXT_SQUASHES_FROM),
        resample=_RESAMPLE.get(2 if resample is None else int(resample), "bilinear"),  # type: ignore[arg-type]
        mean=mean,
        std=std,
    )


def _scaling(settings: Mapping[str, Any]) -> tuple[Triple, Triple]:
    """mean and std for pixels in [0, 1] that do all that a processor does to the numbers.

    EfficientNet's may shift pixels to [-1, 1] first, and divides by its std twice (include_top).
    """
    factor = 255 * float(settings.get("rescale_factor") or 1 / 255)
    shift = 1.0 if settings.get("rescale_offset") else 0.0
    normalized = settings.get("do_normalize", True)
    means = (settings.get("image_mean") if normalized else None) or (0.0, 0.0, 0.0)
    stds = settings.get("image_std") or (1.0, 1.0, 1.0)
    divisions = bool(normalized) + bool(settings.get("include_top"))
    red, green, blue = (
        ((mean + shift) / factor, std**divisions / factor)
        for mean, std in zip(means, stds, strict=True)
    )
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])
