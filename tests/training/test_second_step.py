"""What may follow a step or precede an epoch: a second update, posts and modules made anew."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from postsense.config import FusionSettings, LossSettings, TrainingSettings
from postsense.config.loading import load_config
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.concat import Concat
from postsense.fusion.cross_modal import CrossModal
from postsense.inputs.batches import PostBatch, PostColumns, PostDataset
from postsense.losses.classification import classification_term
from postsense.losses.total import Weighted
from postsense.model.alignment import Alignment
from postsense.model.outputs import PostOutput
from postsense.model.post_model import Branch, PostModel
from postsense.parallel import distributed as parallel
from postsense.training import loop
from postsense.training.labeled import TrainingData, labeled_phase
from postsense.training.loop import run_phase
from postsense.training.phase import Phase, Renewal, SecondStep

SETTINGS = TrainingSettings(epochs=3, batch_size=4, learning_rate=0.01, device="cpu")


class Vectors:
    """A column of ready vectors."""

    lengths = None
    values = torch.randn((12, 5), generator=torch.Generator().manual_seed(0))

    def batch(self, posts: np.ndarray) -> Embeddings:
        return Embeddings(self.values[posts], torch.ones(len(posts), dtype=torch.bool))


def posts() -> PostDataset:
    return PostDataset(PostColumns({"text": Vectors()}), np.arange(12), np.arange(12) % 3)


def fresh_model() -> PostModel:
    torch.manual_seed(0)
    return PostModel(Branch(None, 5), None, Concat(5, None, 8, 0.0), nn.Linear(8, 3))


def norm_term(output: PostOutput, batch: PostBatch) -> torch.Tensor:
    return output.fused.square().mean()


def phase(second: SecondStep | None = None) -> Phase:
    terms = {"classification": classification_term(LossSettings(), None)}
    none = replace(posts(), rows=np.arange(0), labels=np.arange(0))
    return Phase("train", terms, posts(), none, SETTINGS, seed=0, second=second)


def shrink(*, needed: bool) -> SecondStep:
    return SecondStep({"norm": Weighted(1.0, norm_term)}, lambda *_: needed)


def weights_after(folder: Path, chosen: Phase) -> torch.Tensor:
    model = fresh_model()
    run_phase(chosen, model, folder)
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def test_a_second_step_that_is_never_needed_changes_nothing(tmp_path: Path) -> None:
    without = weights_after(tmp_path / "a", phase())
    assert torch.equal(without, weights_after(tmp_path / "b", phase(shrink(needed=False))))


def test_the_main_process_decides_on_the_second_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a process beside it: what is received there replaces its own answer."""
    monkeypatch.setattr(parallel, "are_together", lambda: True)
    monkeypatch.setattr(parallel.dist, "broadcast", lambda answer, src: answer.fill_(src == 0))
    cpu = torch.device("cpu")
    assert parallel.as_in_main(False, cpu) is True
    monkeypatch.undo()
    assert [parallel.as_in_main(choice, cpu) for choice in (True, False)] == [True, False]
    monkeypatch.setattr(loop, "as_in_main", lambda choice, device: True)
    state = run_phase(phase(shrink(needed=False)), fresh_model(), tmp_path)
    assert [epoch["train_second_steps"] for epoch in state.history] == [1.0] * 3


def test_the_history_says_how_often_the_second_step_was_taken(tmp_path: Path) -> None:
    answers = iter([True, False, False] * SETTINGS.epochs)  # 3 batches of 4 an epoch
    second = SecondStep({"norm": Weighted(1.0, norm_term)}, lambda *_: next(answers))
    state = run_phase(phase(second), fresh_model(), tmp_path)
    assert [round(epoch["train_second_steps"], 6) for epoch in state.history] == [0.333333] * 3
    assert all(epoch["train_norm"] > 0 for epoch in state.history)


