"""Classifiers on labelled posts: the split measured, means over seeds, bad rows, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense.commands.terminal import print_evaluation
from postsense.config.loading import load_config
from postsense.data.bad_rows import BadRow
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.errors import DataError
from postsense.evaluation import evaluate
from postsense.evaluation.distances import class_distances
from postsense.evaluation.evaluate import class_numbers, evaluate_classifiers, metrics_of
from postsense.evaluation.metrics import HEADLINE, classification_metrics
from postsense.inputs.preparation import prepare_posts
from postsense.prediction.classifier import (
    Classifier,
    Predictions,
    average_predictions,
    predict_rows,
)
from postsense.runs.folder import read_json
from postsense.runs.training import load_run, train_run
from postsense.training.fitting import fit_classifier

Rows = list[dict[str, Any]]
CLASSES = ("negative", "neutral", "positive")


@pytest.fixture(scope="module")
def classifiers(post_rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> list[Classifier]:
    """Three seeds, barely trained, so that they err in different ways."""
    trained = []
    for seed in range(3):
        values = {"seed": seed, "training.epochs": 1, "training.device": "cpu"}
        config = load_config("image-only", values=values)
        splits = split_posts(load_posts(post_rows), None, validation_fraction=0.1, seed=0)
        prepared = prepare_posts(splits.posts, config)
        folder = tmp_path_factory.mktemp("checkpoints")
        trained.append(fit_classifier(splits, prepared, config, folder).classifier)
    return trained


def expected(classifier: Classifier, rows: Rows) -> dict[str, Any]:
    predicted = classifier.predict(load_posts(rows)).probs.argmax(axis=1)
    labels = np.array([CLASSES.index(row["label"]) for row in rows])
    return classification_metrics(labels, predicted, CLASSES)


def test_the_test_split_is_measured_if_there_is_one(
    classifiers: list[Classifier], post_rows: Rows
) -> None:
    report = evaluate_classifiers(classifiers[:1], load_posts(post_rows))
    test = [row for row in post_rows if row["split"] == "test"]
    assert report == {"split": "test", "bad_rows": 0, **expected(classifiers[0], test)}


def test_all_posts_are_measured_if_there_is_no_test_split(
    classifiers: list[Classifier], post_rows: Rows
) -> None:
    rows = [{**row, "split": None} for row in post_rows]
    report = evaluate_classifiers(classifiers[:1], load_posts(rows))
    assert (report["split"], report["posts"]) == ("all", 45)
    assert report["confusion"] == expected(classifiers[0], rows)["confusion"]


def test_a_named_split_is_measured(classifiers: list[Classifier], post_rows: Rows) -> None:
    report = evaluate_classifiers(classifiers[:1], load_posts(post_rows), "val")
    val = [row for row in post_rows if row["split"] == "val"]
    assert report["split"] == "val"
    assert report["confusion"] == expected(classifiers[0], val)["confusion"]


@pytest.mark.parametrize("name", HEADLINE)
def test_several_seeds_give_mean_and_standard_deviation(
    classifiers: list[Classifier], post_rows: Rows, name: str
) -> None:
    report = evaluate_classifiers(classifiers, load_posts(post_rows), "all")
    each = [expected(classifier, post_rows)[name] for classifier in classifiers]
    assert report[name] == pytest.approx(np.mean(each))
    assert report["sd"][name] == pytest.approx(np.std(each, ddof=1))
    assert [(seed["seed"], seed[name]) for seed in report["seeds"]] == list(enumerate(each))


def test_the_ensemble_is_measured_on_the_mean_probabilities(
    classifiers: list[Classifier], post_rows: Rows
) -> None:
    posts = load_posts(post_rows)
    report = evaluate_classifiers(classifiers, posts, "all")
    probs = np.mean([classifier.predict(posts).probs for classifier in classifiers], axis=0)
    labels = class_numbers(posts, CLASSES)
    mean = classification_metrics(labels, probs.argmax(axis=1), CLASSES)
    assert report["confusion"] == mean["confusion"]
    assert report["ensemble"] == {name: mean[name] for name in HEADLINE}
    assert np.array_equal(average_predictions(classifiers, posts).probs, probs)


def test_posts_without_a_label_are_left_out(classifiers: list[Classifier], post_rows: Rows) -> None:
    rows = [{**row, "label": None} if row["id"] == "p0" else row for row in post_rows]
    assert evaluate_classifiers(classifiers[:1], load_posts(rows), "all")["posts"] == 44


def test_bad_rows_are_counted_and_not_scored(
    classifiers: list[Classifier], post_rows: Rows
) -> None:
    bad = {**post_rows[0], "id": "bad", "image": "/nowhere/x.png"}
    report = evaluate_classifiers(classifiers, load_posts([*post_rows, bad]), "all")
    clean = evaluate_classifiers(classifiers, load_posts(post_rows), "all")
    assert report == {**clean, "bad_rows": 1}


def test_a_split_without_labelled_posts_is_refused(
    classifiers: list[Classifier], post_rows: Rows
) -> None:
    with pytest.raises(DataError, match="labelled posts in split 'dev'.*'test', 'train', 'val'"):
        evaluate_classifiers(classifiers[:1], load_posts(post_rows), "dev")


def test_a_label_that_the_classifier_lacks_is_refused(post_rows: Rows) -> None:
    rows = [*post_rows[:3], {**post_rows[3], "label": "positiv"}]
    with pytest.raises(DataError, match="post 'p3'.*found 'positiv'. Did you mean 'positive'"):
        class_numbers(load_posts(rows), CLASSES)


def test_a_missing_label_is_refused(post_rows: Rows) -> None:
    rows = [post_rows[0], {**post_rows[1], "label": None}]
    with pytest.raises(DataError, match="post 'p1'.*found no label"):
        class_numbers(load_posts(rows), CLASSES)


def test_metrics_skip_rows_without_probabilities() -> None:
    probs = np.array([[0.9, 0.1], [np.nan, np.nan], [0.2, 0.8]], dtype=np.float32)
    predictions = Predictions(("a", "b", "c"), ("no", "yes"), probs, (BadRow("b", "why"),))
    report = metrics_of(predictions, np.array([0, 0, 0]))
    assert (report["posts"], report["bad_rows"], report["accuracy"]) == (2, 1, 0.5)


def test_posts_that_cannot_be_read_at_all_are_one_clear_error(
    classifiers: list[Classifier], post_rows: Rows
) -> None:
    lenient = load_config("image-only", values={"data.max_bad_fraction": 1.0})
    one = Classifier(lenient, classifiers[0].classes, classifiers[0].model)
    broken = load_posts([{**post_rows[0], "text": None, "image": "/nowhere.png"}])
    with pytest.raises(DataError, match="expected at least one post that can be read"):
        evaluate_classifiers([one], broken)


def by_topic(rows: Rows) -> Rows:
    """The rows with a topic, one of three or none."""
    topics = ("b", "a", "c", None)
    return [{**row, "topic": topics[place % 4]} for place, row in enumerate(rows)]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_groups_metrics_are_those_of_its_posts_alone(
    classifiers: list[Classifier], post_rows: Rows, seeds: int
) -> None:
    rows = by_topic(post_rows)
    chosen = classifiers[:seeds]
    report = evaluate_classifiers(chosen, load_posts(rows, extra=("topic",)), "all", by="topic")
    assert report["by"]["column"] == "topic"
    groups = report["by"]["groups"]
    assert [group["value"] for group in groups] == ["a", "b", "c", "(missing)"]
    for group, topic in zip(groups, ("a", "b", "c", None), strict=True):
        alone = load_posts([row for row in rows if row["topic"] == topic])
        expected = evaluate_classifiers(chosen, alone, "all")
        assert {**group, "split": "all"} == {**expected, "value": group["value"]}


def test_groups_add_up_to_the_whole(classifiers: list[Classifier], post_rows: Rows) -> None:
    posts = load_posts(by_topic(post_rows), extra=("topic",))
    report = evaluate_classifiers(classifiers, posts, by="topic")
    groups = report["by"]["groups"]
    assert report["posts"] == sum(group["posts"] for group in groups) == 9
    assert report["confusion"] == sum(np.array(group["confusion"]) for group in groups).tolist()
    right = sum(group["accuracy"] * group["posts"] for group in groups)
    assert right / 9 == pytest.approx(report["accuracy"])


def test_a_breakdown_leaves_the_metrics_of_the_whole_as_they_are(
    classifiers: list[Classifier], post_rows: Rows
) -> None:
    report = evaluate_classifiers(
        classifiers, load_posts(post_rows, extra=("label",)), "all", by="label"
    )
    del report["by"]
    assert report == evaluate_classifiers(classifiers, load_posts(post_rows), "all")


def test_each_post_is_predicted_once_whatever_the_groups(
    classifiers: list[Classifier], post_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def count(classifier: Classifier, prepared: Any, rows: Any, *rest: Any, **named: Any) -> Any:
        calls.append(len(rows))
        return predict_rows(classifier, prepared, rows, *rest, **named)

    monkeypatch.setattr(evaluate, "predict_rows", count)
    posts = load_posts(by_topic(post_rows), extra=("topic",))
    evaluate_classifiers(classifiers[:2], posts, "all", by="topic")
    assert calls == [45, 45]


def test_bad_rows_count_in_their_group(classifiers: list[Classifier], post_rows: Rows) -> None:
    bad = {**post_rows[0], "image": "/nowhere/x.png"}
    lost = [{**bad, "id": "one", "topic": "a"}, {**bad, "id": "two", "topic": "lost"}]
    posts = load_posts([*by_topic(post_rows), *lost], extra=("topic",))
    report = evaluate_classifiers(classifiers, posts, "all", by="topic")
    groups = {group["value"]: group for group in report["by"]["groups"]}
    assert (groups["a"]["posts"], groups["a"]["bad_rows"]) == (11, 1)
    assert groups["lost"] == {"value": "lost", "posts": 0, "bad_rows": 1}
    assert report["bad_rows"] == sum(group["bad_rows"] for group in groups.values()) == 2


def test_an_evaluation_by_groups_is_plain_json(
    classifiers: list[Classifier], post_rows: Rows
) -> None:
    posts = load_posts(by_topic(post_rows), extra=("topic",))
    report = evaluate_classifiers(classifiers, posts, "all", by="topic")
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.fixture(scope="module")
def aligned_run(post_rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a model that compares words with pictures."""
    quick = {"training.epochs": 1, "training.device": "cpu"}
    values = {**quick, "losses.itc": 0.1, "losses.itc_width": 16}
    folder = tmp_path_factory.mktemp("aligned") / "run"
    train_run(load_posts(post_rows), load_config("concat", values=values), folder, seeds=2)
    return folder


