"""What one of two processes finds out about work in shares; run by test_parallel.py."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.estimator import PostClassifier
from postsense.inputs.batches import Comments, TokenIds
from postsense.parallel.distributed import add_up_gradients, copy_statistics, split_across_processes
from postsense.parallel.processes import is_main, main_first, part_ways, together
from postsense.runs.training import train_run


@dataclass(frozen=True)
class Read:
    """vectors (B, 3) float; present (B,) bool; absent is None."""

    vectors: Tensor
    present: Tensor
    absent: None = None

    def take(self, rows: Tensor) -> "Read":
        return Read(self.vectors[rows], self.present[rows])


class Net(nn.Module):
    """A network with a weight for every case, which notes the posts that it was shown."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.sometimes = nn.Linear(3, 2), nn.Linear(3, 2)
        self.never = nn.Linear(3, 2)
        self.dropout = nn.Dropout(dropout)
        self.shown: list[int] = []

    def forward(self, read: Read, extra: Tensor, nothing: None) -> Read:
        """The second layer looks only at posts that are marked as not present."""
        self.shown = read.vectors[:, 0].tolist()
        values = self.dropout(self.layer(read.vectors))
        if not read.present.all():
            values = values + self.sometimes(extra) * ~read.present[:, None]
        return Read(values, read.present)

    def both(self, read: Read) -> tuple[Tensor, Tensor]:
        return self.layer(read.vectors), read.present


class Whole(nn.Module):
    """The network between two layers that every process applies to the whole batch."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = Net(dropout)
        self.below, self.above = nn.Linear(3, 3), nn.Linear(2, 2)

    def forward(self, posts: int, *, shared: bool) -> Tensor:
        given = torch.arange(3.0 * posts).view(posts, 3) / 10
        read = Read(self.below(given), torch.arange(posts) != posts - 1)
        inputs = (read, self.below(given + 1), None)
        result = split_across_processes(self.net, *inputs) if shared else self.net(*inputs)
        logits = self.above(result.vectors)
        return (logits @ logits.T).logsumexp(dim=1).sum() + logits[result.present].pow(2).sum()


def gradients(posts: int, *, shared: bool) -> dict[str, Any]:
    model = Whole()
    loss = model(posts, shared=shared)
    loss.backward()
    if shared:
        add_up_gradients(model)
    found = {
        name: [] if weight.grad is None else weight.grad.flatten().tolist()
        for name, weight in model.named_parameters()
    }
    return {"loss": float(loss.detach()), **found}


def random_numbers() -> dict[str, Any]:
    net, read = Net(dropout=0.5), Read(torch.ones(64, 3), torch.ones(64, dtype=torch.bool))
    torch.manual_seed(1)
    first = split_across_processes(net, read, read.vectors, None).vectors
    after = float(torch.rand(()))
    second = split_across_processes(net, read, read.vectors, None).vectors
    silent = Net()
    torch.manual_seed(1)
    split_across_processes(silent, read, read.vectors, None)
    kept = float(torch.rand(()))
    masks = [(part == 0).tolist() for part in (first[:32], first[32:], second[:32])]
    return {"masks": masks, "after": after, "kept": kept}


def shapes() -> dict[str, Any]:
    net = Net()
    shown = {}
    for posts in (7, 2, 1):
        read = Read(torch.arange(3.0 * posts).view(posts, 3), torch.ones(posts, dtype=torch.bool))
        split_across_processes(net, read, read.vectors, None)
        shown[posts] = net.shown
    vectors, present = split_across_processes(net.both, read)
    texts = TokenIds(torch.arange(12).view(6, 2), torch.ones(6, 2, dtype=torch.bool))
    comments = Comments(texts, torch.ones(3, 2, dtype=torch.bool))
    return {
        "shown": shown,
        "both": [list(vectors.shape), present.tolist()],
        "comments": split_across_processes(Echo(), comments)[0].tolist(),
        "nested": split_across_processes(Nested(), torch.arange(6.0)[:, None])[0].tolist(),
        "norm": split_across_processes(nn.Sequential(Norm()), torch.arange(6.0)[:, None]).tolist(),
        "statistics": statistics(),
    }


def statistics() -> float:
    """The running mean after the processes have gone apart by rounding, here a lot."""
    norm = Norm()
    norm.running_mean.fill_(1.0 if is_main() else 2.0)
    copy_statistics(norm)
    return float(norm.running_mean)


class Echo(nn.Module):
    """Comments → the ids of their words, post by post."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, comments: Comments) -> tuple[Tensor]:
        return (comments.texts.ids.view(len(comments.present), -1),)


class Nested(nn.Module):
    """Shares inside a share."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Echo()

    def forward(self, values: Tensor) -> tuple[Tensor]:
        return (split_across_processes(Count(), values)[0] + 0 * self.net.weight,)


class Count(Echo):
    """The number of posts that it sees, for each of them."""

    def forward(self, values: Tensor) -> tuple[Tensor]:
        return (torch.full((len(values),), float(len(values))),)


class Norm(nn.BatchNorm1d):
    """BatchNorm over one feature."""

    def __init__(self) -> None:
        super().__init__(1)


class Stopped(Exception):
    """What ends a run after its first epoch."""


def stop(step: str, done: int, total: int) -> None:
    if step == "train":
        raise Stopped


def order(folder: Path) -> bool:
    """Whether the main process was the first to look for a file that it writes."""
    with main_first():
        there = (folder / "first").exists()
        (folder / "first").touch()
    return there


def train_runs(folder: Path, table: Path, runs: dict[str, dict[str, Any]]) -> None:
    posts = load_posts(table)
    for name, values in runs.items():
        train_run(posts, load_config(values=values), folder / name)
    resumed, config = folder / "resumed", load_config(values=next(iter(runs.values())))
    try:
        train_run(posts, config, resumed, progress=stop)
    except Stopped:
        if is_main():
            shutil.copytree(resumed, folder / "stopped")
        train_run(posts, config, resumed)


def main(folder: Path, table: Path, runs: dict[str, dict[str, Any]]) -> None:
    with together(cpu=True):
        found = {
            "gradients": {posts: gradients(posts, shared=True) for posts in (7, 2, 1)},
            "random": random_numbers(),
            "order": order(folder),
            **shapes(),
        }
    train_runs(folder, table, runs)
    classifier = PostClassifier(**next(iter(runs.values()))).fit(table)
    if is_main():  # predicts alone
        found["probs"] = classifier.predict_proba(table).tolist()
    name = "main.json" if is_main() else "other.json"
    (folder / name).write_text(json.dumps(found))
    part_ways()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
