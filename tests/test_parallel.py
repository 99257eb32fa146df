"""Two processes against one: what they compute, learn and write."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from made_shares import gradients
from postsense.commands import main as cli
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import RunError
from postsense.parallel.processes import are_together, is_main, process_count, together
from postsense.runs.folder import read_json
from postsense.runs.training import load_run, train_run

LIMIT_S = 900  # of processes that wait for each other for ever
MODEL = "seed-0/model/weights.safetensors"
WORKER = Path(__file__).with_name("made_shares.py")
LAUNCH = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"),
    *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"),
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def steady_bert(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT without dropout, whose masks would differ from those of one process."""
    folder = tmp_path_factory.mktemp("steady") / "bert"
    shutil.copytree(tiny_bert, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def table(post_rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 45 posts, some of them without a picture, some without words."""
    file = tmp_path_factory.mktemp("gaps") / "posts.jsonl"
    gaps = [{}, {"image": None}, {}, {}, {"text": None}]
    rows = [{**row, **gaps[number % 5]} for number, row in enumerate(post_rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def settings(steady_bert: Path, tiny_vit: Path) -> dict[str, dict[str, Any]]:
    """Runs by their name; 27 posts are five batches of 5 and one of 2."""
    quick = {
        "encoders.text.name": str(steady_bert),
        "encoders.text.trainable": True,
        "encoders.image.name": str(tiny_vit),
        "encoders.image.trainable": True,
        "training.epochs": 2,
        "training.batch_size": 5,
        "training.learning_rate": 0.003,  # of 0.01, AdamW makes 1e-5 of a gradient that rounds to 0
        "training.encoder_learning_rate": 0.001,
        "training.device": "cpu",
    }
    joint = {
        "fusion.name": "bitransformer",
        "fusion.input_dropout": 0.0,
        "losses.itc": 0.1,
        "losses.itm": 0.1,
        "training.gradient_checkpointing": True,
    }
    return {"concat": quick, "joint": quick | joint}


@dataclass(frozen=True)
class Pair:
    """What two processes found out, main and other, and the folder of their runs."""

    main: dict[str, Any]
    other: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def pair(table: Path, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, str(WORKER), str(folder), str(table), json.dumps(settings)]
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = []
    for rank in ("0", "1"):
        env = {**os.environ, **both, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"}
        processes.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    try:
        errors = [process.communicate(timeout=LIMIT_S)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    main, other = (json.loads((folder / f"{name}.json").read_text()) for name in ("main", "other"))
    return Pair(main, other, folder)


@pytest.mark.slow
@pytest.mark.parametrize("posts", [7, 2, 1])
def test_gradients_of_two_processes_are_those_of_one(pair: Pair, posts: int) -> None:
    found, expected = pair.main["gradients"][str(posts)], gradients(posts, shared=False)
    assert found == pair.other["gradients"][str(posts)]
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


@pytest.mark.slow
def test_a_weight_that_no_share_used_has_no_gradient(pair: Pair) -> None:
    found = pair.main["gradients"]["7"]
    assert found["net.never.weight"] == []
    assert any(found["net.sometimes.weight"])  # the other process alone has used it


@pytest.mark.slow
def test_shares_are_consecutive_and_as_equal_as_can_be(pair: Pair) -> None:
    assert pair.main["shown"] == {"7": [0, 3, 6, 9], "2": [0], "1": [0]}
    assert pair.other["shown"] == {"7": [12, 15, 18], "2": [3], "1": [0]}  # has none, and helps


@pytest.mark.slow
def test_methods_comments_and_networks_within_networks_can_be_shared(pair: Pair) -> None:
    for found in (pair.main, pair.other):
        assert found["both"] == [[1, 2], [True]]
        assert found["comments"] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        assert found["nested"] == [3.0] * 6


@pytest.mark.slow
def test_a_network_that_compares_posts_is_not_split(pair: Pair) -> None:
    expected = torch.nn.BatchNorm1d(1)(torch.arange(6.0)[:, None]).flatten().tolist()
    for found in (pair.main, pair.other):
        assert [value for [value] in found["norm"]] == pytest.approx(expected)


@pytest.mark.slow
def test_statistics_of_batch_norm_are_those_of_the_main_process(pair: Pair) -> None:
    assert (pair.main["statistics"], pair.other["statistics"]) == (1.0, 1.0)


@pytest.mark.slow
def test_random_numbers_differ_in_shares_and_agree_afterwards(pair: Pair) -> None:
    first, second, later = pair.main["random"]["masks"]
    assert first != second
    assert first != later
    assert pair.main["random"] == pair.other["random"]
    torch.manual_seed(1)
    assert pair.main["random"]["kept"] == float(torch.rand(()))


@pytest.mark.slow
def test_the_main_process_goes_first(pair: Pair) -> None:
    assert (pair.main["order"], pair.other["order"]) == (False, True)


def assert_same_run(found: Path, expected: Path) -> None:
    files = [
        sorted(str(file.relative_to(run)) for file in run.rglob("*") if file.is_file())
        for run in (found, expected)
    ]
    assert files[0] == files[1]
    ours, theirs = load_file(found / MODEL), load_file(expected / MODEL)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=0, msg=name)
    metrics = [read_json(run / "seed-0" / "metrics.json") for run in (found, expected)]
    for ours, theirs in zip(metrics[0]["history"], metrics[1]["history"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    for split in ("val", "test"):
        for name in ("accuracy", "macro_f1", "weighted_f1"):
            assert metrics[0][split][name] == pytest.approx(metrics[1][split][name], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["concat", "joint"])
def test_a_run_of_two_processes_is_that_of_one(
    pair: Pair, settings: dict[str, Any], table: Path, tmp_path: Path, name: str
) -> None:
    train_run(load_posts(table), load_config(values=settings[name]), tmp_path)
    assert_same_run(pair.folder / name, tmp_path)


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_where_it_was_stopped(pair: Pair) -> None:
    assert_same_run(pair.folder / "resumed", pair.folder / "concat")


@pytest.mark.slow
def test_one_process_goes_on_with_a_run_of_two(
    pair: Pair, settings: dict[str, Any], table: Path, tmp_path: Path
) -> None:
    shutil.copytree(pair.folder / "stopped", tmp_path / "run")
    assert (tmp_path / "run" / "seed-0" / "checkpoints" / "state.json").is_file()
    train_run(load_posts(table), load_config(values=settings["concat"]), tmp_path / "run")
    assert_same_run(tmp_path / "run", pair.folder / "concat")


@pytest.mark.slow
def test_two_processes_fit_a_classifier_that_one_can_ask(pair: Pair, table: Path) -> None:
    [trained] = load_run(pair.folder / "concat")
    expected = trained.predict(load_posts(table)).probs
    assert np.allclose(pair.main["probs"], expected, atol=1e-5)


@pytest.fixture(scope="module")
def launched(
    settings: dict[str, Any], table: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The run of the command line under `accelerate launch`, and what it printed."""
    out = tmp_path_factory.mktemp("launched") / "run"
    chosen = [f"--set={key}={json.dumps(value)}" for key, value in settings["concat"].items()]
    train = ["-m", "postsense", "train", str(table), "--out", str(out), *chosen]
    command = [*LAUNCH, f"--main_process_port={free_port()}", *train]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return out, done


@pytest.mark.slow
def test_the_command_line_under_a_launcher_trains_and_reports_once(
    launched: tuple[Path, subprocess.CompletedProcess[str]], pair: Pair
) -> None:
    out, done = launched
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("27 train, 9 val, 9 test") == 1
    assert done.stdout.count(f"run in {out}") == 1
    assert_same_run(out, pair.folder / "concat")


def launch_as(rank: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make this process look like one of two; returns how long it sleeps."""
    waits: list[float] = []
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(cli.time, "sleep", waits.append)
    return waits


@pytest.mark.parametrize("rank", [0, 1])
def test_what_a_user_can_mend_is_said_by_the_main_process_first(
    postsense: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rank: int
) -> None:
    waits = launch_as(rank, monkeypatch)
    outcome = postsense("train", tmp_path / "absent.jsonl", "--out", tmp_path / "run")
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 1
    assert waits == [cli.LEAD_S] * rank  # by then the launcher has ended the others


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_whose_partner_is_gone_lets_it_speak_first(
    postsense: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rank: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("connection closed by peer")

    waits = launch_as(rank, monkeypatch)
    monkeypatch.setattr(cli, "_train", fail)
    with pytest.raises(RuntimeError):
        postsense("train", tmp_path / "absent.jsonl", "--out", tmp_path / "run")
    assert waits == [cli.LEAD_S]


def test_other_verbs_than_train_are_refused_in_several_processes(
    postsense: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch_as(0, monkeypatch)
    outcome = postsense("demo")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "2 processes: expected the verb 'train', found 'demo'" in outcome.err


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")  # some clusters set it for all that runs there
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with together(cpu=True):
        assert (process_count(), is_main(), are_together()) == (1, True, False)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    launch_as(1, monkeypatch)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(RunError, match="expected at most 1, one a GPU, found 2"),
        together(cpu=False),
    ):
        pass
    assert not are_together()