def distances_one_by_one(classifier: Classifier, rows: Rows) -> dict[str, Any]:
    """Those of posts that can all be read."""
    prepared = prepare_posts(load_posts(rows), classifier.config)
    outputs = predict_rows(classifier, prepared, np.arange(len(rows)), with_aligned=True)
    assert outputs.aligned_text is not None and outputs.aligned_image is not None
    labels = np.array([CLASSES.index(row["label"]) for row in rows])
    has = [np.array([row[name] is not None for row in rows]) for name in ("text", "image")]
    found: dict[str, Any] = class_distances(
        outputs.aligned_text, outputs.aligned_image, labels, *has
    )
    return found


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_model_that_compares_words_with_pictures_has_its_distances_measured(
    aligned_run: Path, post_rows: Rows, seeds: int
) -> None:
    chosen = load_run(aligned_run)[:seeds]
    rows = [dict(row) for row in post_rows]
    rows[0]["text"], rows[4]["image"] = None, None
    report = evaluate_classifiers(chosen, load_posts(rows), "all")
    each = [distances_one_by_one(classifier, rows) for classifier in chosen]
    for kind in ("image_image", "text_text", "image_text"):
        for pairs in ("same_label", "different_label"):
            mean = np.mean([one[kind][pairs] for one in each])
            assert report["distances"][kind][pairs] == pytest.approx(mean, rel=1e-5)


