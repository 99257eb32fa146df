"""What a run folder takes for its own: files of strangers stay, halves of its own files go."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import BusyError, DataError, DiskFullError, RunError
from postsense.files.atomic import replacing
from postsense.files.locking import HOLDER, LOCK, writing_to
from postsense.posts import Posts
from postsense.runs import training as runs
from postsense.runs.folder import LEFTOVER, NO_DIFFERENCE, WRITTEN_WHOLE, read_json
from postsense.runs.training import load_run, train_run
from postsense.saving import folder as model_folder


def configured() -> Config:
    quick = {"training.epochs": 1, "training.device": "cpu"}
    return load_config(values={"fusion.name": "text_only", **quick})


@pytest.fixture
def posts(posts_file: Path) -> Posts:
    return load_posts(posts_file)


def files_of(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


STRANGERS = (
    *(".index.html.swp", ".eslintrc.json.bak", ".posts.parquet.swp", ".config.json.swp"),
    *(".posts.parquet.a1b2c3d4.parquet", ".config.json.a1b2c3d4.json.bak", ".model.old/notes"),
)


@pytest.mark.parametrize("name", STRANGERS)
def test_a_refused_folder_keeps_files_that_are_named_much_like_those_of_a_killed_run(
    posts: Posts, tmp_path: Path, name: str
) -> None:
    left = tmp_path / ".config.json.a1b2c3d4.json"
    for file in (tmp_path / name, left):
        file.parent.mkdir(exist_ok=True)
        file.write_text("precious")
    with pytest.raises(RunError, match="expected an empty or new folder") as refused:
        train_run(posts, configured(), tmp_path)
    assert f"found ['{Path(name).parts[0]}'] in it" in str(refused.value)
    assert files_of(tmp_path) == sorted([name, left.name])


def test_what_a_killed_run_left_half_written_is_swept(posts: Posts, tmp_path: Path) -> None:
    for name in (".run.json.a1b2c3d4.json", ".config.json.____zzzz.json"):  # killed at its claim
        (tmp_path / name).write_text("{")
    train_run(posts, configured(), tmp_path)
    whole = files_of(tmp_path)
    for name in (".bad_rows.jsonl.a1b2c3d4.jsonl", "seed-0/.metrics.json.a1b2c3d4.json"):
        (tmp_path / name).write_text("{")
    (tmp_path / "seed-0" / f".model.{'0f' * 16}").mkdir()
    (tmp_path / ".index.html.swp").write_text("precious")
    train_run(posts, configured(), tmp_path)
    assert files_of(tmp_path) == [".index.html.swp", *whole]
    assert not list((tmp_path / "seed-0").glob(".*"))


def test_a_leftover_is_what_is_written_until_it_is_whole(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building = list[Path]()
    for name in WRITTEN_WHOLE:
        with replacing(tmp_path / name) as temporary:
            building.append(temporary)
    save = model_folder.save_tensors
    watched = lambda file, tensors: (building.append(file.parent), save(file, tensors))  # noqa: E731
    monkeypatch.setattr(model_folder, "save_tensors", watched)
    model_folder.save_model(load_run(trained_run)[0], tmp_path / "model")
    assert len(building) == len(WRITTEN_WHOLE) + 1
    assert all(LEFTOVER.fullmatch(path.name) for path in building)
    assert not any(LEFTOVER.fullmatch(name) for name in (*WRITTEN_WHOLE, "model", ".model"))


def test_a_run_of_before_names_were_read_goes_on_as_it_was_started(
    posts: Posts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured()
    text = config.encoders.text.model_copy(update={"unknown": "keep"})
    kept = config.encoders.model_copy(update={"text": text})
    train_run(posts, config.model_copy(update={"encoders": kept}), tmp_path)
    file = tmp_path / "config.json"
    settings = json.loads(file.read_text())
    del settings["encoders"]["text"]["unknown"]
    file.write_text(json.dumps(settings))
    train_run(posts, config, tmp_path, seeds=2)
    assert [one.config.encoders.text.unknown for one in load_run(tmp_path)] == ["keep", "keep"]
    assert "goes on as it was started: encoders.text.unknown=keep" in caplog.text


@pytest.fixture
def lost_pictures(post_rows: list[dict[str, Any]]) -> Posts:
    """Posts of which more than may be are bad."""
    return load_posts([{**row, "image": f"/nowhere/{row['id']}.png"} for row in post_rows])


def test_a_run_that_was_refused_leaves_no_folder(lost_pictures: Posts, tmp_path: Path) -> None:
    with_pictures = load_config(values={"fusion.name": "concat", "training.device": "cpu"})
    with pytest.raises(DataError, match="at most 5% unusable rows"):
        train_run(lost_pictures, with_pictures, tmp_path / "runs" / "first")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_failed_before_its_first_epoch_makes_way_for_other_settings(
    posts: Posts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(runs, "fit_classifier", fail)
        with pytest.raises(MemoryError):
            train_run(posts, configured(), tmp_path)
    smaller = configured().model_copy(update={"seed": 3})
    train_run(posts, smaller, tmp_path)
    assert read_json(tmp_path / "config.json")["seed"] == 3
    with pytest.raises(RunError, match="the settings it was started with, seed = 3"):
        train_run(posts, configured(), tmp_path)


def test_a_second_command_on_a_run_is_told_of_the_first(posts: Posts, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with writing_to(folder, "train"), pytest.raises(BusyError, match="'train' at work in it"):
        train_run(posts, configured(), folder)
    train_run(posts, configured(), folder)
    with writing_to(folder, "train"):
        assert len(load_run(folder)) == 1
    assert not {LOCK, HOLDER} & {file.name for file in folder.iterdir()}


def test_locks_of_a_killed_run_are_no_strangers(posts: Posts, tmp_path: Path) -> None:
    for name in (LOCK, HOLDER):
        (tmp_path / name).write_text("")
    train_run(posts, configured(), tmp_path)
    assert files_of(tmp_path)[0] == "bad_rows.jsonl"


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(
    posts: Posts, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    folder = small_disk(1000) / "run"
    with pytest.raises(DiskFullError, match="Make room, then give the same command again"):
        train_run(posts, configured(), folder)
    small_disk(100_000)
    found = train_run(posts, configured(), folder)
    expected = train_run(posts, configured(), tmp_path / "elsewhere")
    assert found.metrics == expected.metrics
    assert files_of(folder) == files_of(tmp_path / "elsewhere")


def test_what_changes_no_result_is_marked_where_it_is_described() -> None:
    machine = {"encoders.allow_download", "encoders.cache", "encoders.threads", "training.workers"}
    table = {"data.delimiter", "data.image_root"}
    assert machine | table | {"training.gradient_checkpointing"} == NO_DIFFERENCE


def test_a_run_goes_on_that_kept_what_it_did_not_read(posts: Posts, tmp_path: Path) -> None:
    train_run(posts, configured(), tmp_path)
    file = tmp_path / "config.json"
    settings = json.loads(file.read_text())
    settings["losses"]["temperature"], settings["self_training"]["rounds"] = 0.5, 9
    file.write_text(json.dumps(settings))
    train_run(posts, configured(), tmp_path, seeds=2)
    assert len(load_run(tmp_path)) == 2
