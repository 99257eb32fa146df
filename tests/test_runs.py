"""Run folders: what they hold, what resumes them, what they refuse, what no kill can break."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.corpus.reading import open_corpus
from postsense.corpus.removal import remove_posts
from postsense.data.loading import load_posts
from postsense.errors import RunError
from postsense.evaluation.metrics import classification_metrics
from postsense.posts import Posts
from postsense.runs.folder import read_json
from postsense.runs.training import RunSummary, finished_seeds, load_run, train_run

Rows = list[dict[str, Any]]
QUICK = {
    "fusion.name": "text_only",
    "training.epochs": 3,
    "training.batch_size": 8,
    "training.learning_rate": 0.01,
    "training.device": "cpu",
}
MODEL = Path("model", "weights.safetensors")


def configured(**settings: Any) -> Config:
    return load_config(values={**QUICK, **settings})


@pytest.fixture
def posts(posts_file: Path) -> Posts:
    return load_posts(posts_file)


def files_of(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def assert_same_run(found: Path, expected: Path) -> None:
    """Same files, same metrics, same predictions, bit-equal weights."""
    assert files_of(found) == files_of(expected)
    for seed in finished_seeds(expected):
        ours, theirs = found / seed.name, seed
        assert read_json(ours / "metrics.json") == read_json(theirs / "metrics.json")
        assert (ours / MODEL).read_bytes() == (theirs / MODEL).read_bytes()
        ours_table, theirs_table = (
            pq.read_table(folder / "predictions.parquet") for folder in (ours, theirs)
        )
        assert ours_table.equals(theirs_table)


def test_a_run_folder_holds_what_its_docstring_says(posts: Posts, tmp_path: Path) -> None:
    train_run(posts, configured(), tmp_path / "run", seeds=2)
    model = [f"model/{name}" for name in ("model.json", "seen.safetensors", "weights.safetensors")]
    seed = ["baselines.parquet", "metrics.json", *model, "predictions.parquet"]
    assert files_of(tmp_path / "run") == [
        *("bad_rows.jsonl", "config.json", "run.json"),
        *(f"seed-{number}/{name}" for number in (0, 1) for name in seed),
    ]
    assert not (tmp_path / "run" / "seed-0" / "checkpoints").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, posts_file: Path) -> RunSummary:
    """A run of two seeds that nothing stopped. Not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    return train_run(load_posts(posts_file), configured(), folder, seeds=2)


@pytest.fixture
def trained(whole: RunSummary, tmp_path: Path) -> Path:
    """The folder of that run, to do with as one likes."""
    return Path(shutil.copytree(whole.folder, tmp_path / "trained"))


def test_a_run_describes_its_posts_and_settings(whole: RunSummary) -> None:
    run = read_json(whole.folder / "run.json")
    assert run["posts"] == {"train": 27, "val": 9, "test": 9}
    assert run["classes"] == ["negative", "neutral", "positive"]
    assert run["labels"]["test"] == {"negative": 3, "neutral": 3, "positive": 3}
    assert (run["val_drawn_from_train"], run["unlabeled"]) == (False, 0)
    assert read_json(whole.folder / "config.json") == configured().model_dump(mode="json")


def test_metrics_are_those_of_the_written_predictions(posts: Posts, whole: RunSummary) -> None:
    rows = pq.read_table(whole.folder / "seed-0" / "predictions.parquet").to_pylist()
    true = {post.id: (post.split, post.label) for post in posts}
    classes = ["negative", "neutral", "positive"]
    for split in ("val", "test"):
        chosen = [row for row in rows if row["split"] == split]
        assert [(row["split"], row["label"]) for row in chosen] == [true[r["id"]] for r in chosen]
        labels, predicted = (
            np.array([classes.index(row[key]) for row in chosen]) for key in ("label", "predicted")
        )
        expected = classification_metrics(labels, predicted, classes)
        assert whole.metrics[0][split] == {**expected, "bad_rows": 0}


def test_predictions_are_those_of_the_saved_model(posts: Posts, whole: RunSummary) -> None:
    rows = pq.read_table(whole.folder / "seed-0" / "predictions.parquet").to_pylist()
    classifier = load_run(whole.folder)[0]
    loaded = {row["id"]: row for row in classifier.predict(posts).to_table().to_pylist()}
    for row in rows:
        assert row["predicted"] == loaded[row["id"]]["label"]
        assert row["prob_neutral"] == pytest.approx(loaded[row["id"]]["prob_neutral"], abs=1e-6)


