"""Networks just opened, tried on made-up inputs: does what they give depend on those alone?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from postsense.config.encoders import Pooling
from postsense.encoders.embeddings import pool
from postsense.encoders.pretrained import quiet_transformers, reason_of
from postsense.errors import EncoderError

# Of the norm. Of 240 architectures most differ by rounding, up to 1e-6, between a text that is
# padded and one that is not; those that read their padding differ by 8e-4 or more.
_ROUNDING = 3e-5
_SHORTEST = (1, 2, 3, 4, 6, 8, 12, 16)
_PADDED_BY = (13, 5)  # tokens that texts are padded by, at most: the second if the first fail
_ANOTHER = "Name another checkpoint."

Network = Callable[..., tuple[Tensor, Tensor]]  # inputs → (tokens or regions, class vector)


@dataclass(frozen=True)
class TextTrial:
    """What a text encoder is opened for: how its states are pooled, and of which texts.

    longest: tokens of the longest text. start, end: ids of the special tokens around every text.
    padding: id of the token that stands for nothing.
    """

    pooling: Pooling = "mean"
    longest: int = 16
    start: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    padding: int = 0


@dataclass(frozen=True)
class TextHabits:
    """How a network reads. shortest: the fewest tokens that it can read. width: D of its states.

    compresses: it gives fewer states than it reads tokens. reads_padding: what a text gets depends
    on masked tokens behind it.
    """

    shortest: int
    width: int
    compresses: bool
    reads_padding: bool


@contextmanager
def trying(network: nn.Module) -> Iterator[None]:
    """Without gradients, in eval mode, and with torch's random numbers left where they were."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[]), quiet_transformers():
            yield
    finally:
        network.train(training)


def habits_of(network: Network, model: nn.Module, trial: TextTrial) -> TextHabits:
    """How a network reads texts. network: ids and mask, each (B, T), to what model gives of them.

    Raises: EncoderError: it cannot read them.
    """
    shortest = _shortest(network, model, trial)
    for longer in _PADDED_BY:
        try:
            return _habits(network, model, trial, shortest, longer)
        except Exception as error:  # of a network that reads no more tokens than a few
            failed = reason_of(error)
    raise _unreadable(model, failed)


def _shortest(network: Network, model: nn.Module, trial: TextTrial) -> int:
    reason = "no state for each token"
    for length in _SHORTEST:
        ids = _texts(model.config, trial, length, 1)
        try:
            tokens, cls = network(ids, torch.ones_like(ids))
        except Exception as error:  # what was written for other inputs raises anything
            reason = reason_of(error)
            continue
        if tokens.ndim == 3 and cls.ndim == 2 and len(tokens) == len(cls) == 1:
            return length
    raise _unreadable(model, reason)


def _unreadable(model: nn.Module, reason: str) -> EncoderError:
    expected = "a network that reads the tokens of a text and gives a state for each"
    found = f"'{type(model).__name__}', which does not: {reason}"
    return EncoderError("encoders.text.name", expected, found, _ANOTHER)


def _habits(
    network: Network, model: nn.Module, trial: TextTrial, shortest: int, longer: int
) -> TextHabits:
    """Look at texts of some lengths, each alone and beside one that is longer."""
    lengths = [shortest + 1, shortest + 2, shortest + 3, shortest + longer]
    padding = getattr(model.config, "pad_token_id", None) or 0
    ids = torch.full((len(lengths), lengths[-1]), padding)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = _texts(model.config, trial, length, len(lengths))[row]
        mask[row, :length] = 1
    tokens, cls = network(ids, mask)
    width, compresses = int(cls.shape[-1]), tokens.shape[1] != ids.shape[1]
    reads_padding = False
    for row, length in enumerate(() if compresses or ids.is_meta else lengths):
        alone, alone_cls = network(ids[row : row + 1, :length], mask[row : row + 1, :length])
        same = _alike(tokens[row : row + 1, :length], alone)
        reads_padding |= not (same and _alike(cls[row : row + 1], alone_cls))
    return TextHabits(shortest, width, compresses, reads_padding)


def made_up_texts(model: nn.Module, length: int) -> Tensor:
    """Ids of two texts that begin alike and then differ, (2, length) int64."""
    return _texts(model.config, TextTrial(), length)


def _texts(config: Any, trial: TextTrial, length: int, count: int = 2) -> Tensor:
    """Ids of texts with the same first word and others behind it, (count, length) int64.

    Words are from the middle of the vocabulary, where it has no special tokens.
    """
    words = int(getattr(_text_part(config), "vocab_size", None) or 256)
    first, kinds = int(0.4 * words), max(2, int(0.2 * words))
    spread = 1 + 7 * torch.arange(length)
    ids = first + (spread + torch.arange(count)[:, None] * (spread > 1)) % kinds
    start, end = (list(part) for part in (trial.start, trial.end))
    ids[:, : len(start)] = torch.tensor(start[:length], dtype=torch.int64)
    ids[:, max(0, length - len(end)) :] = torch.tensor(end[-length:], dtype=torch.int64)
    return ids


