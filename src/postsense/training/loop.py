"""The only optimisation loop: epochs, steps, validation, early stopping, resumption."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import nn

from postsense.config import TrainingSettings
from postsense.data.batching import epoch_batches, spread_batches
from postsense.errors import RunError
from postsense.evaluation.metrics import HIGHER_IS_BETTER, headline_metric
from postsense.inputs.batches import PostBatch
from postsense.losses.total import Weighted, total_loss
from postsense.model.post_model import PostModel
from postsense.parallel.device import pick_device
from postsense.parallel.distributed import add_up_gradients, as_in_main, copy_statistics
from postsense.parallel.processes import is_main, wait_for_all
from postsense.prediction.inference import predict_logits
from postsense.progress import Progress, silent
from postsense.training.checkpoint import (
    Checkpoint,
    PhaseState,
    Tensors,
    advanced,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from postsense.training.optimizer import build_optimizer, learning_rate_factor
from postsense.training.phase import Phase, SecondStep

logger = logging.getLogger(__name__)
Part = tuple[Mapping[str, Weighted], PostBatch]


def run_phase(
    phase: Phase, model: PostModel, folder: Path, progress: Progress = silent
) -> PhaseState:
    """Train model in place and leave it with its best weights on val, in eval mode.

    folder: where the checkpoint is kept; a phase found there goes on as if never interrupted.
    Raises: RunError: the loss is not finite.
    """
    with _threads(phase, model):
        return _run_phase(phase, model, folder, progress)


def _run_phase(phase: Phase, model: PostModel, folder: Path, progress: Progress) -> PhaseState:
    settings = phase.settings
    device = pick_device(settings)
    model.to(device)
    optimizer = build_optimizer(model, settings)
    checkpoint = load_checkpoint(folder)
    state, best = PhaseState(), _weights(model)
    if checkpoint is not None:
        state, best = checkpoint.state, checkpoint.best
        model.load_state_dict(checkpoint.weights)
        restore_optimizer(optimizer, checkpoint.optimizer)
    wait_for_all()  # nobody writes a checkpoint before everybody has read this one
    while state.epoch < settings.epochs and not _out_of_patience(state, phase):
        losses = _train_epoch(phase, model, optimizer, state.epoch)
        copy_statistics(model)
        state, improved = _validate(phase, model, device, state, losses)
        best = _weights(model) if improved else best
        if is_main():
            moments = optimizer_tensors(optimizer)
            save_checkpoint(folder, Checkpoint(state, _weights(model), moments, best))
        logger.info("%s epoch %d: %s", phase.name, state.epoch, state.history[-1])
        progress(phase.name, state.epoch, settings.epochs)
    model.load_state_dict(best)
    model.eval().cpu()
    return state


@contextmanager
def _threads(phase: Phase, model: PostModel) -> Iterator[None]:
    """One CPU thread where only vectors are fused, or words are read one after the other.

    Such products are too small to share: threads that wait for each other cost more than they
    give, on a busy machine many times more, and the sums would depend on the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if phase.small and not model.encodes else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mixed_precision(settings: TrainingSettings, device: torch.device) -> torch.autocast:
    """Training in bf16 on a GPU that has it, in float32 elsewhere unless asked for.

    What is predicted, on val too, is in float32: as the model will be when it comes from disk.
    """
    wanted = settings.mixed_precision == "bf16"
    if settings.mixed_precision == "auto":
        wanted = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def _train_epoch(
    phase: Phase, model: PostModel, optimizer: torch.optim.Optimizer, epoch: int
) -> dict[str, float]:
    """One pass over train. Returns each loss term and the total, as means over posts of train."""
    settings, device, record = phase.settings, pick_device(phase.settings), dict[str, float]()
    if phase.before_epoch is not None:
        renewal = phase.before_epoch(model, epoch)
        phase, record = replace(phase, train=renewal.train), dict(renewal.record)
        for weight in (weight for part in renewal.fresh for weight in part.parameters()):
            optimizer.state.pop(weight, None)
    batches = epoch_batches(
        len(phase.train),
        settings.batch_size,
        seed=phase.seed,
        epoch=epoch,
        lengths=phase.lengths_of(phase.train),
        pool=phase.length_pool,
    )
    steps, sums = len(batches), dict[str, float]()
    torch.manual_seed(int(np.random.SeedSequence([phase.seed, epoch]).generate_state(1)[0]))
    model.to(device).train()
    for number, parts in enumerate(_step_batches(phase, batches, epoch)):
        factor = learning_rate_factor(settings, epoch * steps + number, settings.epochs * steps)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        parts = [(terms, batch.to(device)) for terms, batch in parts]
        if phase.second is not None:  # which sees the batch again
            parts = [(terms, model.standardized(batch)) for terms, batch in parts]
        values = _step(phase, model, optimizer, parts, epoch)
        if phase.second is not None:
            values |= _second_step(phase, phase.second, model, optimizer, parts[0][1], epoch)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value * len(batches[number])
    return {**record, **{f"train_{name}": value / len(phase.train) for name, value in sums.items()}}


