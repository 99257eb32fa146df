"""Where a model may be written: nothing of the user's goes, and a whole model is always there."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from postsense import PostClassifier
from postsense.errors import ModelError
from postsense.files.atomic import replacing_folder, whole_folder
from postsense.prediction.classifier import Classifier
from postsense.saving.folder import load_model, save_model

OLD = Path(__file__).parent / "fixtures" / "model-of-format-1-frozen"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_model(OLD)


@pytest.fixture
def other(classifier: Classifier) -> Classifier:
    """One that differs by the names of its classes."""
    return replace(classifier, classes=("a", "b", "c"))


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def with_files(*files: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("precious")

    return make


def model_and(*files: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        shutil.copytree(OLD, folder)
        with_files(*files)(folder)

    return make


def linked(folder: Path) -> None:
    shutil.copytree(OLD, folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


def linked_weights(folder: Path) -> None:
    model_and()(folder)
    weights = (folder / "weights.safetensors").rename(folder.with_name("kept.safetensors"))
    (folder / "weights.safetensors").symlink_to(weights)


def of_another_program(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.json").write_text('{"format": "layers-model", "weightsManifest": []}')


REFUSED = {
    "files of the user's": with_files("thesis.tex"),
    "a hidden file": with_files(".git/HEAD"),
    "a run": with_files("config.json", "run.json", "seed-0/model/model.json"),
    "a corpus": with_files("corpus.json", "vectors/0.npy"),
    "a model with notes": model_and("notes.txt"),
    "a model with a folder": model_and("text_encoder/thesis.tex"),
    "a damaged description": with_files("model.json", "weights.safetensors"),
    "weights alone": with_files("weights.safetensors"),
    "another program's model": of_another_program,
    "a file": lambda folder: folder.write_text("precious") and None,
    "a link to a model": linked,
    "a link in a model": linked_weights,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_models_is_refused_and_left_alone(
    classifier: Classifier, tmp_path: Path, kind: str
) -> None:
    REFUSED[kind](tmp_path / "place")
    before = contents(tmp_path)
    with pytest.raises(ModelError, match="a folder that is new, empty or a model's") as error:
        save_model(classifier, tmp_path / "place")
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("place", ["", ".", "..", "/", "../work", "inner/..", "~home", "work"])
def test_the_folder_one_works_in_and_those_above_are_refused(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "work" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "user"))
    (tmp_path / "home" / "user").mkdir(parents=True)
    paths = {"~home": tmp_path / "home" / "user", "work": tmp_path / "work"}
    with pytest.raises(ModelError, match="the working folder|the home folder|in it"):
        save_model(classifier, paths.get(place, Path(place)))
    assert names(tmp_path) == ["home", "work"]


def test_the_estimator_refuses_too(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ModelError, match=r"found \['thesis.tex'\] in it. Name another folder"):
        PostClassifier.load(OLD).save(tmp_path)
    assert names(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("kind", ["new", "empty", "a model's"])
def test_a_model_is_written_where_one_may_be(
    classifier: Classifier, other: Classifier, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "above" / "model"
    if kind == "empty":
        folder.mkdir(parents=True)
    if kind == "a model's":
        save_model(other, folder)
    save_model(classifier, folder)
    assert load_model(folder).classes == ("negative", "neutral", "positive")
    assert names(folder.parent) == ["model"]


def test_a_model_that_cannot_be_written_down_leaves_the_old_one(
    classifier: Classifier, tmp_path: Path
) -> None:
    save_model(classifier, tmp_path / "model")
    before = contents(tmp_path)
    with pytest.raises(TypeError):
        save_model(replace(classifier, classes=(object(),) * 3), tmp_path / "model")
    assert contents(tmp_path) == before


def test_weights_that_are_not_numbers_are_not_saved(tmp_path: Path) -> None:
    diverged = load_model(OLD)
    next(diverged.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(ModelError, match="expected weights that are finite numbers"):
        save_model(diverged, tmp_path / "model")
    assert names(tmp_path) == []


def test_a_reader_finds_a_whole_model_at_every_moment(
    classifier: Classifier, other: Classifier, tmp_path: Path
) -> None:
    save_model(classifier, tmp_path / "model")
    done = threading.Event()

    def write() -> None:
        for number in range(4):
            save_model((other, classifier)[number % 2], tmp_path / "model")
        done.set()

    writer, seen = threading.Thread(target=write), set()
    writer.start()
    while not done.is_set():
        seen.add(load_model(tmp_path / "model").classes)
    writer.join()
    assert seen <= {classifier.classes, other.classes}


def test_two_savers_at_once_both_end_and_leave_one_model(
    classifier: Classifier, other: Classifier, tmp_path: Path
) -> None:
    failed = list[Exception]()

    def write(saved: Classifier) -> None:
        try:
            for _ in range(3):
                save_model(saved, tmp_path / "model")
        except Exception as error:  # a thread's would be lost
            failed.append(error)

    writers = [threading.Thread(target=write, args=(saved,)) for saved in (classifier, other)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    assert load_model(tmp_path / "model").classes in (classifier.classes, other.classes)
    assert names(tmp_path) == ["model"]


REPLACE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from postsense.files import atomic
if sys.argv[2] == "aside":  # as where the system cannot exchange two folders
    atomic._exchanged = lambda *_: False
for number in itertools.count():
    with atomic.replacing_folder(Path(sys.argv[1])) as building:
        for name in ("first", "second"):
            (building / name).write_text(str(number))
    print(number, flush=True)
"""