def test_a_run_says_which_epoch_it_kept_and_why(posts: Posts, tmp_path: Path) -> None:
    metrics = train_run(posts, configured(seed=5), tmp_path).metrics[5]
    losses = [record["val_loss"] for record in metrics["history"]]
    assert (metrics["seed"], metrics["epochs"], metrics["selected_by"]) == (5, 3, "loss")
    assert metrics["best_epoch"] == int(np.argmin(losses)) + 1
    assert metrics == read_json(tmp_path / "seed-5" / "metrics.json")


def test_without_val_rows_a_tenth_of_train_is_drawn_as_val(post_rows: Rows, tmp_path: Path) -> None:
    rows = [row for row in post_rows if row["split"] != "val"]
    summary = train_run(load_posts(rows), configured(), tmp_path)
    assert read_json(tmp_path / "run.json")["posts"] == {"train": 24, "val": 3, "test": 9}
    assert summary.metrics[0]["val"]["posts"] == 3
    assert summary.splits.carved


def test_a_validation_table_becomes_val(post_rows: Rows, tmp_path: Path) -> None:
    train = load_posts([row for row in post_rows if row["split"] == "train"])
    held_out = load_posts([{**row, "split": None} for row in post_rows if row["split"] == "val"])
    summary = train_run(train, configured(), tmp_path, validation=held_out)
    assert summary.metrics[0]["val"]["posts"] == 9
    assert "test" not in summary.metrics[0]


def test_bad_rows_are_listed_and_left_out(post_rows: Rows, tmp_path: Path) -> None:
    bad = {"id": "bäd", "text": None, "image": None, "label": "neutral", "split": "test"}
    summary = train_run(load_posts([*post_rows, bad]), configured(), tmp_path)
    [line] = (tmp_path / "bad_rows.jsonl").read_text().splitlines()
    assert json.loads(line) == vars(summary.bad[0])
    assert json.loads(line)["id"] == "bäd"
    assert summary.metrics[0]["test"]["posts"] == 9


def test_finished_seeds_are_not_trained_again(
    posts: Posts, whole: RunSummary, trained: Path
) -> None:
    changed = (trained / "seed-0" / MODEL).stat().st_mtime_ns
    steps: list[str] = []
    more = train_run(
        posts, configured(), trained, seeds=3, progress=lambda step, *_: steps.append(step)
    )
    assert (trained / "seed-0" / MODEL).stat().st_mtime_ns == changed
    assert more.metrics[0] == whole.metrics[0]
    assert steps.count("train") == 3  # epochs of seed 2 alone


def test_seeds_trained_one_by_one_equal_seeds_trained_at_once(
    posts: Posts, whole: RunSummary, tmp_path: Path
) -> None:
    train_run(posts, configured(), tmp_path)
    train_run(posts, configured(), tmp_path, seeds=2)
    assert_same_run(tmp_path, whole.folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("training.epochs", 4), ("seed", 1), ("fusion.hidden", 8), ("encoders.text.max_length", 32)],
)
def test_other_settings_in_the_same_folder_are_refused(
    posts: Posts, trained: Path, key: str, value: int
) -> None:
    with pytest.raises(RunError, match=f"{key} = {value}. Choose another --out"):
        train_run(posts, configured(**{key: value}), trained)


def relabeled(rows: Rows) -> Rows:
    return [{**rows[0], "label": "neutral"}, *rows[1:]]


def resplit(rows: Rows) -> Rows:
    return [{**rows[0], "split": "test"}, *rows[1:]]


def rewritten(rows: Rows) -> Rows:
    return [{**rows[0], "text": "other words"}, *rows[1:]]


@pytest.mark.parametrize("change", [relabeled, resplit, rewritten, lambda rows: rows[:-1]])
def test_other_posts_in_the_same_folder_are_refused(
    post_rows: Rows, trained: Path, change: Any
) -> None:
    with pytest.raises(RunError, match="expected the posts it was started with, found posts, lab"):
        train_run(load_posts(change(post_rows)), configured(), trained)


def test_threads_workers_and_cache_may_change(
    posts: Posts, whole: RunSummary, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "cache").symlink_to(cache)
    free = {"encoders.threads": 1, "training.workers": 2, "encoders.cache": tmp_path / "cache"}
    train_run(posts, configured(**free), tmp_path / "run", seeds=2)
    for name in ("seed-0", "seed-1"):
        weights = [load_file(run / name / MODEL) for run in (whole.folder, tmp_path / "run")]
        assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])