def test_the_second_step_is_an_update_of_its_own_after_the_first(tmp_path: Path) -> None:
    model, chosen = fresh_model(), phase(shrink(needed=True))
    settings = SETTINGS.model_copy(update={"epochs": 1, "batch_size": 12, "warmup_fraction": 0.0})
    run_phase(replace(chosen, settings=settings), model, tmp_path)
    slow = fresh_model().train()
    matrices = [w for w in slow.parameters() if w.requires_grad and w.ndim > 1]
    vectors = [w for w in slow.parameters() if w.requires_grad and w.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    batch = posts()[np.arange(12)]
    for loss in (chosen.terms["classification"].term, norm_term):
        optimizer.zero_grad()
        loss(slow(batch), batch).backward()
        nn.utils.clip_grad_norm_(slow.parameters(), settings.max_grad_norm)
        optimizer.step()
    for ours, theirs in zip(model.parameters(), slow.parameters()):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_second_step_asks_about_a_fresh_pass(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def remember(output: PostOutput, batch: PostBatch) -> bool:
        seen.append(output.fused.detach())
        return False

    model = fresh_model()
    before = model(posts()[np.arange(12)]).fused
    settings = SETTINGS.model_copy(update={"epochs": 1, "batch_size": 12})
    chosen = phase(SecondStep({"norm": Weighted(1.0, norm_term)}, remember))
    run_phase(replace(chosen, settings=settings), model, tmp_path)
    assert not torch.equal(seen[0].sort(dim=0).values, before.sort(dim=0).values)


def cross_modal() -> tuple[PostModel, PostBatch]:
    """A model whose fusion makes the aligned vectors, and 3 posts, the second without words."""
    torch.manual_seed(0)
    settings = FusionSettings(name="cross_modal", hidden=7, reader_width=6, shared_width=4)
    fusion, alignment = CrossModal(5, 2, 5, settings), Alignment(4, 4, None, 0.1)
    branches = [Branch(None, 5, token_dim=10), Branch(None, 5)]
    for branch in branches:
        branch.standardize_with(torch.ones(5), torch.full((5,), 2.0))
        width = len(branch.token_mean)
        branch.standardize_tokens_with(torch.ones(width), torch.full((width,), 2.0))
        branch.missing.data.fill_(0.5)
    there = torch.tensor([True, False, True])
    mask = torch.ones(3, 4, dtype=torch.bool) & there[:, None]
    text = Embeddings(torch.randn(3, 5), there, torch.randn(3, 4, 10), mask)
    seen = torch.ones(3, 6, dtype=torch.bool)
    image = Embeddings(torch.randn(3, 5), seen.all(dim=1), torch.randn(3, 6, 5), seen)
    contents = torch.arange(6).view(3, 2)
    batch = replace(
        posts()[np.arange(3)], read={"text": text, "image": image}, contents=contents, aligns=True
    )
    model = PostModel(*branches, fusion, nn.Linear(7, 3), alignment, aligned="own")
    return model, batch


def test_the_aligned_vectors_alone_are_those_of_a_whole_pass() -> None:
    model, batch = cross_modal()
    whole, alone = model.eval()(batch).aligned, model.aligned(batch)
    assert whole is not None and alone.aligned is not None
    assert torch.equal(alone.aligned.text, whole.text)
    assert torch.equal(alone.aligned.image, whole.image)
    assert alone.logits.shape == alone.fused.shape == (3, 0)


def test_what_lies_behind_the_aligned_vectors_sees_no_batch_with_them() -> None:
    model, batch = cross_modal()
    fusion: Any = model.train().fusion
    model.aligned(batch)
    assert fusion.norm.num_batches_tracked == 0 and fusion.text[1].num_batches_tracked == 1


class Given:
    """A column of posts that are given as one batch."""

    lengths = None

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings

    def batch(self, posts: np.ndarray) -> Embeddings:
        return self.embeddings.take(torch.from_numpy(posts))


def test_statistics_behind_the_aligned_vectors_move_once_a_batch_in_two_steps(
    tmp_path: Path,
) -> None:
    """The second step of SPP-SCL goes no further than the vectors that it compares."""
    model, batch = cross_modal()
    fusion: Any = model.fusion
    assert isinstance(batch["text"], Embeddings) and isinstance(batch["image"], Embeddings)
    columns = PostColumns({name: Given(batch[name]) for name in ("text", "image")})
    pairs: Any = {"contents": np.arange(6).reshape(3, 2), "aligns": True}
    train = PostDataset(columns, np.arange(3), np.array([0, 1, 0]), **pairs)
    config = load_config(values={"method": "two_step_contrastive"})
    two_steps = labeled_phase("train", TrainingData(train, train, ("a", "b", "c")), config)
    none = replace(train, rows=np.arange(0), labels=np.arange(0))

    run_phase(replace(two_steps, val=none, settings=SETTINGS), model, tmp_path)

    assert fusion.norm.num_batches_tracked == SETTINGS.epochs
    assert fusion.text[1].num_batches_tracked == 2 * SETTINGS.epochs


def test_a_model_that_aligns_nothing_by_itself_gives_everything() -> None:
    model, batch = fresh_model().eval(), posts()[np.arange(3)]
    assert torch.equal(model.aligned(batch).logits, model(batch).logits)


def test_a_batch_that_is_standardized_once_is_not_again() -> None:
    model, batch = cross_modal()
    once = model.eval().standardized(batch)
    assert isinstance(once["text"], Embeddings) and isinstance(batch["text"], Embeddings)
    assert not torch.equal(once["text"].pooled, batch["text"].pooled)
    assert torch.equal(model(once).logits, model(batch).logits)
    assert torch.equal(model(model.standardized(once)).logits, model(batch).logits)


def renewing(calls: list[int]) -> Phase:
    def renew(model: PostModel, epoch: int) -> Renewal:
        calls.append(epoch)
        assert isinstance(model.head, nn.Linear)
        with torch.no_grad():
            model.head.weight.fill_(0.1 * epoch)
        labels = np.full(4, epoch % 3)
        fewer = replace(posts(), rows=np.arange(4), labels=labels)
        return Renewal(fewer, (model.head,), {"number": float(epoch)})

    return replace(phase(), before_epoch=renew)


def test_an_epoch_trains_on_what_it_was_renewed_with(tmp_path: Path) -> None:
    calls: list[int] = []
    state = run_phase(renewing(calls), fresh_model(), tmp_path)
    assert calls == [0, 1, 2]
    assert [epoch["number"] for epoch in state.history] == [0.0, 1.0, 2.0]


def test_a_renewed_phase_that_was_killed_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = weights_after(tmp_path / "a", renewing([]))
    one = SETTINGS.model_copy(update={"epochs": 1, "schedule": "constant"})
    constant = replace(renewing([]), settings=one.model_copy(update={"epochs": 3}))
    run_phase(replace(constant, settings=one), fresh_model(), tmp_path / "b")
    resumed = weights_after(tmp_path / "b", constant)
    assert torch.equal(resumed, weights_after(tmp_path / "c", constant))
    assert not torch.equal(whole, resumed)  # a linear schedule, the only difference


def test_what_begins_anew_has_no_moments_of_the_epoch_before(tmp_path: Path) -> None:
    """A head filled alike each epoch moves as if an epoch of other labels had never been."""
    settings = SETTINGS.model_copy(
        update={"batch_size": 12, "schedule": "constant", "warmup_fraction": 0.0}
    )

    def heads(folder: Path, labels: list[int]) -> list[torch.Tensor]:
        """The head's weights before each epoch, in which all posts have one label."""
        moved: list[torch.Tensor] = []

        def renew(model: PostModel, epoch: int) -> Renewal:
            assert isinstance(model.head, nn.Linear)
            moved.append(model.head.weight.detach().clone())
            with torch.no_grad():
                for weight, value in zip(model.parameters(), fresh_model().parameters()):
                    weight.copy_(value)
            return Renewal(replace(posts(), labels=np.full(12, labels[epoch])), (model,))

        run_phase(replace(phase(), before_epoch=renew, settings=settings), fresh_model(), folder)
        return moved

    second = heads(tmp_path / "a", [0, 1, 1])[2]
    assert torch.allclose(second, heads(tmp_path / "b", [1, 1, 1])[1], atol=1e-7)
    assert not torch.allclose(second, heads(tmp_path / "c", [0, 0, 0])[2], atol=1e-3)
