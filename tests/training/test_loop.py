"""The one loop, on posts that are vectors: what it learns, keeps, repeats and refuses."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from postsense.config import LossSettings, TrainingSettings
from postsense.encoders.backbone import EncoderNetwork
from postsense.encoders.embeddings import Embeddings
from postsense.errors import RunError
from postsense.evaluation.metrics import headline_metric
from postsense.fusion.comments import WithComments
from postsense.fusion.concat import Concat
from postsense.inputs.batches import PostBatch, PostColumns, PostDataset, TokenColumn
from postsense.losses.classification import classification_term
from postsense.losses.distillation import distillation_term
from postsense.model.post_model import Branch, PostModel
from postsense.prediction.inference import predict_logits
from postsense.training import loop
from postsense.training.loop import run_phase
from postsense.training.phase import Phase, Stream

DIM, CLASSES = 6, 3
SETTINGS = TrainingSettings(epochs=6, batch_size=4, learning_rate=0.01, device="cpu", patience=99)


@dataclass(frozen=True)
class Vectors:
    """A column of ready vectors, of texts that have some lengths."""

    values: Tensor
    lengths: np.ndarray | None = None

    def batch(self, posts: np.ndarray) -> Embeddings:
        return Embeddings(self.values[posts], torch.ones(len(posts), dtype=torch.bool))


def posts(count: int, seed: int = 0) -> PostDataset:
    generator = torch.Generator().manual_seed(seed)
    labels = np.arange(count) % CLASSES
    values = torch.randn((count, DIM), generator=generator)
    values[torch.arange(count), torch.from_numpy(labels)] += 1.0
    return PostDataset(PostColumns({"text": Vectors(values)}), np.arange(count), labels)


def fresh_model(seed: int = 0, dropout: float = 0.2) -> PostModel:
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Dropout(dropout), nn.Linear(16, CLASSES))
    return PostModel(Branch(None, DIM), None, Concat(DIM, None, 16, dropout), head)


def phase(val: int = 9, train: PostDataset | None = None, seed: int = 0, **settings: Any) -> Phase:
    return Phase(
        name="train",
        terms={"classification": classification_term(LossSettings(), None)},
        train=posts(24) if train is None else train,
        val=posts(val, seed=1),
        settings=SETTINGS.model_copy(update=settings),
        seed=seed,
    )


def weights_after(folder: Path, **arguments: Any) -> Tensor:
    model = fresh_model()
    run_phase(phase(**arguments), model, folder)
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def test_the_loop_overfits_eight_posts(tmp_path: Path) -> None:
    model, eight = fresh_model(dropout=0.0), posts(8)
    state = run_phase(phase(val=0, train=eight, epochs=60, learning_rate=0.05), model, tmp_path)
    predicted = predict_logits(model, eight).argmax(axis=1)
    assert predicted.tolist() == eight.labels.tolist()
    assert state.history[-1]["train_total"] < 0.02


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    assert torch.equal(weights_after(tmp_path / "a"), weights_after(tmp_path / "b"))


def test_loading_batches_in_other_processes_changes_no_weight(tmp_path: Path) -> None:
    one = weights_after(tmp_path / "a", epochs=2)
    two = weights_after(tmp_path / "b", epochs=2, workers=2)
    assert torch.equal(one, two)


def test_another_seed_of_the_phase_gives_other_weights(tmp_path: Path) -> None:
    assert not torch.equal(weights_after(tmp_path / "a"), weights_after(tmp_path / "b", seed=1))


def test_the_callers_random_state_does_not_matter(tmp_path: Path) -> None:
    first = fresh_model()
    run_phase(phase(), first, tmp_path / "a")
    second = fresh_model()
    torch.manual_seed(12345)
    run_phase(phase(), second, tmp_path / "b")
    assert torch.equal(first.head[1].weight, second.head[1].weight)


def score_epochs(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Make validation report these scores, one an epoch, whatever the model says."""
    found = iter(np.repeat(scores, 4))
    monkeypatch.setattr(loop, "headline_metric", lambda *_: float(next(found)))


@pytest.mark.parametrize(
    ("patience", "epochs_run"), [(0, 3), (1, 4), (2, 8), (9, 10)]
)  # the best epoch is 2 or, if patience reaches that far, 5
def test_training_stops_when_patience_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, epochs_run: int
) -> None:
    score_epochs(monkeypatch, [3, 2, 4, 4, 1, 5, 5, 5, 5, 5])
    state = run_phase(phase(epochs=10, patience=patience), fresh_model(), tmp_path)
    assert state.epoch == epochs_run
    assert state.best_epoch == (2 if patience < 2 else 5)