def test_bad_rows_have_no_distance(aligned_run: Path, post_rows: Rows) -> None:
    chosen = load_run(aligned_run)[:1]
    bad = {**post_rows[0], "id": "bad", "image": "/nowhere/x.png"}
    report = evaluate_classifiers(chosen, load_posts([bad, *post_rows]), "all")
    clean = evaluate_classifiers(chosen, load_posts(post_rows), "all")
    assert report.pop("bad_rows") == 1
    for kind, pairs in clean["distances"].items():
        assert report["distances"][kind] == pytest.approx(pairs, rel=1e-6)


def test_the_metrics_of_a_run_hold_the_distances_of_each_split(
    aligned_run: Path, post_rows: Rows
) -> None:
    metrics = read_json(aligned_run / "seed-1" / "metrics.json")
    for split in ("val", "test"):
        report = evaluate_classifiers(load_run(aligned_run)[1:], load_posts(post_rows), split)
        for kind, pairs in report["distances"].items():
            assert metrics[split]["distances"][kind] == pytest.approx(pairs, rel=1e-5)


def test_other_models_have_no_distances(classifiers: list[Classifier], post_rows: Rows) -> None:
    assert "distances" not in evaluate_classifiers(classifiers[:1], load_posts(post_rows))


def test_looking_at_distances_changes_no_prediction(aligned_run: Path, post_rows: Rows) -> None:
    classifier = load_run(aligned_run)[0]
    prepared = prepare_posts(load_posts(post_rows), classifier.config)
    plain = predict_rows(classifier, prepared, prepared.usable)
    aligned = predict_rows(classifier, prepared, prepared.usable, with_aligned=True)
    assert plain.aligned_text is None and aligned.aligned_text is not None
    assert np.array_equal(plain.logits, aligned.logits)


def test_distances_are_printed_and_a_missing_one_is_a_dash(
    classifiers: list[Classifier], post_rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate_classifiers(classifiers[:1], load_posts(post_rows))
    pairs = {"same_label": 0.12345, "different_label": None}
    report["distances"] = dict.fromkeys(("image_image", "text_text", "image_text"), pairs)
    print_evaluation(report, "run")
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    for title in ("pictures", "texts", "pictures and texts"):
        assert [*title.split(), "0.1235", "-"] in lines
