"""What a run folder takes for its own: files of strangers stay, halves of its own files go."""

from pathlib import Path

import pytest

from postsense import model_folder
from postsense.atomic import replacing
from postsense.config import Config
from postsense.config_loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import RunError
from postsense.posts import Posts
from postsense.run_folder import LEFTOVER, WRITTEN_WHOLE
from postsense.runs import load_run, train_run


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
