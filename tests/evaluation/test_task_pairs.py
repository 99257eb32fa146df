"""Two tasks at once: classes, probabilities and metrics of the pair, and what cannot be joined."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from postsense.data.bad_rows import BadRow
from postsense.errors import DataError
from postsense.evaluation.task_pairs import pair_metrics, pair_tasks
from postsense.prediction.classifier import Predictions

CLASSES = (("no", "yes"), ("high", "low", "middle"))


def drawn(task: int, posts: int = 40) -> Predictions:
    """Random predictions of the first or second task."""
    generator = np.random.default_rng(task)
    probs = generator.dirichlet(np.ones(len(CLASSES[task])), posts).astype(np.float32)
    return Predictions(tuple(f"p{row}" for row in range(posts)), CLASSES[task], probs, ())


def without(predictions: Predictions, row: int, reason: str) -> Predictions:
    probs = predictions.probs.copy()
    probs[row] = np.nan
    return replace(predictions, probs=probs, bad=(BadRow(predictions.ids[row], reason),))


def labels_of(task: int, posts: int = 40) -> list[str | None]:
    return [str(one) for one in np.random.default_rng(9 + task).choice(CLASSES[task], posts)]


def test_the_pair_has_every_two_classes_and_their_product() -> None:
    first, second = drawn(0), drawn(1)
    pair = pair_tasks(first, second)
    assert (pair.ids, len(pair.classes), pair.probs.dtype) == (first.ids, 6, np.float32)
    for a, name in enumerate(first.classes):
        for b, other in enumerate(second.classes):
            column = pair.probs[:, pair.classes.index(f"{name} & {other}")]
            np.testing.assert_allclose(column, first.probs[:, a] * second.probs[:, b])
    np.testing.assert_allclose(pair.probs.sum(axis=1), 1, rtol=1e-5)


def test_the_label_of_the_pair_is_both_labels() -> None:
    first, second = drawn(0), drawn(1)
    both = [f"{a} & {b}" for a, b in zip(first.labels, second.labels, strict=True)]
    assert pair_tasks(first, second).labels == both
    assert len(set(both)) == 6


def test_posts_are_joined_by_id_whatever_their_order() -> None:
    first, second = drawn(0), without(drawn(1), 7, "lost")
    order = np.random.default_rng(2).permutation(40)
    ids = tuple(second.ids[row] for row in order)
    shuffled = replace(second, ids=ids, probs=second.probs[order])
    pair, expected = pair_tasks(first, shuffled), pair_tasks(first, second)
    np.testing.assert_array_equal(pair.probs, expected.probs)
    assert (pair.ids, pair.bad) == (expected.ids, expected.bad)


def test_a_row_that_is_bad_in_either_is_bad() -> None:
    pair = pair_tasks(without(drawn(0), 5, "no picture"), without(drawn(1), 3, "no text"))
    assert pair.bad == (BadRow("p3", "no text"), BadRow("p5", "no picture"))
    assert [row for row, label in enumerate(pair.labels) if label is None] == [3, 5]
    assert np.isnan(pair.probs[[3, 5]]).all()


def test_a_row_that_is_bad_in_both_is_listed_once() -> None:
    pair = pair_tasks(without(drawn(0), 5, "no picture"), without(drawn(1), 5, "no text"))
    assert pair.bad == (BadRow("p5", "no picture"),)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (("p0", "p1", "other"), "the same posts in both, found 2 in one only, such as 'other'"),
        (("p0", "p1", "p1"), "second run: expected each name once, found 'p1' more than once"),
    ],
)
def test_posts_that_cannot_be_joined_are_refused(ids: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        pair_tasks(drawn(0, 3), replace(drawn(1, 3), ids=ids))


def test_two_pairs_of_one_name_are_refused() -> None:
    first = replace(drawn(0), classes=("a", "a & b"))
    second = replace(drawn(0), classes=("b & c", "c"))
    with pytest.raises(DataError, match="'a & b & c' more than once"):
        pair_tasks(first, second)


def test_metrics_of_both_tasks_and_the_pair_are_those_of_scikit_learn() -> None:
    tasks, labels = (drawn(0), drawn(1)), (labels_of(0), labels_of(1))
    metrics = pair_metrics(*tasks, *labels)
    truth = [*labels, [f"{a} & {b}" for a, b in zip(*labels, strict=True)]]
    parts = (metrics.first, metrics.second, metrics.pair)
    for part, task, names in zip(parts, (*tasks, pair_tasks(*tasks)), truth, strict=True):
        weighted = f1_score(names, task.labels, average="weighted", zero_division=0)
        assert part["weighted_f1"] == pytest.approx(weighted)
        assert part["accuracy"] == accuracy_score(names, task.labels)
        assert (part["posts"], part["bad_rows"], part["classes"]) == (40, 0, list(task.classes))


def test_only_posts_with_both_labels_that_both_could_read_are_measured() -> None:
    first, second = without(drawn(0), 1, "lost"), without(drawn(1), 2, "lost")
    labels = (labels_of(0), labels_of(1))
    labels[0][0], labels[1][39] = None, None
    metrics = pair_metrics(first, second, *labels)
    rows = range(3, 39)
    right = [first.labels[row] == labels[0][row] for row in rows]
    assert metrics.first["accuracy"] == np.mean(right)
    for part in (metrics.first, metrics.second, metrics.pair):
        assert (part["posts"], part["bad_rows"]) == (36, 2)


def test_an_unknown_label_is_refused() -> None:
    labels = labels_of(1)
    labels[4] = "mid"
    with pytest.raises(DataError, match="post 'p4': .* found 'mid'.* mean 'middle'"):
        pair_metrics(drawn(0), drawn(1), labels_of(0), labels)


def test_metrics_without_a_post_to_measure_on_are_refused() -> None:
    with pytest.raises(DataError, match="posts with both labels, found none"):
        pair_metrics(drawn(0), drawn(1), [None] * 40, labels_of(1))
    first = without(drawn(0, 1), 0, "lost")
    with pytest.raises(DataError, match="found 1, none of which can be read"):
        pair_metrics(first, drawn(1, 1), labels_of(0, 1), labels_of(1, 1))
