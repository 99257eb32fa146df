"""Run folders from a stranger: what is read of them is right, or refused in one line."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import PostsenseError, RunError
from postsense.runs.comparison import compare_run_folders
from postsense.runs.training import load_run, train_run

VALUES: tuple[Any, ...] = (None, [], {}, "x", "\ud800", 3, -1, 10**400, 1.5, True, ["a", "a"], [1])


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def again(run: Path, posts_file: Path) -> Callable[[], object]:
    """Gives the command again that the run was trained with."""
    quick = {"training.epochs": 8, "training.learning_rate": 0.01, "training.device": "cpu"}
    posts, config = load_posts(posts_file), load_config("concat", values=quick)
    return lambda: train_run(posts, config, run, seeds=2)


def refusal(work: Callable[[], object]) -> str:
    """The line with which a run is refused; nothing if it is not, or in several lines."""
    try:
        work()
    except RunError as error:
        return "" if "\n" in str(error) else str(error)
    return ""


def test_a_value_of_run_json_that_no_run_writes_is_one_line(
    run: Path, again: Callable[[], object]
) -> None:
    taken = []
    for value in VALUES:
        change_json(run / "run.json", classes=value)
        if not refusal(lambda: compare_run_folders([run])):
            taken.append(f"classes: {value!a:.40}")
        change_json(run / "run.json", classes=["a", "b"], fingerprint=value)
        if not refusal(again):
            taken.append(f"fingerprint: {value!a:.40}")
    assert taken == []


NO_OBJECTS = ("", "{", "[]", "null", '{"a": NaN}', "[" * 10**5, '{"a":1,"a":2}')


@pytest.mark.parametrize("name", ["run.json", "config.json", "seed-0/metrics.json"])
def test_json_that_is_no_object_is_one_line(
    run: Path, again: Callable[[], object], name: str
) -> None:
    lines = {}
    for text in NO_OBJECTS:
        (run / name).write_text(text)
        lines[text[:20]] = refusal(again)
    expected = re.compile(r"json: expected|the settings it was")
    assert [text for text, line in lines.items() if not expected.search(line)] == []


@pytest.mark.parametrize("value", [None, [], "x", {"accuracy": "1"}, {"accuracy": 1.0}])
def test_metrics_that_no_run_writes_are_one_line_that_can_be_followed(
    run: Path, again: Callable[[], object], value: Any
) -> None:
    change_json(run / "seed-0" / "metrics.json", test=value)
    with pytest.raises(RunError, match="expected numbers that were measured.* Remove the file"):
        again()


def test_folders_that_are_only_named_much_like_seeds_are_left_alone(run: Path) -> None:
    for name in ("seed-x", "seed-", "seed-0-old", "seed--1", "seed-" + "9" * 100):
        shutil.copytree(run / "seed-0", run / name)
    assert len(load_run(run)) == 2


def test_seeds_of_different_runs_are_not_averaged(run: Path) -> None:
    other = run / "seed-1" / "model"
    description = json.loads((other / "model.json").read_text())
    description["classes"] = ["a", "b", "c"]
    for name in ("sha256", "files"):
        del description[name]
    (other / "model.json").write_text(json.dumps(description))
    with pytest.raises(RunError, match=r"expected seeds of one run, of .* found one of \('a', 'b'"):
        load_run(run)


def rewritten(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def rewrite(file: Path) -> None:
        pq.write_table(change(pq.read_table(file)), file)

    return rewrite


def constant(name: str, value: Any) -> Callable[[Path], None]:
    return rewritten(
        lambda table: table.set_column(
            table.column_names.index(name), name, pa.array([value] * len(table))
        )
    )


PREDICTIONS: dict[str, Callable[[Path], None]] = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b"") and None,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-9]) and None,
    "no split": rewritten(lambda table: table.drop_columns(["split"])),
    "no label": rewritten(lambda table: table.drop_columns(["label"])),
    "numbers for splits": constant("split", 3),
    "numbers for labels": constant("label", 3),
    "another label": constant("predicted", "furious"),
    "no labels": constant("label", None),
    "other posts": rewritten(lambda table: table.slice(0, len(table) - 1)),
    "other truth": constant("label", "neutral"),
    "lists": constant("predicted", [1]),
    "words without end": constant("predicted", "negative" * 2**20),
}


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_that_no_run_writes_are_one_line(
    run: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postsense.runs.comparison.LARGEST_TABLE", 2**22)
    PREDICTIONS[kind](run / "seed-1" / "predictions.parquet")
    with pytest.raises(RunError) as error:
        compare_run_folders([run])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 2000


def test_predictions_of_few_bytes_that_become_many_are_not_read(run: Path) -> None:
    file = run / "seed-0" / "predictions.parquet"
    indices = pa.array([0] * 3_000_000, pa.int32())
    words = pa.DictionaryArray.from_arrays(indices, pa.array(["negative" * 2**10]))
    table = pa.table(dict.fromkeys(("split", "id", "label", "predicted"), words))
    pq.write_table(table, file, compression="zstd")
    assert file.stat().st_size < 200_000
    with pytest.raises(RunError, match="bytes of words"):
        compare_run_folders([run])


def test_damage_anywhere_in_a_run_is_the_same_answer_or_one_line(
    trained_run: Path, tmp_path: Path
) -> None:
    expected, draw = compare_run_folders([trained_run]), random.Random(0)
    names = ["run.json", "config.json", "seed-0/metrics.json", "seed-0/predictions.parquet"]
    for number in range(60):
        run = Path(shutil.copytree(trained_run, tmp_path / str(number)))
        file = run / draw.choice(names)
        data = bytearray(file.read_bytes())
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
        try:
            found = compare_run_folders([run])
        except PostsenseError as error:
            assert "\n" not in str(error)
            continue
        assert found["posts"] == expected["posts"]