@pytest.mark.parametrize(
    ("select_by", "best"), [("loss", 2), ("accuracy", 3), ("macro_f1", 3), ("weighted_f1", 3)]
)
def test_the_weights_of_the_best_epoch_are_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select_by: str, best: int
) -> None:
    score_epochs(monkeypatch, [0.5, 0.1, 0.9, 0.9])
    model, stopped = fresh_model(), fresh_model()
    state = run_phase(
        phase(epochs=4, select_by=select_by, schedule="constant", warmup_fraction=0),
        model,
        tmp_path / "a",
    )
    monkeypatch.undo()
    run_phase(
        phase(val=0, epochs=best, schedule="constant", warmup_fraction=0), stopped, tmp_path / "b"
    )
    assert state.best_epoch == best
    assert torch.equal(model.head[1].weight, stopped.head[1].weight)


@pytest.mark.parametrize("select_by", ["loss", "accuracy", "macro_f1", "weighted_f1"])
def test_the_best_score_is_what_the_returned_weights_reach_on_val(
    tmp_path: Path, select_by: str
) -> None:
    model, chosen = fresh_model(), phase(select_by=select_by, learning_rate=0.05)
    state = run_phase(chosen, model, tmp_path)
    found = headline_metric(select_by, predict_logits(model, chosen.val), chosen.val.labels)
    assert found == state.best_score
    assert found == state.history[state.best_epoch - 1][f"val_{select_by}"]


@pytest.mark.parametrize("select_by", ["accuracy", "macro_f1", "weighted_f1"])
def test_the_best_epoch_is_the_first_that_is_right_most_often(
    tmp_path: Path, select_by: str
) -> None:
    chosen = phase(val=30, select_by=select_by, learning_rate=0.05, epochs=8)
    history = run_phase(chosen, fresh_model(), tmp_path).history
    scores = [epoch[f"val_{select_by}"] for epoch in history]
    best = run_phase(chosen, fresh_model(), tmp_path).best_epoch
    assert scores.index(max(scores)) not in (0, scores.index(min(scores)))
    assert best == 1 + scores.index(max(scores))


def test_without_val_the_last_epoch_is_kept(tmp_path: Path) -> None:
    state = run_phase(phase(val=0, patience=0), fresh_model(), tmp_path)
    assert (state.epoch, state.best_epoch) == (6, 6)


def test_val_labels_do_not_change_what_is_learnt(tmp_path: Path) -> None:
    other = phase()
    other.val.labels[:] = 0
    one, two = fresh_model(), fresh_model()
    one_state = run_phase(phase(), one, tmp_path / "a")
    two_state = run_phase(other, two, tmp_path / "b")
    losses = [[r["train_total"] for r in s.history] for s in (one_state, two_state)]
    assert losses[0] == losses[1]


def test_class_weights_move_the_model_to_the_heavy_class(tmp_path: Path) -> None:
    unsure = PostDataset(
        PostColumns({"text": Vectors(torch.zeros(24, DIM))}), np.arange(24), np.arange(24) % 3
    )
    term = classification_term(LossSettings(), torch.tensor([0.1, 0.1, 5.0]))
    heavy = replace(phase(val=0, train=unsure), terms={"classification": term})
    model = fresh_model()
    run_phase(heavy, model, tmp_path)
    assert set(predict_logits(model, unsure).argmax(axis=1)) == {2}


def test_the_train_loss_of_an_epoch_is_the_mean_over_posts(tmp_path: Path) -> None:
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "epochs": 1, "batch_size": 5}
    model, chosen = fresh_model(dropout=0.0), phase(val=0, train=posts(13), **still)
    state = run_phase(chosen, model, tmp_path)
    expected = headline_metric("loss", predict_logits(model, chosen.train), chosen.train.labels)
    assert state.history[0]["train_total"] == pytest.approx(expected, rel=1e-5)
    assert state.history[0]["train_classification"] == pytest.approx(expected, rel=1e-5)


