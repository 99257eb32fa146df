"""Frozen encoders: a text or a picture → its features.

On the CPU they are the same to the bit whatever batch a post is in: under ONNX Runtime, and under
torch, which takes over where an export fails or is slower and is given one post at a time. What
computes in bfloat16 always runs in torch; see `precision`.
"""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from postsense.arrays import Array
from postsense.config import EncoderSettings
from postsense.config.encoders import Pooling
from postsense.data.images import decode_picture, normalize_pixels
from postsense.encoders.backbone import (
    ImageBackbone,
    TextBackbone,
    load_image_backbone,
    load_text_backbone,
)
from postsense.encoders.embeddings import pool
from postsense.encoders.features import Encoded
from postsense.encoders.network_names import image_network, text_network
from postsense.encoders.onnx import export_session, run_session
from postsense.encoders.open_stores import OpenStores
from postsense.encoders.precision import Runner, bf16_runner, settled_precision
from postsense.encoders.pretrained import (
    BUILTIN,
    cache_folder,
    image_checkpoint,
    reason_of,
    text_checkpoint,
)
from postsense.encoders.processors import Tokenizer, chosen_policy, load_tokenizer
from postsense.encoders.reading import TextReader
from postsense.encoders.shards import keeping
from postsense.encoders.trials import made_up_texts
from postsense.errors import EncoderError
from postsense.files.atomic import write_json

logger = logging.getLogger(__name__)


