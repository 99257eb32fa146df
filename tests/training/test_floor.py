"""Simple answers, held to scikit-learn's, and what is said of a result beside them."""

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from postsense.arrays import Array
from postsense.training.floor.answers import PENALTIES, Questions, SimpleAnswer, answer_simply
from postsense.training.floor.counted import count_words, merged
from postsense.training.floor.remark import (
    RANDOM,
    RESULT,
    Measured,
    beats,
    knows_something,
    remark_on_floor,
)

POSTS, OTHERS, CLASSES = 90, 12, 3
WORDS = ["rain", "sun", "bus", "line", "day", "night", "awful", "lovely", "what", "again"]


def made_questions(seed: int = 0, informed: float = 1.0) -> Questions:
    """Questions whose features and words tell the class, by `informed`."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(POSTS + OTHERS) % CLASSES)
    shift = informed * np.eye(CLASSES, 8)[labels]
    features = {
        name: (generator.normal(size=(POSTS + OTHERS, 8)) + shift).astype(np.float32)
        for name in ("text", "image")
    }
    texts = []
    for label in labels:
        words = generator.choice(WORDS, 6).tolist()
        texts.append(" ".join([*words, *[f"class{label}"] * (generator.random() < informed / 2)]))
    fold = generator.permutation(np.arange(POSTS) % 5)
    return Questions(labels[:POSTS], fold, CLASSES, texts, features)


def slowly(vectors: Any, questions: Questions, penalty: float, rows: Array, asked: Array) -> Array:
    """Probabilities by scikit-learn, of what was learned from some rows."""
    model = LogisticRegression(C=1 / (len(rows) * penalty), tol=1e-8, max_iter=10_000)
    probs: Array = model.fit(vectors[rows], questions.labels[rows]).predict_proba(vectors[asked])
    return probs


def out_of_fold(vectors: Any, questions: Questions, penalty: float) -> Array:
    probs = np.zeros((POSTS, CLASSES))
    for each in np.unique(questions.fold):
        rows, asked = np.flatnonzero(questions.fold != each), np.flatnonzero(questions.fold == each)
        probs[asked] = slowly(vectors, questions, penalty, rows, asked)
    return probs


def loss_of(probs: Array, labels: Array) -> float:
    return float(-np.log(probs[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("informed", [0.5, 3.0])
@pytest.mark.parametrize("name", ["text", "image", "regression"])
def test_regression_is_that_of_scikit_learn_with_the_penalty_of_the_least_loss_on_folds(
    name: str, informed: float
) -> None:
    questions = made_questions(informed=informed)
    both = np.hstack([questions.features["text"], questions.features["image"]])
    vectors = {**questions.features, "regression": both}[name]
    found = answer_simply(questions)[name]
    expected = {each: out_of_fold(vectors, questions, each) for each in PENALTIES}
    losses = {each: loss_of(probs, questions.labels) for each, probs in expected.items()}
    assert found.penalty == min(losses, key=lambda each: losses[each])
    assert np.abs(found.learned - expected[found.penalty]).max() < 3e-3
    everything, asked = np.arange(POSTS), np.arange(POSTS, POSTS + OTHERS)
    others = slowly(vectors, questions, found.penalty, everything, asked)
    assert np.abs(found.others - others).max() < 3e-3


def test_a_bag_of_words_is_that_of_scikit_learn() -> None:
    questions = made_questions()
    found = answer_simply(questions)["tfidf"]
    texts = np.array(questions.texts, dtype=object)
    for each in (*range(5), None):
        rows = np.flatnonzero(questions.fold != each)
        counter = TfidfVectorizer(ngram_range=(1, 2)).fit(texts[rows])
        vectors = counter.transform(texts)
        asked = np.setdiff1d(np.arange(POSTS + OTHERS if each is None else POSTS), rows)
        expected = slowly(vectors, questions, 0.1 / len(rows), rows, asked)
        given = found.others if each is None else found.learned[asked]
        assert np.abs(given - expected).max() < 5e-3


def test_words_of_one_post_alone_count_the_same_in_one_column() -> None:
    texts = [f"{text} some{post} more{post}" for post, text in enumerate(made_questions().texts)]
    counted, learned = count_words(texts, POSTS), np.arange(POSTS)
    assert counted is not None
    whole, few = counted.weighed(learned), merged(counted.weighed(learned), learned)
    assert few.shape[1] < whole.shape[1] - 3 * POSTS
    known = whole[learned] @ whole.T
    assert np.abs((few[learned] @ few.T - known).toarray()).max() < 1e-6


def test_words_that_only_other_posts_have_do_not_make_a_row_shorter() -> None:
    counted = count_words(["sun day", "rain day", "sun storm flood"], 2)
    assert counted is not None
    lengths = np.asarray(counted.weighed(np.array([0])).power(2).sum(axis=1)).ravel()
    assert lengths == pytest.approx([1, 1, 1])
    assert count_words(["", "!"], 2) is None


def test_the_most_frequent_class_is_the_answer_of_majority() -> None:
    questions = made_questions()
    labels = np.where(questions.labels == 2, 1, questions.labels)
    found = answer_simply(Questions(labels, questions.fold, 3, questions.texts, {}))["majority"]
    assert set(found.learned.argmax(axis=1)) == set(found.others.argmax(axis=1)) == {1}
    assert found.others[0] == pytest.approx([(labels == 0).mean(), (labels == 1).mean(), 0])


def test_what_posts_lack_has_no_answer() -> None:
    questions = made_questions()
    without = Questions(questions.labels, questions.fold, CLASSES, [None] * (POSTS + OTHERS), {})
    words = {"text": questions.features["text"]}
    assert list(answer_simply(without)) == ["majority"]
    some = Questions(questions.labels, questions.fold, CLASSES, questions.texts, words)
    assert list(answer_simply(some)) == ["majority", "tfidf", "text"]
    assert list(answer_simply(questions)) == ["majority", "tfidf", "text", "image", "regression"]


def test_a_class_of_one_post_and_a_single_fold_are_answered() -> None:
    questions = made_questions()
    labels = np.where(np.arange(POSTS) == 7, 2, questions.labels % 2)
    rare = answer_simply(Questions(labels, questions.fold, 3, questions.texts, questions.features))
    assert all(np.isfinite(one.learned).all() for one in rare.values())
    alone = Questions(labels, np.zeros(POSTS, int), 3, questions.texts, questions.features)
    for name, one in answer_simply(alone).items():
        assert np.isfinite(one.others).all()
        assert np.isnan(one.learned).all() == (name != "majority")


def test_answers_are_the_same_again() -> None:
    once, again = (answer_simply(made_questions()) for _ in range(2))
    for name, one in once.items():
        assert isinstance(one, SimpleAnswer)
        assert np.array_equal(one.learned, again[name].learned)


def measured(**accuracy: float) -> Measured:
    """Answers to 400 posts with these accuracies, each right on the first posts of every class."""
    labels = np.repeat([0, 1], 200)
    order = np.tile(np.arange(200), 2) / 200

    def probs(share: float) -> Array:
        guessed = np.where(order < share, labels, 1 - labels)
        return 0.4 + 0.2 * np.eye(2)[guessed]

    simple = {name: probs(share) for name, share in accuracy.items() if name != RESULT}
    simple["majority"] = np.tile([0.5, 0.5], (400, 1))
    return Measured(labels, simple, "of val", probs(accuracy[RESULT]))


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ({"tfidf": 0.6, "text": 0.7, "image": 0.6, "regression": 0.8, RESULT: 0.9}, None),
        (
            {"tfidf": 0.6, "text": 0.9, "image": 0.6, "regression": 0.9, RESULT: 0.9},
            "the pictures add nothing here: the words alone do as well",
        ),
        (
            {"tfidf": 0.6, "text": 0.7, "image": 0.9, "regression": 0.9, RESULT: 0.9},
            "the words add nothing here: the pictures alone do as well",
        ),
        (
            {"tfidf": 0.9, "text": 0.9, "image": 0.6, "regression": 0.9, RESULT: 0.9},
            "a bag of words does as well",
        ),
        (
            {"tfidf": 0.6, "text": 0.7, "image": 0.6, "regression": 0.9, RESULT: 0.8},
            "plain regression on words and pictures does better",
        ),
        ({"text": 0.9, RESULT: 0.9}, "plain regression on the words does as well"),
        ({"image": 0.9, RESULT: 0.9}, "plain regression on the pictures does as well"),
    ],
)
def test_the_simplest_answer_that_nothing_beats_is_named(
    accuracy: dict[str, float], expected: str | None
) -> None:
    said = remark_on_floor([measured(**accuracy)])
    assert (said is None) == (expected is None)
    assert expected is None or (said or "").startswith(expected + " (accuracy ")
    assert said is None or said.endswith("on 400 posts of val)")


def test_random_labels_are_called_so_whatever_model_was_trained() -> None:
    questions = made_questions(informed=0.0)
    answers = answer_simply(questions)
    simple = {name: one.learned for name, one in answers.items()}
    assert remark_on_floor([Measured(questions.labels, simple, "", simple["text"])]) == RANDOM
    assert remark_on_floor([measured(text=0.9, result=0.9)], is_random=True) == RANDOM


def test_guessing_is_named_where_most_posts_are_of_one_class_and_something_is_known() -> None:
    labels = np.repeat([0, 1], [380, 20])
    result = np.where(labels == 1, 0.4, 0.1)[:, None] * [-1, 1] + [1, 0]
    share = np.tile([0.95, 0.05], (400, 1))
    said = remark_on_floor([Measured(labels, {"majority": share}, "of val", result)])
    assert said is not None and said.startswith("guessing the most frequent class does as well")
    assert "macro F1" in said


def test_few_posts_tell_nothing_and_the_first_part_that_is_large_enough_decides() -> None:
    large = measured(text=0.9, result=0.9)
    few = Measured(large.labels[180:220], {n: p[180:220] for n, p in large.simple.items()}, "few")
    assert remark_on_floor([few]) is None
    assert remark_on_floor([few, large]) == remark_on_floor([large])


def test_a_method_is_not_told_that_it_does_as_well_as_itself() -> None:
    part = measured(text=0.7, image=0.6, regression=0.9, result=0.9)
    assert remark_on_floor([part]) is not None
    assert remark_on_floor([part], twin="regression") is None


def test_a_difference_counts_above_its_standard_error() -> None:
    right = np.zeros(100)
    right[:4] = 1  # 4 of 100 differ: 0.04, of a standard error of 0.0196
    labels = np.zeros(100, dtype=int)
    better, worse = np.eye(2)[labels], np.eye(2)[right.astype(int)]
    part = Measured(labels, {"text": worse, "majority": worse}, "", better)
    assert beats(part, RESULT, "text") and not beats(part, "text", RESULT)
    noisy = np.eye(2)[np.where(np.arange(100) < 2, 1, 0)]
    even = Measured(labels, {"text": noisy}, "", worse)
    assert beats(even, "text", RESULT)
    assert not beats(Measured(labels, {"text": noisy}, "", noisy), "text", RESULT)


def test_knowing_something_is_agreement_beyond_chance() -> None:
    part = measured(text=0.9, result=0.5)
    assert knows_something(part, "text")
    assert not knows_something(part, "majority")
    assert not knows_something(part, RESULT)
