"""Frozen encoders: a text or a picture → its features.

Under ONNX Runtime they are the same to the bit whatever batch a post is in; torch, which takes over
where an export fails or is slower, rounds in an order that depends on the batch (about 1e-6).
"""

import json
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from postsense.atomic import write_json
from postsense.config import EncoderSettings
from postsense.data.images import decode_picture, normalize_pixels
from postsense.encoders import builtin
from postsense.encoders.backbone import load_image_backbone, load_text_backbone
from postsense.encoders.embeddings import Pooling, pool
from postsense.encoders.features import Encoded
from postsense.encoders.onnx import export_session, run_session
from postsense.encoders.pretrained import (
    BUILTIN,
    cache_folder,
    fingerprint_folder,
    image_checkpoint,
    text_checkpoint,
)
from postsense.encoders.processors import Tokenizer, load_tokenizer, picture_policy

logger = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]
Runner = Callable[[Sequence[Array]], list[Array]]


class FrozenTextEncoder:
    """Texts → features, through ONNX Runtime on the CPU or torch on a GPU."""

    def __init__(self, settings: EncoderSettings, device: torch.device) -> None:
        self.settings, self.device, self.cache = settings.text, device, cache_folder(settings)
        self.folder = text_checkpoint(settings)
        self.batch_size = 16 if device.type == "cpu" else 256
        self._loading = Lock()  # cached_property has none, and threads share the encoder

    @cached_property
    def key(self) -> str:
        """Names all that decides the features: weights, layers, pooling and text policy.

        The number of layers that tokens are read from is named from two on, so that what was kept
        before there was a choice is found.
        """
        chosen = self.settings
        parts = [self._network, chosen.pooling, str(chosen.max_length), chosen.normalize]
        return "-".join(parts)

    @cached_property
    def _network(self) -> str:
        builtin_weights = self.settings.name == BUILTIN
        weights = builtin.TEXT_SHA256[:32] if builtin_weights else fingerprint_folder(self.folder)
        read = self.settings.read_layers
        several = f"-read{read}" if read > 1 else ""
        return f"text-{weights}-{self.settings.layers or 'all'}{several}"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Texts to token ids."""
        return load_tokenizer(self.folder, self.settings.max_length)

    @cached_property
    def _runner(self) -> Runner:
        chosen = self.settings
        backbone = load_text_backbone(self.folder, chosen.layers, chosen.read_layers)
        texts = ["two short texts", "of equal length"]
        ids = torch.tensor([row[:4] for row in self.tokenizer(texts)])
        axes = {0: "batch", 1: "length"}
        file = self.cache / "onnx" / f"{self._network}.onnx"
        return _runner(backbone, [ids, torch.ones_like(ids)], [axes, axes], file, self.device)

    def encode(self, ids: Sequence[Sequence[int]]) -> list[Encoded]:
        """Features of texts given as equally many token ids each."""
        array = np.array(ids, dtype=np.int64)
        with self._loading:
            runner = self._runner
        tokens, cls = runner([array, np.ones_like(array)])
        return _encoded(tokens, cls, self.settings.pooling)


class FrozenImageEncoder:
    """Picture files → features, through ONNX Runtime on the CPU or torch on a GPU."""

    def __init__(self, settings: EncoderSettings, device: torch.device) -> None:
        self.settings, self.device, self.cache = settings.image, device, cache_folder(settings)
        self.folder = image_checkpoint(settings)
        self.policy = picture_policy(self.folder)
        self.batch_size = 1 if device.type == "cpu" else 64
        self._loading = Lock()

    @cached_property
    def key(self) -> str:
        """Names all that decides the features: weights, layers, pooling and picture policy."""
        return "-".join([self._network, self.settings.pooling, self.policy.key])

    @cached_property
    def _network(self) -> str:
        folder = self.folder
        weights = builtin.IMAGE_SHA256[:32] if folder is None else fingerprint_folder(folder)
        return f"image-{weights}-{self.settings.layers or 'all'}"

    @cached_property
    def _runner(self) -> Runner:
        backbone = load_image_backbone(self.folder, self.settings.layers, self.settings.pooling)
        generator = torch.Generator().manual_seed(0)
        size = self.policy.crop_px
        pixels = torch.randn((2, 3, size, size), generator=generator)
        file = self.cache / "onnx" / f"{self._network}-{size}.onnx"
        return _runner(backbone, [pixels], [{0: "batch"}], file, self.device)

    def prepare(self, data: bytes, name: str) -> Array:
        """The pixels (3, H, W) of a picture file. Raises: PictureError: not usable."""
        return normalize_pixels(decode_picture(data, name, self.policy), self.policy)

    def encode(self, pixels: Sequence[Array]) -> list[Encoded]:
        """Features of pictures given as their pixels."""
        with self._loading:
            runner = self._runner
        regions, cls = runner([np.stack(pixels)])
        return _encoded(regions, cls, self.settings.pooling)


def _encoded(tokens: Array, cls: Array, pooling: Pooling) -> list[Encoded]:
    """tokens: (B, T, L * D), of which the last D, the width of cls, are pooled."""
    if pooling == "cls":
        return [Encoded(vector, states) for vector, states in zip(cls, tokens, strict=True)]
    states = torch.from_numpy(tokens)[..., -cls.shape[-1] :]
    pooled = pool(states, torch.ones(states.shape[:2], dtype=torch.bool), pooling).numpy()
    return [Encoded(vector, row) for vector, row in zip(pooled, tokens, strict=True)]


def _runner(
    backbone: nn.Module,
    example: Sequence[Tensor],
    dynamic: Sequence[dict[int, str]],
    file: Path,
    device: torch.device,
) -> Runner:
    """ONNX Runtime where it gives what torch gives, and faster; measured once and remembered."""
    plain = _torch_runner(backbone.eval().requires_grad_(False).to(device), device)
    choice = file.with_suffix(".json")
    if device.type != "cpu" or (choice.is_file() and _remembered(choice) == "torch"):
        return plain
    try:
        session = export_session(backbone, example, dynamic, file)
    except torch.onnx.errors.OnnxExporterError as error:
        logger.warning("'%s' stays in torch: %s", file.stem, str(error).splitlines()[0])
        write_json(choice, {"runtime": "torch"})
        return plain

    def exported(inputs: Sequence[Array]) -> list[Array]:
        return run_session(session, inputs)

    if not choice.is_file():
        one = [tensor[:1].numpy() for tensor in example]  # not the batch size it was exported with
        agrees = _same_results(exported(one), plain(one))
        if not agrees:
            logger.warning("'%s' stays in torch: its export gives other results", file.stem)
        faster = agrees and _seconds(exported, one) <= _seconds(plain, one)
        write_json(choice, {"runtime": "onnxruntime" if faster else "torch"})
    return exported if _remembered(choice) == "onnxruntime" else plain


def _torch_runner(backbone: nn.Module, device: torch.device) -> Runner:
    def run(inputs: Sequence[Array]) -> list[Array]:
        with torch.inference_mode():
            outputs = backbone(*[torch.from_numpy(array).to(device) for array in inputs])
        return [output.float().cpu().numpy() for output in outputs]

    return run


def _same_results(outputs: Sequence[Array], references: Sequence[Array]) -> bool:
    """Whether no output is further than a thousandth of its reference's norm from it."""
    return all(
        np.linalg.norm(output - reference) <= 1e-3 * np.linalg.norm(reference)
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
        return str(json.loads(choice.read_text())["runtime"])
    except (ValueError, KeyError):
        return "onnxruntime"
