"""What stands between a post and an encoder: tokenizer and picture policy of a checkpoint."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

from postsense.config import EncoderSettings
from postsense.config.encoders import Pooling
from postsense.data.images import PicturePolicy
from postsense.encoders.own_pixels import agreed_policy
from postsense.encoders.pretrained import (
    cannot_load,
    image_checkpoint,
    load_config,
    quiet_transformers,
    read_settings,
    reason_of,
)
from postsense.encoders.trials import TextTrial
from postsense.errors import EncoderError

Triple = tuple[float, float, float]

_CONVNEXT_SQUASHES_FROM = 384
_NO_END = 10**9  # tokens of a model that reads any number of them
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
_FEW = 10  # a tokenizer that knows a tenth of what the model does has not read its vocabulary
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

    def pieces(self, written: str) -> list[str | None]:
        """What a text is cut into, uncut and without special tokens; None for what is unknown."""
        ids = self.tokenizer(written, add_special_tokens=False)["input_ids"]
        pieces, unknown = self.tokenizer.convert_ids_to_tokens(ids), self.tokenizer.unk_token_id
        return [
            None if number == unknown else str(piece)
            for number, piece in zip(ids, pieces, strict=True)
        ]

    def spellings(self) -> Iterable[str]:
        """All pieces that it knows, as they are written in texts."""
        pieces = list(self.tokenizer.get_vocab())
        return (self.tokenizer.convert_tokens_to_string([piece]) for piece in pieces)

    def trial(self, pooling: Pooling) -> TextTrial:
        """What an encoder of texts that come from here is tried for, given how it is pooled."""
        (ids,) = self(["a"])
        special = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        start = tuple(takewhile(special.__contains__, ids))
        end = tuple(takewhile(special.__contains__, reversed(ids[len(start) :])))
        return TextTrial(pooling, self.max_length, start, tuple(reversed(end)), self.pad_id)


def load_tokenizer(folder: Path, max_length: int) -> Tokenizer:
    """The tokenizer of a checkpoint folder.

    Raises: EncoderError: none there, or max_length beyond what the model reads, such as 40 tokens
        of ViLT.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            positions = _positions(folder)
    except Exception as error:  # a stranger's files have transformers raise anything
        raise _cannot_read(folder, "text", "a tokenizer", error) from None
    _refuse_made_up(folder, tokenizer)
    longest = min(tokenizer.model_max_length, positions)
    if max_length > longest:
        raise EncoderError(
            "encoders.text.max_length",
            f"at most {longest} tokens, which the model reads",
            str(max_length),
            f"Set encoders.text.max_length={longest}.",
        )
    return Tokenizer(tokenizer, max_length)


def _refuse_made_up(folder: Path, tokenizer: Any) -> None:
    """transformers makes up a tokenizer that knows no word where a checkpoint has none."""
    files = [folder / name for name in _VOCABULARIES]
    spelled = not tokenizer.vocab_files_names  # characters or bytes, which need no vocabulary
    absent = not any(file.is_file() for file in files) and not any(folder.glob("*.model"))
    known = read_settings(folder / "config.json").get("vocab_size")
    unread = isinstance(known, int) and len(tokenizer) * _FEW < known
    if (absent and not spelled) or unread:
        raise EncoderError(
            "encoders.text.name",
            "a checkpoint with its tokenizer",
            f"'{folder}'{_architecture(folder)} without one",
            "Save it there too: AutoTokenizer.from_pretrained(NAME).save_pretrained(folder).",
        )


def _positions(folder: Path) -> int:
    config = load_config(folder)
    text = getattr(config, "text_config", config)
    positions = getattr(text, "max_position_embeddings", None) or _NO_END
    if positions < 0:  # XLNet says -1: its positions are relative
        return _NO_END
    offset = (text.pad_token_id or 0) + 1 if text.model_type in _OFFSET_POSITIONS else 0
    return int(positions) - offset


def _cannot_read(folder: Path, modality: str, needed: str, error: Exception) -> EncoderError:
    """The error for a checkpoint that lacks what reads a modality, mostly one of the other."""
    where, expected = f"encoders.{modality}.name", f"a checkpoint with {needed}"
    if modality == "text" and any(folder.glob("*.model")) and find_spec("sentencepiece") is None:
        found = f"'{folder}'{_architecture(folder)}, whose tokenizer needs it, and no such package"
        install = "Install it: pip install sentencepiece."
        raise EncoderError(where, "the package 'sentencepiece'", found, install)
    fix = "Name another checkpoint, or swap encoders.text and encoders.image."
    refused = cannot_load(folder, where, expected, error, fix)
    if refused.expected != expected:
        return refused
    reason = reason_of(error).split(". ")[0].rstrip(".: ")
    return EncoderError(where, expected, f"'{folder}'{_architecture(folder)}: {reason}", fix)


def _architecture(folder: Path) -> str:
    """What config.json says was saved, such as ' of BertModel'."""
    names = read_settings(folder / "config.json").get("architectures")
    return f" of {names[0]}" if isinstance(names, list) and names else ""


def chosen_policy(settings: EncoderSettings) -> PicturePolicy:
    """The picture policy of the encoder that encoders.image names. Raises: see picture_policy."""
    compared = settings.image.pixels == "checkpoint"
    return picture_policy(image_checkpoint(settings), compared=compared)


def picture_policy(folder: Path | None, *, compared: bool = True) -> PicturePolicy:
    """The picture policy of a checkpoint folder; None: the built-in encoder's.

    compared: False where models of earlier versions are to see what they were trained on: by our
    own steps, which may differ from the checkpoint's, such as DeiT's, which squashes pictures.

    Raises: EncoderError: none there, as in a checkpoint of a text model, or none that gives 3
        colours at one size.
    """
    if folder is None:
        return PicturePolicy()
    from transformers import AutoImageProcessor

    try:
        with quiet_transformers():
            processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, local_files_only=True, trust_remote_code=False, backend="pil"
            )
    except Exception as error:  # as for tokenizers
        raise _cannot_read(folder, "image", "preprocessor_config.json", error) from None
    if not compared:
        return _policy_of(processor.to_dict())
    try:
        policy = replace(_policy_of(processor.to_dict()), exact=True)
    except (LookupError, TypeError, ValueError):  # settings of another kind of processor
        policy = None
    with quiet_transformers():
        return agreed_policy(processor, policy, folder)


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
