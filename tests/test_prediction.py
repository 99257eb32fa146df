"""A predictor that stays open answers as a fresh opening does, whatever it was asked before."""

import copy
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense.config.loading import load_config
from postsense.corpus.removal import remove_posts
from postsense.data.loading import load_posts
from postsense.data.synthetic import write_synthetic_posts
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.errors import CorpusError
from postsense.estimator import PostClassifier
from postsense.posts import Posts
from postsense.prediction.classifier import Classifier, Predictions, average_predictions
from postsense.predictor import Predictor
from postsense.retrieval import opened
from postsense.runs.training import load_run, train_run

QUICK = {"training.epochs": 1, "training.device": "cpu", "training.batch_size": 16}


@pytest.fixture(scope="module")
def new_posts(tmp_path_factory: pytest.TempPathFactory) -> Posts:
    """Posts that no other test reads, so that nothing of them is kept on disk; one cannot be read.

    The last one has no picture, the one before no words.
    """
    folder = tmp_path_factory.mktemp("new")
    table = write_synthetic_posts(folder, posts=30, seed=77)
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()[:6]]
    rows[2]["image"] = "nowhere.png"
    rows[4]["text"], rows[5]["image"] = None, None
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_posts(table)


@pytest.fixture(scope="module")
def corpus(synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the corpus that may be changed."""
    return shutil.copytree(synthetic_corpus, tmp_path_factory.mktemp("lender") / "corpus")


Trained = Callable[[str], list[Classifier]]


@pytest.fixture(scope="module")
def trained(
    posts_file: Path,
    trained_run: Path,
    corpus: Path,
    tiny_bert: Path,
    tiny_vit: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    """`trained(kind)` gives the classifiers of a run."""
    bert = {"encoders.text.name": str(tiny_bert), "encoders.text.trainable": True}
    vit = {"encoders.image.name": str(tiny_vit), "encoders.image.trainable": True}
    lent = {"retrieval.corpus": corpus, "retrieval.min_score": -1, "retrieval.alpha": 0.5}
    settings: dict[str, dict[str, Any]] = {
        "words trained": {"fusion.name": "text_only", **bert},
        "both trained": {**bert, **vit},
        "attributes": {"fusion.name": "hierarchical"},
        "comments": lent,
        "comments trained": {"fusion.name": "text_only", **bert, **lent},
    }
    folder = tmp_path_factory.mktemp("runs")

    def train(kind: str) -> list[Classifier]:
        if kind == "frozen":
            return load_run(trained_run)
        run = folder / kind.replace(" ", "-")
        if not run.is_dir():
            train_run(load_posts(posts_file), load_config(values={**QUICK, **settings[kind]}), run)
        return load_run(run)

    return train


def told(predictions: Predictions) -> dict[str, Any]:
    """All that is said, probabilities to the bit."""
    return {**vars(predictions), "probs": predictions.probs.tobytes()}


SLOW = ("words trained", "both trained", "attributes", "comments trained")
KINDS = ["frozen", "comments", *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_a_fresh_opening_whatever_was_asked_before(
    trained: Trained, new_posts: Posts, posts_file: Path, kind: str
) -> None:
    classifiers, known = trained(kind), load_posts(posts_file)
    asked = [new_posts.take([row]) for row in (3, 0, 2, 3, 5, 4, 1)]
    asked += [new_posts, known.take(range(10)), new_posts.take([0])]
    with Predictor(classifiers) as predictor:
        kept = [told(predictor.predict(posts)) for posts in asked]
        predictor.close()
        again = told(predictor.predict(asked[0]))
    assert [told(average_predictions(classifiers, posts)) for posts in asked] == kept
    assert again == kept[0]


def test_many_posts_are_answered_as_by_a_fresh_opening(trained: Trained, posts_file: Path) -> None:
    classifiers, known = trained("frozen"), load_posts(posts_file)
    many = known.take([row % 45 for row in range(70)])
    with Predictor(classifiers) as predictor:
        predictor.predict(known.take([0]))
        kept = predictor.predict(many)
    assert told(kept) == told(average_predictions(classifiers, many))


def test_a_second_call_opens_nothing(
    trained: Trained, new_posts: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(trained("comments"))
    before = predictor.predict(new_posts)
    for encoder in (FrozenTextEncoder, FrozenImageEncoder):
        monkeypatch.setattr(encoder, "__init__", lambda *_: pytest.fail("opened again"))
        monkeypatch.setattr(encoder, "encode", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr(opened, "open_searcher", lambda *_: pytest.fail("opened again"))
    assert told(predictor.predict(new_posts)) == told(before)


def test_metrics_are_those_of_a_fresh_opening(trained: Trained, posts_file: Path) -> None:
    from postsense.evaluation.evaluate import evaluate_classifiers

    classifiers, posts = trained("comments"), load_posts(posts_file)
    with Predictor(classifiers) as predictor:
        predictor.predict(posts)
        assert predictor.evaluate(posts, "test") == evaluate_classifiers(classifiers, posts, "test")


def test_a_corpus_that_changes_is_opened_again(
    trained: Trained, new_posts: Posts, corpus: Path
) -> None:
    classifiers = trained("comments")
    kept = shutil.copytree(corpus, corpus.with_name("kept"))
    with Predictor(classifiers) as predictor:
        before = predictor.predict(new_posts)
        assert before.hints is not None
        remove_posts(corpus, {hint.post for hints in before.hints for hint in hints})
        after = predictor.predict(new_posts)
        assert told(after) == told(average_predictions(classifiers, new_posts))
        assert after.hints != before.hints
        shutil.rmtree(corpus)
        with pytest.raises(CorpusError, match="no such folder"):
            predictor.predict(new_posts)
        kept.rename(corpus)
        assert told(predictor.predict(new_posts)) == told(before)


def test_threads_take_turns(trained: Trained, new_posts: Posts) -> None:
    predictor = Predictor(trained("frozen"))
    posts = [new_posts.take([row]) for row in (0, 1, 3, 4)] * 3
    with ThreadPoolExecutor(4) as threads:
        answers = [told(found) for found in threads.map(predictor.predict, posts)]
    assert answers == [told(predictor.predict(one)) for one in posts]


def test_a_copy_opens_what_it_needs_for_itself(trained: Trained, new_posts: Posts) -> None:
    predictor = Predictor(trained("frozen"))
    before = told(predictor.predict(new_posts))
    other = copy.deepcopy(predictor)
    predictor.close()
    assert told(other.predict(new_posts)) == before


def test_a_classifier_asks_what_it_was_fitted_to_last(
    posts_file: Path, post_rows: list[dict[str, Any]], tiny_bert: Path
) -> None:
    settings = {"fusion.name": "text_only", "encoders.text.name": str(tiny_bert), **QUICK}
    classifier = PostClassifier(**settings).fit(posts_file)
    first = classifier.predict_proba(posts_file)
    classifier.set_params(seed=3).fit(posts_file)
    second = classifier.predict_proba(posts_file)
    assert not np.array_equal(first, second)
    fresh = average_predictions(classifier.classifiers, load_posts(posts_file)).probs
    assert np.array_equal(second, fresh)
    classifier.close()
    assert np.array_equal(classifier.predict_proba(posts_file), second)