class FrozenTextEncoder:
    """Texts → features, through ONNX Runtime on the CPU or torch on a GPU.

    stores: those that features are kept in; None: such as are opened for each use.
    """

    def __init__(
        self, settings: EncoderSettings, device: torch.device, stores: OpenStores | None = None
    ) -> None:
        settings = settled_precision(settings, device)
        self.settings, self.device, self.cache = settings.text, device, cache_folder(settings)
        self.stores = stores
        self.folder = text_checkpoint(settings)
        self.batch_size = 16 if device.type == "cpu" else 256
        self._loading = Lock()  # cached_property has none, and threads share the encoder

    @cached_property
    def key(self) -> str:
        """Names all that decides the features: weights, layers, precision, pooling, text policy.

        A prefix is not named: it is part of the text, by which features are found again.
        The number of layers that tokens are read from is named from two on, so that what was kept
        before there was a choice is found.
        """
        chosen = self.settings
        parts = [self._network, chosen.pooling, str(chosen.max_length), chosen.normalize]
        return "-".join(parts)

    @cached_property
    def _network(self) -> str:
        return text_network(self.settings, self.folder)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Texts to token ids."""
        return load_tokenizer(self.folder, self.settings.max_length)

    def check(self) -> None:
        """Try the encoder out, unless an earlier command has found it sound.

        Raises: EncoderError: it cannot be opened, or what it gives means nothing.
        """
        if not (self.settings.name == BUILTIN or _found_sound(self.cache, self.key)):
            self._load()
            _remember_sound(self.cache, self.key)

    def _load(self) -> TextBackbone:
        chosen = self.settings
        trial = partial(self.tokenizer.trial, chosen.pooling)
        return load_text_backbone(self.folder, chosen.layers, chosen.read_layers, trial)

    @cached_property
    def reader(self) -> TextReader:
        """Texts as people wrote them to texts as the tokenizer is given them."""
        return TextReader(self.settings, lambda: self.tokenizer)

    @cached_property
    def _runner(self) -> Runner:
        backbone = self._load()
        short = backbone.habits is not None and backbone.habits.shortest > 1
        if not short:
            backbone.habits = None  # since texts of a batch are equally long
        if self.settings.precision == "bf16":
            trials = _batches(backbone, self.batch_size, self.settings.max_length)
            return bf16_runner(backbone, trials, self.device, "encoders.text")
        if short:
            return _torch_runner(backbone, self.device)  # short texts are not exported
        axes = {0: "batch", 1: "length"}
        file = self.cache / "onnx" / f"{self._network}.onnx"
        ids, one = self._examples(backbone)
        masked = ([ids, torch.ones_like(ids)], [one, torch.ones_like(one)])
        return _runner(backbone, *masked, [axes, axes], file, self.device)

    def _examples(self, backbone: TextBackbone) -> tuple[Tensor, Tensor]:
        """Ids to export with, and one text to compare by: not as many, nor as long."""
        if self.settings.name != BUILTIN:
            return made_up_texts(backbone.model, 4), made_up_texts(backbone.model, 7)[:1]
        texts = ["two short texts", "of equal length"]
        ids = torch.tensor([row[:4] for row in self.tokenizer(texts)])
        return ids, ids[:1]

    def encode(self, ids: Sequence[Sequence[int]]) -> list[Encoded]:
        """Features of texts given as equally many token ids each."""
        array = np.array(ids, dtype=np.int64)
        with self._loading:
            runner = self._runner
        tokens, cls = runner([array, np.ones_like(array)])
        return _encoded(tokens, cls, self.settings.pooling)


class FrozenImageEncoder:
    """Picture files → features, through ONNX Runtime on the CPU or torch on a GPU.

    stores: as of texts.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        device: torch.device,
        truncated: Literal["refuse", "use"] = "refuse",
        stores: OpenStores | None = None,
    ) -> None:
        settings = settled_precision(settings, device)
        self.settings, self.device, self.cache = settings.image, device, cache_folder(settings)
        self.stores = stores
        self.folder = image_checkpoint(settings)
        self.policy = replace(chosen_policy(settings), truncated=truncated)
        self.batch_size = 1 if device.type == "cpu" else 64
        self._loading = Lock()

    @cached_property
    def key(self) -> str:
        """Names all that decides the features: weights, layers, precision, pooling, policy."""
        return "-".join([self._network, self.settings.pooling, self.policy.key])

    @cached_property
    def _network(self) -> str:
        return image_network(self.settings, self.folder)

    def check(self) -> None:
        """Try the encoder out, unless an earlier command has found it sound.

        Raises: EncoderError: it cannot be opened, or what it gives means nothing.
        """
        if not (self.folder is None or _found_sound(self.cache, self.key)):
            self._load()
            _remember_sound(self.cache, self.key)

    def _load(self) -> ImageBackbone:
        chosen, policy = self.settings, self.policy
        return load_image_backbone(
            self.folder, chosen.layers, chosen.pooling, lambda: policy.size_px
        )

    @cached_property
    def _runner(self) -> Runner:
        backbone = self._load()
        generator = torch.Generator().manual_seed(0)
        height, width = self.policy.size_px
        pixels = torch.randn((2, 3, height, width), generator=generator)
        if self.settings.precision == "bf16":
            return bf16_runner(backbone, [[pixels[:1]]], self.device, "encoders.image")
        size = f"{width}" if height == width else f"{height}x{width}"
        file = self.cache / "onnx" / f"{self._network}-{size}.onnx"
        return _runner(backbone, [pixels], [pixels[:1]], [{0: "batch"}], file, self.device)

    def prepare(self, data: bytes, name: str) -> Array:
        """The pixels (3, H, W) of a picture file. Raises: PictureError: not usable."""
        return normalize_pixels(decode_picture(data, name, self.policy), self.policy)

    def encode(self, pixels: Sequence[Array]) -> list[Encoded]:
        """Features of pictures given as their pixels."""
        with self._loading:
            runner = self._runner
        regions, cls = runner([np.stack(pixels)])
        return _encoded(regions, cls, self.settings.pooling)


