"""What stands between a post and an encoder: tokenizer and picture policy of a checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from postsense.data.images import PicturePolicy
from postsense.encoders.pretrained import quiet_transformers
from postsense.errors import EncoderError

_CONVNEXT_SQUASHES_FROM = 384
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

    Raises: EncoderError: none there, or max_length beyond what the model reads.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EncoderError("encoders.text.name", "a checkpoint with a tokenizer", reason) from None
    longest = min(tokenizer.model_max_length, _positions(folder))
    if max_length > longest:
        raise EncoderError(
            "encoders.text.max_length",
            f"at most {longest} tokens, which the model reads",
            str(max_length),
            f"Set encoders.text.max_length={longest}.",
        )
    return Tokenizer(tokenizer, max_length)


def _positions(folder: Path) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    text = getattr(config, "text_config", config)
    positions = getattr(text, "max_position_embeddings", None) or 10**9
    offset = (text.pad_token_id or 0) + 1 if text.model_type in _OFFSET_POSITIONS else 0
    return int(positions) - offset


_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert"}  # count positions from the pad id on


def picture_policy(folder: Path | None) -> PicturePolicy:
    """The picture policy of a checkpoint folder; None: the built-in encoder's."""
    if folder is None:
        return PicturePolicy()
    from transformers import AutoImageProcessor

    try:
        with quiet_transformers():
            processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, local_files_only=True
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EncoderError(
            "encoders.image.name", "a checkpoint with preprocessor_config.json", reason
        ) from None
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
    resample, normalized = settings.get("resample"), settings.get("do_normalize", True)
    return PicturePolicy(
        resize_px=resized,
        crop_px=target,
        squash=squash or bool(share and target >= _CONVNEXT_SQUASHES_FROM),
        resample=_RESAMPLE.get(2 if resample is None else int(resample), "bilinear"),  # type: ignore[arg-type]
        mean=_triple(settings.get("image_mean"), 0.0) if normalized else (0.0, 0.0, 0.0),
        std=_triple(settings.get("image_std"), 1.0) if normalized else (1.0, 1.0, 1.0),
    )


def _triple(values: Any, default: float) -> tuple[float, float, float]:
    red, green, blue = values if values is not None else (default, default, default)
    return float(red), float(green), float(blue)
