"""What was measured of a run, and of simple answers beside it → the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

PARTS = ("folds", "val", "test")
METRICS = {"accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
Reports = Mapping[int, Mapping[str, Any]]
"""metrics.json of each seed."""


def results_table(reports: Reports) -> Table:
    """The result of each seed, and beside it the simple answers, which are means over seeds."""
    results = {_title(seed, reports): report for seed, report in reports.items()}
    beside: dict[str, list[Mapping[str, Any]]] = {}
    for report in reports.values():
        for name, measured in report.get("baselines", {}).items():
            beside.setdefault(name, []).append(measured)
    table = Table("split", "metric", *results, *beside)
    for part in PARTS:
        title = part
        for metric, named in METRICS.items():
            scores = [_mean([report], part, metric) for report in results.values()]
            if any(score != "-" for score in scores):
                scores += [_mean(measured, part, metric) for measured in beside.values()]
                table.add_row(title, named, *scores)
                title = ""
        table.add_section()
    if any(report["epochs"] for report in reports.values()):
        table.add_row("", "best epoch", *(str(report["best_epoch"]) for report in reports.values()))
    return table


def floor_lines(reports: Reports) -> list[str]:
    """What each seed's result is, next to simple answers, where it does not stand above them.

    An ensemble that trusts no member has said so itself.
    """
    said = {
        seed: report["remark"]
        for seed, report in reports.items()
        if "remark" in report and report.get("pool", {}).get("trust") != 0
    }
    return [line if len(reports) == 1 else f"seed {seed}: {line}" for seed, line in said.items()]


def _title(seed: int, reports: Reports) -> str:
    return "result" if len(reports) == 1 else f"seed {seed}"


def _mean(measured: Sequence[Mapping[str, Any]], part: str, metric: str) -> str:
    scores = [one[part][metric] for one in measured if metric in one.get(part, {})]
    return f"{np.mean(scores):.4f}" if scores else "-"
