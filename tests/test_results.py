"""Run folders → the comparison that is printed and written."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from postsense.errors import ConfigError, DataError, RunError
from postsense.evaluation.compare import compare_runs, seed_scores
from postsense.runs.comparison import compare_run_folders, read_predictions
from postsense.runs.folder import read_json
from postsense.saving.description import digest_of
from postsense.saving.files import file_hashes


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


def test_a_run_without_classes_has_nothing_to_compare(copy: Path) -> None:
    description = {**read_json(copy / "run.json")}
    del description["classes"]
    (copy / "run.json").write_text(json.dumps(description))
    with pytest.raises(RunError, match=r"expected a run of 'postsense train', found one without"):
        compare_run_folders([copy])


def by_parity(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "parity": int(row["id"][1:]) % 2} for row in rows]


def test_a_groups_comparison_is_that_of_its_posts_alone(
    trained_run: Path, copy: Path, post_rows: list[dict[str, Any]]
) -> None:
    rewrite(copy, lambda table: always(table, "neutral"))
    folders, table = [trained_run, copy], by_parity(post_rows)[::-1]
    comparison = compare_run_folders(folders, "test", "parity", table)
    whole = [read_predictions(folder, "test") for folder in folders]
    for group, odd in zip(comparison["by"]["groups"], (0, 1), strict=True):
        rows = np.array([place for place, i in enumerate(whole[0].ids) if int(i[1:]) % 2 == odd])
        runs = [run.take(rows) for run in whole]
        assert (group["value"], group["posts"]) == (str(odd), len(rows))
        assert group["differences"] == [vars(item) for item in compare_runs(*runs)]
        means = [run["macro_f1"]["mean"] for run in group["runs"]]
        assert means == [seed_scores(run)["macro_f1"].mean() for run in runs]


def test_groups_leave_the_comparison_of_the_whole_as_it_is(
    trained_run: Path, copy: Path, post_rows: list[dict[str, Any]]
) -> None:
    comparison = compare_run_folders([trained_run, copy], "val", "parity", by_parity(post_rows))
    by = comparison.pop("by")
    assert comparison == compare_run_folders([trained_run, copy], "val")
    assert (by["column"], sum(group["posts"] for group in by["groups"])) == ("parity", 9)
    assert json.loads(json.dumps(by, allow_nan=False)) == by


def test_a_table_of_ids_and_groups_is_enough(
    trained_run: Path, post_rows: list[dict[str, Any]]
) -> None:
    bare = [{"id": row["id"], "topic": "x"} for row in post_rows]
    comparison = compare_run_folders([trained_run], by="topic", table=bare)
    assert comparison["by"]["groups"][0]["runs"] == comparison["runs"]


@pytest.mark.parametrize(("by", "table"), [("label", None), (None, [{"text": "a"}])])
def test_a_column_needs_a_table_and_a_table_a_column(
    trained_run: Path, by: str | None, table: Any
) -> None:
    with pytest.raises(ConfigError, match="expected a column and a table.*both --by and --table"):
        compare_run_folders([trained_run], by=by, table=table)


def test_posts_that_are_not_in_the_table_are_counted(
    trained_run: Path, post_rows: list[dict[str, Any]]
) -> None:
    rows = [row for row in post_rows if row["split"] != "test"]
    with pytest.raises(RunError, match="all 9 posts of .*, found 9 that are not in it, such as"):
        compare_run_folders([trained_run], by="label", table=rows)


def test_a_table_with_other_labels_is_refused(
    trained_run: Path, post_rows: list[dict[str, Any]]
) -> None:
    rows = [{**row, "label": "neutral"} for row in post_rows]
    with pytest.raises(RunError, match="expected the labels of .*, found 6 other labels"):
        compare_run_folders([trained_run], by="split", table=rows)


def test_a_column_that_the_table_lacks_is_refused(
    trained_run: Path, post_rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(DataError, match="a column 'paritty', .* Did you mean 'parity'"):
        compare_run_folders([trained_run], by="paritty", table=by_parity(post_rows))


def describe(model: Path, **values: Any) -> None:
    """Change what model.json says, and its checksum with it."""
    description = {**json.loads((model / "model.json").read_text()), **values}
    description["sha256"] = digest_of(description)
    (model / "model.json").write_text(json.dumps(description))


def test_a_run_that_was_trained_on_the_posts_that_are_measured_is_named(
    trained_run: Path, copy: Path, post_rows: list[dict[str, Any]]
) -> None:
    assert "seen" not in compare_run_folders([trained_run, copy])
    for model in copy.glob("seed-*/model"):
        seen = load_file(model / "seen.safetensors")
        seen["trained"] = torch.cat([seen["trained"], seen["tested"]])
        save_file(seen, model / "seen.safetensors")
        describe(model, files=file_hashes(model))
    assert compare_run_folders([trained_run, copy])["seen"] == [{"name": str(copy), "posts": 9}]


def test_runs_of_which_one_is_older_are_compared_without_knowing(
    trained_run: Path, copy: Path
) -> None:
    (copy / "seed-0" / "model" / "seen.safetensors").unlink()
    describe(copy / "seed-0" / "model", files=file_hashes(copy / "seed-0" / "model"))
    assert compare_run_folders([trained_run, copy])["seen"] is None
    shutil.rmtree(copy / "seed-1" / "model")
    assert compare_run_folders([copy])["seen"] is None