def test_a_folder_with_other_files_is_refused(posts: Posts, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"found \['thesis.tex'\] in it. Choose another --out"):
        train_run(posts, configured(), tmp_path)
    assert files_of(tmp_path) == ["thesis.tex"]


def test_a_model_folder_counts_as_a_run_of_one(trained_run: Path, posts: Posts) -> None:
    [alone] = load_run(trained_run / "seed-1" / "model")
    both = load_run(trained_run)
    assert [classifier.config.seed for classifier in both] == [0, 1]
    assert np.array_equal(alone.predict(posts).probs, both[1].predict(posts).probs)


def test_seeds_are_loaded_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for seed in (10, 9, 0):
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}" / "metrics.json").write_text("{}")
    assert [seed.name for seed in finished_seeds(tmp_path)] == ["seed-0", "seed-9", "seed-10"]


@pytest.mark.parametrize(("name", "found"), [("absent", "no such folder"), (".", "no finished")])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, name: str, found: str) -> None:
    with pytest.raises(RunError, match=f"expected a run folder, found {found}"):
        load_run(tmp_path / name)


def test_a_damaged_file_of_a_run_is_named(posts: Posts, trained: Path) -> None:
    (trained / "seed-0" / "metrics.json").write_text("{")
    with pytest.raises(RunError, match=r"seed-0/metrics.json: expected JSON written by a run"):
        train_run(posts, configured(), trained)


def train_command(posts_file: Path, out: Path) -> list[str]:
    settings = [f"--set={key}={value}" for key, value in QUICK.items()]
    return ["train", str(posts_file), "--out", str(out), "--seeds=2", *settings]


@pytest.mark.slow
@pytest.mark.parametrize(
    "wait_for",
    ["seed-0/checkpoints/state.json", pytest.param("config.json", marks=pytest.mark.slow)],
)
def test_the_command_goes_on_after_a_kill_at_any_moment(
    postsense: Any, posts_file: Path, whole: RunSummary, tmp_path: Path, wait_for: str
) -> None:
    command, out = train_command(posts_file, tmp_path / "run"), tmp_path / "run"
    alone = [sys.executable, "-m", "postsense", *command]
    process = subprocess.Popen(alone, stdout=subprocess.DEVNULL, env=os.environ)
    while not (out / wait_for).exists() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(np.random.default_rng().uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert postsense(*command).code == 0
    assert_same_run(out, whole.folder)


def test_a_run_whose_corpus_changed_is_not_gone_on_with(
    posts_file: Path, synthetic_corpus: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(synthetic_corpus, corpus)
    values = {"training.epochs": 1, "training.device": "cpu", "retrieval.corpus": corpus}
    config, posts = load_config(values=values), load_posts(posts_file)
    train_run(posts, config, tmp_path / "run")
    remove_posts(corpus, open_corpus(corpus).keys().id[:1])
    with pytest.raises(RunError, match="found posts, labels, splits or a corpus that differ"):
        train_run(posts, config, tmp_path / "run", seeds=2)


def test_a_model_trained_in_half_precision_predicts_as_it_does_from_disk(
    posts_file: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    values = {"encoders.text.name": str(tiny_bert), "encoders.text.max_length": 16}
    quick = {"training.epochs": 2, "training.device": "cpu", "fusion.name": "text_only"}
    posts, probs = load_posts(posts_file), list[np.ndarray]()
    for precision in ("no", "bf16"):  # one after the other in one process
        chosen = {"training.mixed_precision": precision, "encoders.text.trainable": True}
        config, folder = load_config(values=values | quick | chosen), tmp_path / precision
        train_run(posts, config, folder)
        kept = pq.read_table(folder / "seed-0" / "predictions.parquet")
        [loaded] = load_run(folder)
        chosen_posts = posts.take(
            [posts.column("id").index(name) for name in kept["id"].to_pylist()]
        )
        probs.append(loaded.predict(chosen_posts).probs)
        np.testing.assert_allclose(probs[-1][:, 0], kept["prob_negative"], atol=1e-6)
    assert not np.array_equal(probs[0], probs[1])


def test_a_run_that_is_older_than_a_setting_goes_on_with_its_default(
    posts_file: Path, tmp_path: Path
) -> None:
    config = load_config("text-only", values={"training.epochs": 1, "training.device": "cpu"})
    train_run(load_posts(posts_file), config, tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    settings = json.loads(file.read_text())
    del settings["losses"]["itc"], settings["encoders"]["text"]["network"]
    file.write_text(json.dumps(settings))

    train_run(load_posts(posts_file), config, tmp_path / "run", seeds=2)

    assert len(finished_seeds(tmp_path / "run")) == 2
