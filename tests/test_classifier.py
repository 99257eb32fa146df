"""Posts in, labels and probabilities out: order, absent modalities, bad rows, independence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from postsense.config.loading import load_config
from postsense.data.bad_rows import BadRow
from postsense.data.loading import load_posts
from postsense.errors import DataError
from postsense.prediction.classifier import Classifier, Predictions, average_predictions
from postsense.runs.training import load_run, train_run

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def classifier(trained_run: Path) -> Classifier:
    return load_run(trained_run)[0]


def test_posts_are_classified_in_their_order(classifier: Classifier, post_rows: Rows) -> None:
    rows = [post_rows[number] for number in (7, 3, 30, 2)]
    predictions = classifier.predict(load_posts(rows))
    assert predictions.ids == ("p7", "p3", "p30", "p2")
    assert predictions.labels == [row["label"] for row in rows]
    assert predictions.probs.sum(axis=1) == pytest.approx(np.ones(4))


def test_labels_and_splits_are_not_looked_at(classifier: Classifier, post_rows: Rows) -> None:
    bare = [{key: row[key] for key in ("id", "text", "image")} for row in post_rows]
    whole, blind = (classifier.predict(load_posts(rows)).probs for rows in (post_rows, bare))
    assert np.array_equal(whole, blind)


def test_a_posts_probabilities_do_not_depend_on_the_others_in_the_table(
    classifier: Classifier, post_rows: Rows
) -> None:
    together = classifier.predict(load_posts(post_rows)).probs
    for number in (0, 13, 44):
        alone = classifier.predict(load_posts([post_rows[number]])).probs[0]
        assert alone == pytest.approx(together[number], abs=1e-6)


@pytest.mark.parametrize("absent", ["text", "image"])
def test_posts_that_lack_a_modality_are_classified_by_the_other(
    classifier: Classifier, post_rows: Rows, absent: str
) -> None:
    predictions = classifier.predict(load_posts([{**row, absent: None} for row in post_rows]))
    right = [found == row["label"] for found, row in zip(predictions.labels, post_rows)]
    assert np.mean(right) > 0.8
    assert predictions.bad == ()


@pytest.mark.parametrize("absent", ["text", "image"])
def test_a_table_without_a_modality_is_classified_on_a_fresh_machine(
    classifier: Classifier,
    post_rows: Rows,
    absent: str,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "onnx").symlink_to(cache / "onnx")
    posts = load_posts([{**row, absent: None} for row in post_rows[:3]])
    expected = classifier.predict(posts).probs
    monkeypatch.setenv("POSTSENSE_CACHE", str(tmp_path))
    assert classifier.predict(posts).probs == pytest.approx(expected, abs=1e-6)


def test_bad_rows_get_no_label_and_a_reason(classifier: Classifier, post_rows: Rows) -> None:
    empty = {"id": "empty", "text": " ", "image": None}
    lost = {"id": "lost", "text": "a day", "image": "/nowhere/lost.png"}
    predictions = classifier.predict(load_posts([empty, *post_rows[:40], lost]))
    assert [row.id for row in predictions.bad] == ["empty", "lost"]
    assert "neither" in predictions.bad[0].reason
    assert "/nowhere/lost.png: expected a picture file" in predictions.bad[1].reason
    assert predictions.labels[0] is predictions.labels[41] is None
    assert np.isnan(predictions.probs[[0, 41]]).all()
    assert None not in predictions.labels[1:41]


def test_bad_rows_do_not_change_the_others(classifier: Classifier, post_rows: Rows) -> None:
    lost = {"id": "lost", "text": "a day", "image": "/nowhere/lost.png"}
    mixed = classifier.predict(load_posts([lost, *post_rows])).probs[1:]
    assert mixed == pytest.approx(classifier.predict(load_posts(post_rows)).probs, abs=1e-6)


def test_one_bad_row_of_two_leaves_the_other_its_answer(
    classifier: Classifier, post_rows: Rows
) -> None:
    lost = {"id": "lost", "text": "a day", "image": "/nowhere/lost.png"}
    predictions = classifier.predict(load_posts([lost, post_rows[0]]))
    assert predictions.labels == [None, *classifier.predict(load_posts(post_rows[:1])).labels]
    assert [row.id for row in predictions.bad] == ["lost"]


def test_nothing_but_bad_rows_has_no_labels(classifier: Classifier) -> None:
    predictions = classifier.predict(load_posts([{"text": "a", "image": "/nowhere/a.png"}]))
    assert predictions.labels == [None]
    assert len(predictions.bad) == 1


def test_several_classifiers_give_the_mean_of_their_probabilities(
    trained_run: Path, post_rows: Rows
) -> None:
    seeds, posts = load_run(trained_run), load_posts(post_rows)
    one, two = (classifier.predict(posts).probs for classifier in seeds)
    assert not np.array_equal(one, two)
    assert np.array_equal(average_predictions(seeds, posts).probs, (one + two) / 2)


def test_a_table_of_predictions_has_nulls_where_a_row_is_bad() -> None:
    probs = np.array([[0.25, 0.75], [np.nan, np.nan]], dtype=np.float32)
    table = Predictions(("a", "b"), ("no", "yes"), probs, (BadRow("b", "why"),)).to_table()
    assert table.to_pylist() == [
        {"id": "a", "label": "yes", "prob_no": 0.25, "prob_yes": 0.75},
        {"id": "b", "label": None, "prob_no": None, "prob_yes": None},
    ]


def with_regions(rows: Rows, folder: Path, width: int) -> Rows:
    """The rows, each with a file of two regions that tell its label."""
    folder.mkdir()
    told: Rows = []
    for number, row in enumerate(rows):
        features = torch.full((2, width), float(number % 3))
        boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
        file = folder / f"{row['id']}.safetensors"
        save_file({"features": features, "boxes": boxes}, file)
        told.append({**row, "text": None, "regions": str(file)})
    return told


@pytest.fixture(scope="module")
def of_regions(post_rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder = tmp_path_factory.mktemp("regions")
    quick = {"training.epochs": 30, "training.learning_rate": 0.01, "training.device": "cpu"}
    config = load_config("image-only", values=quick | {"encoders.image.name": "regions"})
    rows = with_regions(post_rows, folder / "files", width=6)
    train_run(load_posts(rows), config, folder / "run")
    return load_run(folder / "run")[0]


def test_regions_of_other_programs_are_read_in_place_of_pictures(
    of_regions: Classifier, post_rows: Rows, tmp_path: Path
) -> None:
    rows = with_regions(post_rows, tmp_path / "files", width=6)
    predictions = of_regions.predict(load_posts([{**row, "image": None} for row in rows]))
    assert predictions.labels == [row["label"] for row in post_rows]


def test_posts_whose_regions_are_missing_are_bad_rows(
    of_regions: Classifier, post_rows: Rows, tmp_path: Path
) -> None:
    rows = with_regions(post_rows, tmp_path / "files", width=6)
    rows[3]["regions"], rows[4]["regions"] = None, str(tmp_path / "gone.safetensors")
    predictions = of_regions.predict(load_posts(rows))
    assert [row.id for row in predictions.bad] == ["p3", "p4"]
    assert predictions.labels[3] is None and predictions.labels[5] is not None
    assert "regions" in predictions.bad[0].reason and "no such file" in predictions.bad[1].reason


def test_regions_of_another_width_than_in_training_are_refused(
    of_regions: Classifier, post_rows: Rows, tmp_path: Path
) -> None:
    rows = with_regions(post_rows, tmp_path / "files", width=5)
    with pytest.raises(DataError, match="expected features of width 6, as in training, found 5"):
        of_regions.predict(load_posts(rows))
