"""Run folders → the comparison that is printed and written."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from postsense.errors import RunError
from postsense.evaluation.compare import compare_runs
from postsense.results import compare_run_folders, read_predictions
from postsense.runs import read_json


@pytest.fixture
def copy(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "copy"))


def rewrite(folder: Path, change: Any) -> None:
    """Write the predictions of every seed anew, as change(table) makes them."""
    for file in folder.glob("seed-*/predictions.parquet"):
        pq.write_table(change(pq.read_table(file)), file)


def always(table: Any, label: str) -> Any:
    return table.set_column(3, "predicted", [[label] * len(table)])


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "weighted_f1"])
def test_scores_are_mean_and_deviation_of_the_seeds_own_metrics(
    trained_run: Path, split: str, metric: str
) -> None:
    comparison = compare_run_folders([trained_run], split)
    metrics = [read_json(trained_run / f"seed-{seed}" / "metrics.json") for seed in (0, 1)]
    each = [report[split][metric] for report in metrics]
    [run] = comparison["runs"]
    assert run[metric]["mean"] == pytest.approx(np.mean(each))
    assert run[metric]["sd"] == pytest.approx(np.std(each, ddof=1))
    assert (run["seeds"], comparison["posts"], comparison["differences"]) == ([0, 1], 9, [])


def test_differences_are_those_from_the_first_run(trained_run: Path, copy: Path) -> None:
    rewrite(copy, lambda table: always(table, "neutral"))
    comparison = compare_run_folders([trained_run, copy])
    expected = compare_runs(*(read_predictions(run, "test") for run in (trained_run, copy)))
    assert comparison["differences"] == [vars(item) for item in expected]
    [accuracy, *_] = comparison["differences"]
    assert (accuracy["baseline"], accuracy["name"]) == (str(trained_run), str(copy))
    assert accuracy["difference"] == pytest.approx(
        1 / 3 - comparison["runs"][0]["accuracy"]["mean"]
    )


def test_a_run_does_not_differ_from_its_copy(trained_run: Path, copy: Path) -> None:
    for item in compare_run_folders([trained_run, copy])["differences"]:
        assert (item["difference"], item["low"], item["high"], item["p_value"]) == (0, 0, 0, 1.0)


def test_a_single_seed_has_neither_deviation_nor_p_value(trained_run: Path, copy: Path) -> None:
    shutil.rmtree(copy / "seed-1")
    comparison = compare_run_folders([trained_run, copy])
    assert comparison["runs"][1]["accuracy"]["sd"] is None
    assert {item["p_value"] for item in comparison["differences"]} == {None}


def test_a_comparison_is_plain_json(trained_run: Path, copy: Path) -> None:
    comparison = compare_run_folders([trained_run, copy])
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison


def test_the_order_of_rows_in_a_run_does_not_matter(trained_run: Path, copy: Path) -> None:
    rewrite(copy, lambda table: table.take(np.arange(len(table))[::-1]))
    first, second = compare_run_folders([trained_run, copy])["runs"]
    assert {**first, "name": ""} == {**second, "name": ""}


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.slice(0, len(table) - 1),
        lambda table: table.set_column(2, "label", [["neutral"] * len(table)]),
        lambda table: table.set_column(1, "id", [[f"x{n}" for n in range(len(table))]]),
    ],
)
def test_runs_on_other_posts_are_refused(trained_run: Path, copy: Path, change: Any) -> None:
    rewrite(copy, change)
    with pytest.raises(RunError, match="expected test predictions on the same posts"):
        compare_run_folders([trained_run, copy])


def test_a_split_without_predictions_is_refused(trained_run: Path) -> None:
    with pytest.raises(RunError, match=r"predictions on split 'dev', found only \['test', 'val'\]"):
        compare_run_folders([trained_run], "dev")


def test_damaged_predictions_are_refused(copy: Path) -> None:
    (copy / "seed-1" / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        RunError, match=r"seed-1/predictions.parquet: expected predictions"
    ) as error:
        compare_run_folders([copy])
    assert "\n" not in str(error.value)


def test_a_model_folder_has_nothing_to_compare(trained_run: Path) -> None:
    with pytest.raises(RunError, match="expected a run folder"):
        compare_run_folders([trained_run / "seed-0" / "model"])
