"""The suite of benchmarks: duplicates in one fold, results that are kept, honest intervals."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
suite = pytest.importorskip("suite")
tables = pytest.importorskip("suite_tables")

METHODS = ("regression", "few-labels")
Results = list[Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 60 posts, 48 of train and val, whose words tell the label; four pairs are alike."""
    home, rows = tmp_path_factory.mktemp("sets") / "made", list[dict[str, str]]()
    home.mkdir()
    generator = np.random.default_rng(0)
    for number in range(60):
        label, split = ("up", "down")[number % 2], ("train", "train", "train", "val", "test")
        text = f"{label} we go, number {number // 2 if number < 8 else number}"
        rows.append({"text": text, "label": label, "split": split[number // 2 % 5]})
        pixels = generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(home / f"{number}.png")
        rows[-1]["image"] = f"{number}.png"
        if number < 8:
            rows[-1]["dup_group"] = f"pair {number // 2}"
    lines = [json.dumps({"id": f"p{number}", **row}) for number, row in enumerate(rows)]
    (home / "posts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def ran(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "results.json"
    suite.main(arguments(folder, out))
    return out


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    words = [str(folder), "--methods", *METHODS, "--folds", "2", "--labels", "all,4"]
    return [*words, "--out", str(out), *more]


def result(fold: int, accuracy: float, **more: Any) -> Any:
    known = {"set": "s", "labels": "all", "repeat": 0, "method": "m", "macro_f1": 0.0, "seconds": 0}
    sizes = {"train": 80, "pool": 80, "tested": 20}
    return tables.Result(fold=fold, accuracy=accuracy, **{**known, **sizes, **more})


@pytest.mark.slow
def test_every_method_is_measured_on_every_fold_and_nothing_on_test(ran: Path) -> None:
    results = tables.read_results(ran)
    names = {one.method for one in results}
    assert names == {*METHODS, *suite.SIMPLE}
    assert len(results) == len(names) * 2 * 2 - 2  # of as many of each class there is no majority
    assert {one.pool + one.tested for one in results} == {48}
    assert {one.train for one in results if one.labels == "4"} == {8}
    found = {one.method: one.accuracy for one in results if one.labels == "all"}
    assert found["regression"] > 0.9 and found["majority"] <= 0.6


@pytest.mark.slow
def test_duplicates_are_in_one_fold(folder: Path) -> None:
    data = suite.PostSet.of(folder / "posts.jsonl")
    trials = list(suite.trials_of(data, suite.Asked(repeats=3, folds=2)))
    assert len(trials) == 6
    for trial in trials:
        held, learned = ({row // 2 for row in part if row < 8} for part in _parts(trial))
        assert not held & learned


def _parts(trial: Any) -> tuple[list[int], list[int]]:
    return trial.splits.test.tolist(), trial.splits.train.tolist()


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_keeps_what_it_has(
    folder: Path, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = ran.read_text(encoding="utf-8"), tmp_path / "results.json"
    lines = whole.splitlines()
    out.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20], encoding="utf-8")
    suite.main(arguments(folder, out))
    again = tables.read_results(out)
    assert out.read_text(encoding="utf-8").splitlines()[:-1] == lines[:-1]
    expected = [replace(one, seconds=0) for one in tables.read_results(ran)]
    assert [replace(one, seconds=0) for one in again] == expected
    assert "**made, 4 labels a class**" in capsys.readouterr().out


@pytest.mark.slow
def test_the_test_split_is_measured_once_where_it_is_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.json"
    suite.main([str(folder), "--methods", "regression", "--test", "--out", str(out)])
    results = tables.read_results(out)
    assert {(one.labels, one.train, one.tested) for one in results} == {("test", 36, 12)}
    assert len(results) == 1 + len(suite.SIMPLE)


def test_the_error_of_a_difference_counts_that_folds_share_posts() -> None:
    gains = np.array([0.02, 0.05, -0.01, 0.03])
    ours = [result(fold, 0.6 + gain) for fold, gain in enumerate(gains)]
    theirs = [result(fold, 0.6) for fold in range(4)]
    found = tables.difference_of(ours, theirs, "accuracy")
    assert found.mean == pytest.approx(gains.mean())
    assert found.error == pytest.approx(np.sqrt(gains.var(ddof=1) * (1 / 4 + 20 / 80)))
    assert found.half == pytest.approx(3.182446 * found.error)
    few = [replace(one, train=8) for one in ours]
    apart = tables.difference_of(few, theirs, "accuracy")
    assert apart.error == pytest.approx(np.sqrt(gains.var(ddof=1) * (1 / 4 + 20 / 80 / 10)))


def test_methods_are_compared_with_the_simple_answer_that_is_best_in_each_metric(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = {"majority": (0.7, 0.3), "tf-idf": (0.6, 0.5), tables.REFERENCE: (0.5, 0.4)}
    scores["m"] = (0.8, 0.8)
    tables.print_tables(
        [
            result(fold, accuracy, macro_f1=f1, method=name)
            for name, (accuracy, f1) in scores.items()
            for fold in range(2)
        ]
    )
    shown = capsys.readouterr().out
    assert "majority in accuracy, tf-idf in macro F1" in shown
    assert "| +0.1000 ± 0.0000 | +0.3000 ± 0.0000 |" in shown.splitlines()[-1]
