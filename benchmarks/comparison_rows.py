"""What `compare_run_folders` says of a run → cells of a Markdown table."""

from collections.abc import Mapping
from typing import Any

METRICS = ("accuracy", "weighted_f1", "macro_f1")


def scores(run: Mapping[str, Any]) -> str:
    """Accuracy, weighted F1 and macro F1, each a mean and its spread over seeds."""
    return " | ".join(f"{run[name]['mean']:.4f} ± {run[name]['sd'] or 0:.4f}" for name in METRICS)


def against(comparison: Mapping[str, Any], run: Mapping[str, Any], metric: str) -> str:
    """Difference from the first run, 95 % interval and p; empty cells for the first itself."""
    for gain in comparison["differences"]:
        if (gain["name"], gain["metric"]) == (run["name"], metric):
            p_value = "" if gain["p_value"] is None else f"{gain['p_value']:.3f}"
            interval = f"[{gain['low']:+.4f}, {gain['high']:+.4f}]"
            return f"{gain['difference']:+.4f} | {interval} | {p_value}"
    return " |  | "
