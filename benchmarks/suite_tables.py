"""Results of trials → means, and paired differences with their standard errors, as Markdown."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, f1_score

from postsense.arrays import Array
from suite_simple import REFERENCE, SIMPLE

METRICS = ("accuracy", "macro_f1")
COLUMNS = (
    *("accuracy", "macro F1"),
    *("accuracy - regression [95 %]", "macro F1 - regression [95 %]"),
    *("accuracy - best simple", "macro F1 - best simple", "seconds"),
)


@dataclass(frozen=True)
class Result:
    """What one method gave in one trial.

    labels: "all", "test", or the number a class. train, pool, tested: numbers of posts; train was
    drawn from pool. seconds: of training and answering. how: what was chosen, as JSON.
    """

    set: str
    labels: str
    repeat: int
    fold: int
    method: str
    accuracy: float
    macro_f1: float
    train: int
    pool: int
    tested: int
    seconds: float
    how: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """Names the result among others."""
        return (self.set, self.labels, self.repeat, self.fold, self.method)


@dataclass(frozen=True)
class Difference:
    """A mean paired difference, its standard error and half of its 95 % interval."""

    mean: float
    error: float
    half: float


def headline(labels: Array, predicted: Array) -> dict[str, float]:
    """Accuracy and macro F1 over the classes that occur."""
    macro = f1_score(labels, predicted, average="macro", zero_division=0)
    return {"accuracy": float(accuracy_score(labels, predicted)), "macro_f1": float(macro)}


def read_results(path: Path) -> list[Result]:
    """The results of a file, if it is there; a last line that was not finished is none."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(Result(**json.loads(line)))
        except ValueError:
            continue
    return found


def difference_of(ours: Sequence[Result], theirs: Sequence[Result], metric: str) -> Difference:
    """Ours less theirs on the trials that both have.

    Source: Nadeau & Bengio 2003, Inference for the generalization error, section 4, corrected
        resampled t-test: Var (1 / J + n_test / n_train) over J trials, Student's t of J - 1.
    Deviation: n_test / n_train is counted for the share of the train folds that is learned from:
        trials that draw few labels share few posts.
    """
    other = {(one.repeat, one.fold): getattr(one, metric) for one in theirs}
    both = [one for one in ours if (one.repeat, one.fold) in other]
    gains = np.array([getattr(one, metric) - other[one.repeat, one.fold] for one in both])
    count = len(gains)
    if count < 2:
        return Difference(float(gains.mean()) if count else np.nan, np.nan, np.nan)
    shared = np.mean([one.tested / one.pool * one.train / one.pool for one in both])
    error = float(np.sqrt(gains.var(ddof=1) * (1 / count + shared)))
    return Difference(float(gains.mean()), error, error * float(student.ppf(0.975, count - 1)))


def print_tables(results: Sequence[Result]) -> None:
    """The machine, all methods in one table, and one table with simple answers for each set."""
    print(f"Machine: {platform.machine()}, {cpu_name()}.\n")
    names = dict.fromkeys((one.set, one.labels) for one in results)
    parts = {name: [one for one in results if (one.set, one.labels) == name] for name in names}
    print(_line("set", "labels", "trials", "method", *COLUMNS) + "\n|" + "---|" * 11)
    for (name, labels), part in parts.items():
        by = _by_method(part)
        for method in (each for each in by if each not in SIMPLE):
            print(_line(name, labels, str(len(by[method])), method, *_cells(method, by)))
    for (name, labels), part in parts.items():
        _print_table(name, labels, _by_method(part))


def _print_table(name: str, labels: str, by: Mapping[str, Sequence[Result]]) -> None:
    best = {metric: _best_simple(by, metric) for metric in METRICS}
    first = by[next(iter(by))]
    said = {"all": "all labels", "test": "the test split"}.get(labels, f"{labels} labels a class")
    sizes = ", ".join(f"{_mean(first, size):.0f} {size}" for size in ("train", "tested"))
    print(f"\n**{name}, {said}**: {len(first)} trials of {sizes} posts; the best simple answer is")
    print(f"{best['accuracy']} in accuracy, {best['macro_f1']} in macro F1.\n")
    print(_line("method", *COLUMNS) + "\n|" + "---|" * 8)
    for method in by:
        print(_line(method, *_cells(method, by)))


def _by_method(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each method, simple answers first."""
    methods = dict.fromkeys([*SIMPLE, *(one.method for one in results)])
    by = {name: [one for one in results if one.method == name] for name in methods}
    return {name: own for name, own in by.items() if own}


def _cells(method: str, by: Mapping[str, Sequence[Result]]) -> list[str]:
    """What `COLUMNS` name, of one method among others."""
    own = by[method]
    cells = [f"{_mean(own, metric):.4f}" for metric in METRICS]
    cells += [_with_interval(difference_of(own, by[REFERENCE], each)) for each in METRICS]
    bar = [difference_of(own, by[_best_simple(by, each)], each) for each in METRICS]
    cells += ["" if method in SIMPLE else _with_error(gain) for gain in bar]
    return [*cells, f"{_mean(own, 'seconds'):.1f}"]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _best_simple(by: Mapping[str, Sequence[Result]], metric: str) -> str:
    """The simple answer with the best mean, in hindsight."""
    return max((each for each in SIMPLE if each in by), key=lambda each: _mean(by[each], metric))


def _mean(results: Sequence[Result], metric: str) -> float:
    return float(np.mean([getattr(one, metric) for one in results]))


def _with_interval(gain: Difference) -> str:
    if gain.error == 0:
        return ""
    if np.isnan(gain.error):
        return f"{gain.mean:+.4f}"
    low, high = gain.mean - gain.half, gain.mean + gain.half
    return f"{gain.mean:+.4f} ± {gain.error:.4f} [{low:+.4f}, {high:+.4f}]"


def _with_error(gain: Difference) -> str:
    return f"{gain.mean:+.4f}" if np.isnan(gain.error) else f"{gain.mean:+.4f} ± {gain.error:.4f}"


def cpu_name() -> str:
    """What the processor calls itself, where the system tells."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