def _text_part(config: Any) -> Any:
    part = getattr(config, "text_config", None)
    return config if part is None or isinstance(part, dict) else part


def refuse_meaningless_texts(network: Network, model: nn.Module, trial: TextTrial) -> None:
    """Refuse a network whose features of a text are random, no numbers or those of any text.

    Raises: EncoderError.
    """

    def features(texts: Tensor) -> Tensor:
        try:
            tokens, cls = network(texts, torch.ones_like(texts))
        except Exception as error:
            raise _too_long(texts.shape[1], reason_of(error)) from None
        return _pooled(tokens, cls, trial.pooling)

    frame = len(trial.start) + len(trial.end)
    long = _texts(model.config, trial, max(trial.longest, frame + 2))
    short = _texts(model.config, trial, min(frame + 3, long.shape[1]))
    before = features(long[:1])  # before a short one, which may change how the network attends
    _refuse_meaningless(features(short[:1]), features(short), "text", model, trial.pooling)
    _refuse_meaningless(before, features(long), "text", model, trial.pooling)


def refuse_meaningless_pictures(
    network: Network, model: nn.Module, size_px: tuple[int, int], pooling: Pooling
) -> None:
    """Likewise of a picture. size_px: height and width of all pictures.

    Raises: EncoderError.
    """
    pixels = torch.randn((2, 3, *size_px), generator=torch.Generator().manual_seed(0))

    def features(pictures: Tensor) -> Tensor:
        try:
            regions, cls = network(pictures)
        except Exception as error:
            size = f"{size_px[0]} x {size_px[1]} pixels"
            expected = (
                f"a network that reads colour pictures of {size}, as its processor makes them"
            )
            found = f"'{type(model).__name__}', which does not: {reason_of(error)}"
            raise EncoderError("encoders.image.name", expected, found, _ANOTHER) from None
        if pooling == "cls" and not _has_class_token(model, regions, size_px):
            raise _no_class_token("image", f"'{type(model).__name__}'")
        return _pooled(regions, cls, pooling)

    _refuse_meaningless(features(pixels[:1]), features(pixels), "image", model, pooling)


def _has_class_token(model: nn.Module, regions: Tensor, size_px: tuple[int, int]) -> bool:
    """Whether there are more states than patches, or a head in place of such a token.

    Networks that join patches have fewer states.
    """
    if getattr(model, "use_head", False):  # SigLIP: a learned query asks all regions
        return True
    patch = getattr(model.config, "patch_size", None)
    if patch is None:
        return False
    height, width = (patch, patch) if isinstance(patch, int) else tuple(patch)[-2:]
    return regions.shape[1] > int(size_px[0] // height) * int(size_px[1] // width)


def _pooled(states: Tensor, cls: Tensor, pooling: Pooling) -> Tensor:
    """(B, D) of states (B, T, L * D), of which the last D, the width of cls, are pooled."""
    if pooling == "cls":
        return cls
    last = states[..., -cls.shape[-1] :]
    return pool(last, torch.ones(last.shape[:2], dtype=torch.bool), pooling)


def _refuse_meaningless(
    alone: Tensor, both: Tensor, modality: str, model: nn.Module, pooling: Pooling
) -> None:
    """alone: (1, D), of a first input. both: (2, D), of it beside a second one."""
    found: str | None = None
    if not (alone.isfinite().all() and both.isfinite().all()):
        found = "some that are infinite or not a number"
    elif not both.half().any():
        found = "zeros"
    elif not _alike(both[:1], alone):
        found = "others each time"
    elif _alike(both[1:], both[:1]):
        if pooling == "cls":
            raise _no_class_token(
                modality, f"'{type(model).__name__}', whose first state is always the same"
            )
        found = "the same of two inputs that differ"
    if found is not None:
        where, kind = f"encoders.{modality}.name", "text" if modality == "text" else "picture"
        expected = f"features of a {kind} that depend on it, and on nothing else"
        raise EncoderError(where, expected, f"{found} from '{type(model).__name__}'", _ANOTHER)


def _alike(values: Tensor, references: Tensor) -> bool:
    """Whether they are equal up to rounding; what is not a number is not."""
    return bool((values - references).norm() <= _ROUNDING * references.norm())


def refuse_without_class_token(model: nn.Module, trial: TextTrial) -> None:
    """Refuse to take the first state for a text's where its tokenizer puts nothing in front.

    Raises: EncoderError.
    """
    if trial.pooling == "cls" and not trial.start:
        raise _no_class_token("text", f"'{type(model).__name__}' and a tokenizer that puts none")


def _no_class_token(modality: str, found: str) -> EncoderError:
    where = f"encoders.{modality}.pooling"
    return EncoderError(
        where, "for 'cls' a network with a class token", found, f"Set {where}=mean."
    )


def _too_long(length: int, reason: str) -> EncoderError:
    where, expected = "encoders.text.max_length", "a length of texts that the encoder reads"
    return EncoderError(where, expected, f"{length}, at which it fails: {reason}", "Lower it.")