@pytest.mark.parametrize("how", ["at once", "aside"])
def test_a_kill_at_any_moment_leaves_a_whole_folder_and_the_next_tidies_up(
    tmp_path: Path, how: str
) -> None:
    folder, command = tmp_path / "kept", [sys.executable, "-c", REPLACE_FOR_EVER]
    for delay_ms in range(0, 12, 2):
        with subprocess.Popen([*command, folder, how], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay_ms / 1000)
            process.kill()
        found = contents(whole_folder(folder))
        assert set(found) == {"first", "second"}
        assert found["first"] == found["second"]
    with replacing_folder(folder) as building:
        (building / "first").write_text("last")
    assert names(tmp_path) == ["kept"]
    assert names(folder) == ["first"]


def test_a_model_that_was_set_aside_when_its_saver_was_killed_is_found(
    classifier: Classifier, other: Classifier, tmp_path: Path
) -> None:
    save_model(classifier, tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.postsense-before")
    assert load_model(tmp_path / "model").classes == classifier.classes
    save_model(other, tmp_path / "model")
    assert load_model(tmp_path / "model").classes == other.classes
    assert names(tmp_path) == ["model"]


def test_what_is_only_named_like_a_leftover_stays(classifier: Classifier, tmp_path: Path) -> None:
    kept = [".model.old", ".model.swp", ".model.lock", ".models." + "0f" * 16, "." + "0f" * 16]
    for name in kept:
        (tmp_path / name).write_text("precious")
    save_model(classifier, tmp_path / "model")
    save_model(classifier, tmp_path / "model")
    assert names(tmp_path) == sorted([*kept, "model"])


def test_a_description_says_nothing_of_the_machine_it_was_written_on(
    classifier: Classifier, tmp_path: Path
) -> None:
    threads = classifier.config.encoders.model_copy(update={"threads": 7, "cache": tmp_path})
    config = classifier.config.model_copy(update={"encoders": threads})
    save_model(replace(classifier, config=config), tmp_path / "model")
    said = json.loads((tmp_path / "model" / "model.json").read_text())["config"]
    assert {"cache", "threads", "allow_download"}.isdisjoint(said["encoders"])
    assert {"device", "workers", "start_from"}.isdisjoint(said["training"])