def _step(
    phase: Phase,
    model: PostModel,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Part],
    epoch: int,
) -> dict[str, float]:
    """One update by the sum of all parts. Returns each term, and the total."""
    with mixed_precision(phase.settings, pick_device(phase.settings)):
        losses = [total_loss(terms, model(batch), batch) for terms, batch in parts]
    total = torch.stack([loss.total for loss in losses]).sum()
    _update(phase, model, optimizer, total, epoch)
    values = {name: value for loss in losses for name, value in loss.parts.items()}
    return {**values, "total": float(total.detach())}


def _second_step(
    phase: Phase,
    second: SecondStep,
    model: PostModel,
    optimizer: torch.optim.Optimizer,
    batch: PostBatch,
    epoch: int,
) -> dict[str, float]:
    """One more update where it is needed. Returns its terms, 0 where it is not, and how often."""
    device = pick_device(phase.settings)
    with mixed_precision(phase.settings, device):
        output = model.aligned(batch) if second.reads == "aligned" else model(batch)
        if not as_in_main(second.needed(output, batch), device):
            return {**dict.fromkeys(second.terms, 0.0), "second_steps": 0.0}
        loss = total_loss(second.terms, output, batch)
    _update(phase, model, optimizer, loss.total, epoch)
    return {**loss.parts, "second_steps": 1.0}


def _update(
    phase: Phase,
    model: PostModel,
    optimizer: torch.optim.Optimizer,
    total: torch.Tensor,
    epoch: int,
) -> None:
    _refuse_not_finite(phase, total, epoch)
    optimizer.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    add_up_gradients(model)
    nn.utils.clip_grad_norm_(model.parameters(), phase.settings.max_grad_norm)
    optimizer.step()


def _step_batches(phase: Phase, batches: Sequence[np.ndarray], epoch: int) -> Iterator[list[Part]]:
    """For each step the batches of all streams, each with its objective."""
    workers, steps = phase.settings.workers, len(batches)
    loaders = [phase.train.loader(batches, workers)]
    for stream in phase.extra_streams:
        more = stream.dataset
        spread = spread_batches(
            len(more),
            steps,
            seed=phase.seed,
            epoch=epoch,
            lengths=phase.lengths_of(more),
            pool=phase.length_pool,
        )
        loaders.append(more.loader(spread, workers))
    for step, (first, *others) in enumerate(zip_longest(*loaders)):
        place = [phase.seed, epoch, step]
        parts = [(phase.terms, phase.view(first, _generator([*place, len(phase.extra_streams)])))]
        for stream, batch in zip(phase.extra_streams, others, strict=True):
            if batch is not None:  # a stream of fewer posts than steps ends early
                parts.append((stream.terms, stream.view(batch, _generator(place))))
        yield parts


def _generator(place: list[int]) -> torch.Generator:
    """The random numbers of one step, the same whenever it is taken."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))


def _validate(
    phase: Phase,
    model: PostModel,
    device: torch.device,
    state: PhaseState,
    losses: dict[str, float],
) -> tuple[PhaseState, bool]:
    """The state after one more epoch, and whether it is the best so far."""
    record = {"epoch": float(state.epoch + 1), **losses}
    for weight in model.parameters():
        _refuse_not_finite(phase, weight, state.epoch)
    if not len(phase.val):
        return advanced(state, record, 0.0, better=True), True
    logits = predict_logits(model, phase.val, device, workers=phase.settings.workers)
    _refuse_not_finite(phase, torch.from_numpy(logits), state.epoch)
    assert phase.val.labels is not None
    scores = {name: headline_metric(name, logits, phase.val.labels) for name in HIGHER_IS_BETTER}
    score = scores[phase.settings.select_by]
    better = state.best_score is None or (
        score > state.best_score
        if HIGHER_IS_BETTER[phase.settings.select_by]
        else score < state.best_score
    )
    record |= {f"val_{name}": value for name, value in scores.items()}
    return advanced(state, record, score, better=better), better


def _out_of_patience(state: PhaseState, phase: Phase) -> bool:
    return state.epoch - state.best_epoch > phase.settings.patience


def _weights(model: PostModel) -> Tensors:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _refuse_not_finite(phase: Phase, values: torch.Tensor, epoch: int) -> None:
    """values: the loss, weights or logits; what is not finite there makes the loss so."""
    wrong = values.detach()[~torch.isfinite(values)]
    if len(wrong):
        raise RunError(
            f"{phase.name}, epoch {epoch + 1}",
            "a finite loss",
            str(float(wrong[0])),
            "Lower training.learning_rate or training.encoder_learning_rate.",
        )