def test_the_weight_of_a_term_scales_the_total_and_not_the_part(tmp_path: Path) -> None:
    term = classification_term(LossSettings(classification=3.0), None)
    weighted = replace(phase(val=0, epochs=1), terms={"classification": term})
    record = run_phase(weighted, fresh_model(), tmp_path).history[0]
    assert record["train_total"] == pytest.approx(3 * record["train_classification"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do(
    tmp_path: Path, value: float
) -> None:
    poisoned = posts(8)
    poisoned.columns.read["text"].values[3, 0] = value
    with pytest.raises(
        RunError, match="train, epoch 1: expected a finite loss, found nan"
    ) as error:
        run_phase(phase(train=poisoned), fresh_model(), tmp_path)
    assert "Lower training.learning_rate" in str(error.value)


@pytest.mark.parametrize("val", [0, 9])
def test_weights_that_blow_up_in_the_last_step_are_an_error_too(tmp_path: Path, val: int) -> None:
    poisoned = phase(val=val, epochs=1, batch_size=24)
    model = fresh_model()
    model.head[1].weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(RunError, match="train, epoch 1: expected a finite loss, found nan"):
        run_phase(poisoned, model, tmp_path)


def test_logits_that_overflow_on_val_are_an_error(tmp_path: Path) -> None:
    huge = phase(epochs=1, batch_size=24, learning_rate=1e30, warmup_fraction=0)
    with pytest.raises(RunError, match="train, epoch 1: expected a finite loss"):
        run_phase(huge, fresh_model(), tmp_path)


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_phase_goes_on_from_its_checkpoint_as_if_never_interrupted(
    tmp_path: Path, stop_after: int
) -> None:
    class Stopped(Exception):
        """What ends the process after some epochs."""

    def stop(step: str, done: int, total: int) -> None:
        if done == stop_after:
            raise Stopped

    whole = weights_after(tmp_path / "whole")
    with pytest.raises(Stopped):
        run_phase(phase(), fresh_model(), tmp_path / "cut", stop)
    resumed = fresh_model(seed=99)  # whatever it starts with, the checkpoint decides
    state = run_phase(phase(), resumed, tmp_path / "cut")
    assert state.epoch == 6
    assert torch.equal(nn.utils.parameters_to_vector(resumed.parameters()).detach(), whole)


def test_progress_counts_the_epochs(tmp_path: Path) -> None:
    seen = []
    run_phase(phase(epochs=3), fresh_model(), tmp_path, lambda *step: seen.append(step))
    assert seen == [("train", 1, 3), ("train", 2, 3), ("train", 3, 3)]


def test_the_number_of_threads_is_left_as_it_was(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_phase(phase(epochs=1), fresh_model(), tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two CPU threads, as a caller may have set them."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_in_training(model: PostModel, folder: Path) -> set[int]:
    """How many CPU threads the steps of a phase have."""
    seen = set[int]()
    model.head.register_forward_hook(lambda *_: seen.add(torch.get_num_threads()))
    run_phase(replace(phase(epochs=1), small=True), model, folder)
    return seen


def test_vectors_are_fused_by_one_thread(two_threads: None, tmp_path: Path) -> None:
    assert threads_in_training(fresh_model(), tmp_path) == {1}


def test_vectors_with_comments_are_fused_by_one_thread_too(two_threads: None) -> None:
    model = fresh_model()
    attentions = nn.ModuleDict({"text": nn.Identity()})
    model.fusion = WithComments(model.fusion, attentions, DIM, 16, 0.0)
    with loop._threads(replace(phase(epochs=1), small=True), model):
        assert torch.get_num_threads() == 1


def test_what_is_encoded_in_the_model_is_shared_by_all_threads(
    two_threads: None, tmp_path: Path
) -> None:
    model = fresh_model()
    model.fusion.register_module("encoder", EncoderNetwork())
    assert threads_in_training(model, tmp_path) == {2}


def test_the_rate_of_each_step_follows_the_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, step = [], torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, *arguments: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    chosen = phase(train=posts(8), epochs=2, warmup_fraction=0.25, learning_rate=0.1)
    run_phase(chosen, fresh_model(), tmp_path)  # 4 steps, 1 of warm-up
    assert rates == pytest.approx([0.05, 0.1, 0.1 * 2 / 3, 0.1 / 3])


def test_gradients_are_clipped_to_the_norm_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms, step = [], torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, *arguments: Any) -> Any:
        gradients = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    run_phase(phase(epochs=1, max_grad_norm=0.01), fresh_model(), tmp_path)
    assert norms == pytest.approx([0.01] * 6, rel=1e-3)


def labelled_and_beside(count: int, **settings: Any) -> Phase:
    beside = posts(count, seed=5)
    assert beside.labels is not None
    soft = replace(
        beside,
        labels=None,
        targets=np.eye(CLASSES, dtype=np.float32)[beside.labels],
        weights=np.ones(count, dtype=np.float32),
    )
    stream = Stream(soft, {"distillation": distillation_term(1.0)}, lambda batch, _: batch)
    return replace(phase(**settings), extra_streams=(stream,))


@pytest.mark.parametrize("count", [60, 6, 2])
def test_every_step_adds_the_loss_of_the_streams_beside(tmp_path: Path, count: int) -> None:
    record = run_phase(labelled_and_beside(count, epochs=1), fresh_model(), tmp_path).history[0]
    assert record["train_distillation"] > 0
    if count == 60:  # as many batches as train has, of another size
        parts = record["train_classification"] + record["train_distillation"]
        assert record["train_total"] == pytest.approx(parts, rel=1e-6)


def test_a_stream_is_seen_once_an_epoch_whatever_its_size(tmp_path: Path) -> None:
    seen: list[int] = []

    def count_posts(batch: PostBatch, generator: torch.Generator) -> PostBatch:
        assert batch.targets is not None
        seen.append(len(batch.targets))
        return batch

    chosen = labelled_and_beside(61, epochs=2)
    [stream] = chosen.extra_streams
    run_phase(
        replace(chosen, extra_streams=(replace(stream, view=count_posts),)), fresh_model(), tmp_path
    )
    assert len(seen) == 2 * 6  # 24 posts in batches of 4
    assert sum(seen) == 2 * 61


@pytest.mark.parametrize(("pool", "alike"), [(None, False), (0, False), (1, False), (99, True)])
def test_posts_of_like_length_share_a_step_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: int | None, alike: bool
) -> None:
    lengths, drawn, taken = np.arange(24)[::-1] // 4, list[np.ndarray](), PostDataset.__getitem__
    monkeypatch.setattr(
        PostDataset, "__getitem__", lambda self, at: drawn.append(at) or taken(self, at)
    )
    asked = labelled_and_beside(24, val=0, epochs=1, length_pool=pool)
    [stream] = asked.extra_streams
    asked = replace(
        asked,
        train=with_lengths(asked.train, lengths),
        extra_streams=(replace(stream, dataset=with_lengths(stream.dataset, lengths)),),
    )

    run_phase(asked, fresh_model(), tmp_path)

    assert sorted(np.concatenate(drawn)) == sorted([*range(24), *range(24)])
    assert all(np.ptp(lengths[batch]) == 0 for batch in drawn) is alike


def with_lengths(dataset: PostDataset, lengths: np.ndarray) -> PostDataset:
    assert isinstance(dataset.columns.read["text"], Vectors)
    return replace(
        dataset,
        columns=PostColumns({"text": replace(dataset.columns.read["text"], lengths=lengths)}),
    )


def test_texts_that_are_encoded_in_the_model_are_batched_by_length_unless_asked_not_to() -> None:
    words = PostDataset(
        PostColumns({"text": TokenColumn([[2, 3], [2, 5, 3]], 0)}), np.array([1, 0])
    )

    asked, refused = phase(train=words), phase(train=words, length_pool=0)

    assert asked.length_pool == 64
    assert (found := asked.lengths_of(words)) is not None and found.tolist() == [3, 2]
    assert refused.length_pool == 0 and refused.lengths_of(words) is None
    assert phase().length_pool == 0


def test_a_stream_teaches_what_train_does_not_show(tmp_path: Path) -> None:
    chosen = labelled_and_beside(60, val=0, epochs=40, learning_rate=0.05)
    model, alone = fresh_model(dropout=0.0), fresh_model(dropout=0.0)
    run_phase(chosen, model, tmp_path / "a")
    run_phase(replace(chosen, extra_streams=()), alone, tmp_path / "b")
    [stream] = chosen.extra_streams
    assert stream.dataset.targets is not None
    expected = stream.dataset.targets.argmax(axis=1)
    right = (predict_logits(model, stream.dataset).argmax(axis=1) == expected).mean()
    assert right > (predict_logits(alone, stream.dataset).argmax(axis=1) == expected).mean()
    assert right > 0.95


def test_views_depend_on_seed_epoch_and_step_alone(tmp_path: Path) -> None:
    def drawn(folder: Path, epochs: int) -> list[float]:
        numbers: list[float] = []

        def draw(batch: PostBatch, generator: torch.Generator) -> PostBatch:
            numbers.append(float(torch.rand(1, generator=generator)))
            return batch

        chosen = labelled_and_beside(12, epochs=epochs)
        [stream] = chosen.extra_streams
        run_phase(
            replace(chosen, extra_streams=(replace(stream, view=draw),)), fresh_model(), folder
        )
        return numbers

    once, twice = drawn(tmp_path / "a", 2), drawn(tmp_path / "b", 4)
    assert twice[: len(once)] == once
    assert len(set(twice)) == len(twice)