def _batches(backbone: TextBackbone, size: int, longest: int) -> list[list[Tensor]]:
    """Texts of two lengths, as many as go through the network together."""
    lengths = (min(7, longest), min(20, longest))
    given = [made_up_texts(backbone.model, length).repeat(size // 2, 1) for length in lengths]
    return [[ids, torch.ones_like(ids)] for ids in given]


def _encoded(tokens: Array, cls: Array, pooling: Pooling) -> list[Encoded]:
    """tokens: (B, T, L * D), of which the last D, the width of cls, are pooled."""
    if pooling == "cls":
        return [Encoded(vector, states) for vector, states in zip(cls, tokens, strict=True)]
    states = torch.from_numpy(tokens)[..., -cls.shape[-1] :]
    pooled = pool(states, torch.ones(states.shape[:2], dtype=torch.bool), pooling).numpy()
    return [Encoded(vector, row) for vector, row in zip(pooled, tokens, strict=True)]


def _found_sound(cache: Path, key: str) -> bool:
    return _sound_file(cache, key).is_file()


def _remember_sound(cache: Path, key: str) -> None:
    with suppress(OSError):  # of a folder that may only be read: it is tried again next time
        write_json(_sound_file(cache, key), {"sound": True})


def _sound_file(cache: Path, key: str) -> Path:
    return cache / "tried" / f"{key}.json"


def _runner(
    backbone: nn.Module,
    example: Sequence[Tensor],
    one: Sequence[Tensor],
    dynamic: Sequence[dict[int, str]],
    file: Path,
    device: torch.device,
) -> Runner:
    """ONNX Runtime where it gives what torch gives, and faster; measured once and remembered.

    example: inputs to export with. one: inputs of another size, to compare by.
    """
    plain = _torch_runner(backbone.eval().requires_grad_(False).to(device), device)
    choice = file.with_suffix(".json")
    if device.type != "cpu" or (choice.is_file() and _remembered(choice) == "torch"):
        return plain
    try:
        session = export_session(backbone, example, dynamic, file)
    except EncoderError:
        raise
    except Exception as error:  # the exporter and ONNX Runtime raise types of their own
        return _stay(plain, choice, reason_of(error))

    def exported(inputs: Sequence[Array]) -> list[Array]:
        return run_session(session, inputs)

    if not choice.is_file():
        given = [tensor.numpy() for tensor in one]
        try:
            agrees = _same_results(exported(given), plain(given))
        except Exception as error:
            return _stay(plain, choice, f"its export fails, {reason_of(error)}")
        if not agrees:
            logger.warning("'%s' stays in torch: its export gives other results", file.stem)
        faster = agrees and _seconds(exported, given) <= _seconds(plain, given)
        with keeping(file.parent):
            write_json(choice, {"runtime": "onnxruntime" if faster else "torch"})
    return exported if _remembered(choice) == "onnxruntime" else plain


def _stay(plain: Runner, choice: Path, reason: str) -> Runner:
    """Run in torch from now on, and say why."""
    logger.warning("'%s' stays in torch: %s", choice.stem, reason)
    with keeping(choice.parent):
        write_json(choice, {"runtime": "torch"})
    return plain


def _torch_runner(backbone: nn.Module, device: torch.device) -> Runner:
    def run(inputs: Sequence[Array]) -> list[Array]:
        with torch.inference_mode():
            outputs = backbone(*[torch.from_numpy(array).to(device) for array in inputs])
        return [output.float().cpu().numpy() for output in outputs]

    def run_one_by_one(inputs: Sequence[Array]) -> list[Array]:
        """How products are summed depends on how many there are, so each post is on its own."""
        rows = range(len(inputs[0]))
        results = [run([array[row : row + 1] for array in inputs]) for row in rows]
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    return run_one_by_one if device.type == "cpu" else run


def _same_results(outputs: Sequence[Array], references: Sequence[Array]) -> bool:
    """Whether no output is further than a thousandth of its reference's norm from it."""
    return all(
        output.shape == reference.shape
        and np.linalg.norm(output - reference) <= 1e-3 * np.linalg.norm(reference)
        for output, reference in zip(outputs, references, strict=True)
    )


def _seconds(runner: Runner, inputs: Sequence[Array], repeats: int = 5) -> float:
    """The fastest of some runs, after one that does not count, with one thread a run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(repeats + 1):
            start = perf_counter()
            runner(inputs)
            times.append(perf_counter() - start)
        return min(times[1:])
    finally:
        torch.set_num_threads(threads)


def _remembered(choice: Path) -> str:
    try:
        return str(json.loads(choice.read_text(encoding="utf-8"))["runtime"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "onnxruntime"
