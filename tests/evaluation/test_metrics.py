"""Every number we report equals scikit-learn's or a value worked out by hand."""

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from postsense.errors import ConfigError
from postsense.evaluation.metrics import (
    HEADLINE,
    HIGHER_IS_BETTER,
    classification_metrics,
    headline_metric,
    positive_number,
)

NAMES = ("a", "b", "c", "d")


def draw(seed: int, labels: int, guesses: int, posts: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Random labels below `labels` and guesses below `guesses`: the classes above are absent."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, labels, posts), generator.integers(0, guesses, posts)


CASES = [(0, 4, 4), (1, 4, 2), (2, 2, 4), (3, 3, 3), (4, 1, 1), (5, 1, 4)]


@pytest.mark.parametrize(("seed", "labels", "guesses"), CASES)
def test_averages_equal_scikit_learns(seed: int, labels: int, guesses: int) -> None:
    true, predicted = draw(seed, labels, guesses)
    report = classification_metrics(true, predicted, NAMES)
    scorers = {
        "f1": metrics.f1_score,
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
    }
    assert report["accuracy"] == metrics.accuracy_score(true, predicted)
    for average in ("macro", "weighted"):
        for name, scorer in scorers.items():
            expected = scorer(true, predicted, average=average, zero_division=0)
            assert report[f"{average}_{name}"] == expected


@pytest.mark.parametrize(("seed", "labels", "guesses"), CASES)
def test_each_class_is_reported_even_if_it_is_absent(seed: int, labels: int, guesses: int) -> None:
    true, predicted = draw(seed, labels, guesses)
    report = classification_metrics(true, predicted, NAMES)
    f1 = metrics.f1_score(true, predicted, labels=range(4), average=None, zero_division=0)
    assert [report["per_class"][name]["f1"] for name in NAMES] == f1.tolist()
    assert [report["per_class"][name]["posts"] for name in NAMES] == np.bincount(
        true, minlength=4
    ).tolist()
    assert (
        report["confusion"] == metrics.confusion_matrix(true, predicted, labels=range(4)).tolist()
    )


def test_the_rows_of_the_confusion_matrix_are_true_classes() -> None:
    report = classification_metrics(np.array([0, 0, 1]), np.array([1, 1, 1]), ("x", "y"))
    assert report["confusion"] == [[0, 2], [0, 1]]
    assert report["classes"] == ["x", "y"]
    assert report["posts"] == 3


def test_two_classes_are_also_scored_for_the_last_one_alone() -> None:
    true, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 0])
    report = classification_metrics(true, predicted, ("non-sarcastic", "sarcastic"))
    assert report["binary"]["positive_class"] == "sarcastic"
    assert report["binary"]["precision"] == pytest.approx(1 / 3)
    assert report["binary"]["recall"] == 1 / 2
    assert report["binary"]["f1"] == metrics.f1_score(true, predicted)


def test_more_than_two_classes_have_no_binary_score() -> None:
    assert "binary" not in classification_metrics(*draw(0, 3, 3), ("a", "b", "c"))


def test_a_positive_class_that_never_occurs_scores_zero() -> None:
    report = classification_metrics(np.zeros(4, int), np.zeros(4, int), ("no", "yes"))
    assert report["binary"]["f1"] == 0.0
    assert report["accuracy"] == report["macro_f1"] == 1.0


def test_a_report_is_plain_json() -> None:
    report = classification_metrics(*draw(0, 2, 2), ("no", "yes"))
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize("name", HEADLINE)
def test_a_headline_metric_of_logits_is_the_reports(name: str) -> None:
    logits = np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32)
    labels, _ = draw(3, 4, 4, posts=40)
    report = classification_metrics(labels, logits.argmax(axis=1), NAMES)
    assert headline_metric(name, logits, labels) == report[name]


def test_the_loss_is_the_mean_negative_log_probability() -> None:
    logits = np.random.default_rng(4).normal(size=(20, 4))
    labels, _ = draw(4, 4, 4, posts=20)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert headline_metric("loss", logits, labels) == pytest.approx(
        metrics.log_loss(labels, probs, labels=range(4))
    )
    assert headline_metric("loss", np.zeros((2, 4)), np.array([0, 3])) == pytest.approx(np.log(4))


def test_only_the_loss_is_better_when_lower() -> None:
    assert {name for name, higher in HIGHER_IS_BETTER.items() if not higher} == {"loss"}


def test_a_class_that_no_post_has_is_named_and_counts_only_where_it_is_predicted() -> None:
    names, labels = ("a", "b", "rare"), np.array([0, 0, 1, 1])
    right = classification_metrics(labels, labels, names)
    assert (right["absent_classes"], right["macro_f1"]) == (["rare"], 1.0)
    wrong = classification_metrics(labels, np.array([0, 0, 1, 2]), names)
    assert (wrong["absent_classes"], wrong["macro_f1"]) == (["rare"], pytest.approx(5 / 9))
    assert classification_metrics(np.arange(3), labels[:3], names)["absent_classes"] == []


@pytest.mark.parametrize("positive", [0, 1, 2])
def test_the_positive_class_is_scored_against_all_others(positive: int) -> None:
    true, predicted = draw(5, 3, 3)
    report = classification_metrics(true, predicted, ("a", "b", "c"), positive)
    expected = metrics.f1_score(true == positive, predicted == positive)
    assert report["binary"]["f1"] == pytest.approx(expected)
    assert report["binary"]["positive_class"] == "abc"[positive]


@pytest.mark.parametrize(
    ("name", "kind", "number"),
    [("yes", "text", 1), (" YES ", "text", 1), (None, "text", None), ("1.0", "int", 1)],
)
def test_the_positive_class_goes_by_its_name(name: Any, kind: Any, number: int | None) -> None:
    classes = ("0", "1") if kind == "int" else ("no", "yes")
    assert positive_number(classes, name, kind) == number


def test_a_positive_class_that_is_none_of_them_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.positive_class: .* found 'yess'. Did you mean 'y"):
        positive_number(("no", "yes"), "yess", "text")
